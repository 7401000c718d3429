"""Configs that are meant to take for ever, or all memory: the work stays in proportion to what is there to read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradlab.cli import main
from gradlab.config import document as document_module
from gradlab.config import points as points_module
from gradlab.config.document import HINTS
from gradlab.config.load import MAX_BYTES, LoadedConfig, load
from gradlab.config.schema import Experiment
from gradlab.config.sweep import expansion
from gradlab.errors import ConfigError
from gradlab.terminal import SHOWN_PROBLEMS

Load = Callable[..., LoadedConfig]
Problems = Callable[..., list[tuple[str, str]]]


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"depht{number}: 1\n" for number in range(300)),
        "sweep:\n  grid:\n" + "".join(f"    model.depht{number}: [1]\n" for number in range(300)),
        "sweep:\n  grid:\n    model.norm: [" + ", ".join(f"batsh{number}" for number in range(300)) + "]\n",
        "model:\n  activation: {name: elu, " + ", ".join(f"alhpa{number}: 1" for number in range(300)) + "}\n",
    ],
    ids=["keys", "swept keys", "names", "parameters"],
)
def test_only_the_first_problems_are_asked_what_they_were_meant_to_be(
    text: str, problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    closest = difflib.get_close_matches

    def counted(word: str, *arguments: Any, **settings: Any) -> list[str]:
        looked.append(word)
        return closest(word, *arguments, **settings)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    found = problems(text)
    assert len(found) == 300
    assert len(looked) <= 8 * HINTS
    guessed = ["did you mean" in message for _, message in found]
    assert any(guessed)
    assert not any(guessed[HINTS:])


def test_every_problem_is_known_and_the_first_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text("".join(f"k{number}: 1\n" for number in range(SHOWN_PROBLEMS + 1234)))
    monkeypatch.setattr("sys.argv", ["gradlab", "run", str(tmp_path / "c.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == SHOWN_PROBLEMS + 2
    assert shown[-2:] == ["... and 1,234 more", "1,284 problems; nothing was run"]


def test_a_pipe_and_a_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(ConfigError, match="no regular file"):
            load(path)


def test_the_largest_config_is_named_in_the_message(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match=f"c.yaml:1:1: .*{MAX_BYTES:,} bytes"):
        load(tmp_path / "c.yaml")


def test_exclude_entries_are_looked_up_and_not_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    at = points_module._Entries.at

    def counted(self: Any, value: Any) -> int:
        nonlocal looked
        looked += 1
        return at(self, value)

    monkeypatch.setattr(points_module._Entries, "at", counted)
    depths, rates = list(range(1, 41)), [rate / 100 for rate in range(1, 41)]
    exclude = [{"model.depth": depth, "train.lr": rate} for depth in depths for rate in rates if depth != 7]
    grid = {"model.depth": depths, "train.lr": rates}
    found = expansion(Experiment.model_validate({"seeds": 1, "sweep": {"grid": grid, "exclude": exclude}}))
    assert {trial.model.depth for trial in found.trials} == {7}
    assert len(found.trials) == 40
    assert looked <= 4 * len(depths) * len(rates), "two fields, each as swept and as resolved"


def test_an_override_takes_a_field_out_of_a_long_sweep_in_one_go(
    load_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0
    moved = document_module._moved

    def counted(*arguments: Any) -> Any:
        nonlocal looked
        looked += 1
        return moved(*arguments)

    monkeypatch.setattr(document_module, "_moved", counted)
    entries = "".join(f"  - {{model.depth: {depth}, train.lr: {depth}.5}}\n" for depth in range(1, 301))
    loaded = load_text(f"seeds: 1\nsweep:\n  include:\n{entries}", "model.depth=7")
    assert {trial.model.depth for trial in loaded.trials} == {7}
    assert len(loaded.trials) == 300
    assert looked < 10 * 300
