"""`gradlab run --live` on a terminal, and where there is none."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.commands import invoke, only_run, read, write_config
from tests.end_to_end.screen import Screen, on_a_screen

CONFIG = """
    name: watched
    data: {name: moons, n_samples: 60}
    model: {width: 5}
    train: {steps: 40, batch_size: 10}
    record: {every: 4}
    seeds: 1
    sweep:
      grid:
        model.depth: [1, 3, 9]
        model.activation: [relu, tanh, sigmoid, selu]
      include:
        - {model.family: custom, model.factory: "mine.py:Talkative"}
    """

MINE = """
from torch import nn

class Talkative(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, 4), nn.Tanh(), nn.Linear(4, out_features))

    def forward(self, x):
        print("I was asked", flush=True)
        return self.layers(x)
"""


def configured(folder: Path) -> Path:
    (folder / "mine.py").write_text(MINE)
    return write_config(folder, CONFIG)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (60, 10)])
def test_groups_are_shown_and_gone_at_the_end(columns: int, rows: int, tmp_path: Path) -> None:
    pictures: list[list[str]] = []

    def look(screen: Screen, _process: subprocess.Popen[bytes]) -> None:
        if any("trials stored" in line for line in screen.lines):
            pictures.append(screen.lines[-rows:])
            assert not screen.overflown

    code, screen = on_a_screen(
        columns, rows, "run", configured(tmp_path), "--out", tmp_path / "runs", "--live", at_each=look
    )
    assert code == 0
    seen = "\n".join(line for picture in pictures for line in picture)
    assert {line.split()[1] for line in seen.splitlines() if line.startswith("▸")} >= {"mlp", "custom"}
    assert ("more: " in seen) == (rows == 10)
    assert screen.cursor_shown
    left = "\n".join(screen.lines)
    assert not {"▸", "━"} & set(left), "the picture is gone"
    assert "diagnosis" in left, "the summary has come"
    assert left.count("I was asked") > 40, "what the model prints stays"
    assert len(read(only_run(tmp_path / "runs"), "trials")) == 13


def test_interrupted(tmp_path: Path) -> None:
    sent: list[int] = []

    def interrupt(screen: Screen, process: subprocess.Popen[bytes]) -> None:
        if not sent and any(line.startswith("▸") for line in screen.lines):
            process.send_signal(signal.SIGINT)
            sent.append(signal.SIGINT)

    config = write_config(tmp_path, CONFIG.replace("steps: 40", "steps: 100000").split("include")[0].rstrip())
    code, screen = on_a_screen(80, 24, "run", config, "--out", tmp_path / "runs", "--live", at_each=interrupt)
    assert code == 130
    assert screen.cursor_shown
    assert [line for line in screen.lines if line] == [
        "interrupted; finished trials are kept, the same command continues"
    ]


def test_where_there_is_no_terminal_it_is_said_once_and_done_as_ever(tmp_path: Path) -> None:
    answer = invoke("run", configured(tmp_path), "--out", tmp_path / "runs", "--live", "--json")
    assert answer.code == 0
    assert answer.stderr.count("note: --live needs a terminal") == 1
    assert "training 13 trials" in answer.stderr
    assert "▸" not in answer.stderr
    assert answer.stdout.startswith("{")


def test_live_and_quiet_is_a_mistake(tmp_path: Path) -> None:
    answer = invoke("run", configured(tmp_path), "--live", "--quiet")
    assert (answer.code, answer.stderr) == (2, "error: --live and --quiet: give one of them\n")
