"""Every block of README.md and docs/ does what the page says: commands and code run, configs load, output is true."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gradlab.config.load import load
from tests.end_to_end.commands import COMMAND, write_config
from tests.store.watched_runs import WatchedTrial, make_watched
from tests.website.command_lines import lines_of, look_over, run
from tests.website.fences import PAGES, ROOT, Fence, fences_of
from tests.website.output import missing_lines

LANGUAGES = {"sh", "text", "python", "yaml", "diff", "sql"}

EXAMPLE = "runs/example-b5f9bc42"

SMALL = """
    name: ci
    data: {name: moons, n_samples: 60}
    model: {depth: 2, width: 5, activation: tanh}
    train: {steps: 6, batch_size: 10}
    record: {every: 3, probe: 16}
    check: {seeds: 9}
    """
"""Stands in for `configs/ci.yaml`, which takes ten times as long."""

EXCEPTIONS = {
    "README.md": 4,
    "docs/ci.md": 1,
    "docs/cluster.md": 4,
    "docs/own-models.md": 2,
    "docs/recipes.md": 2,
    "docs/report.md": 1,
    "docs/tutorial.md": 1,
}
"""Page -> blocks that are looked over instead of run (`parsed`, `script`) or that no command printed (`free`), each
with its reason in a comment above it."""


def two_runs(folder: Path) -> None:
    """`runs/before` and `runs/after`."""
    for name in ("before", "after"):
        shutil.copytree(ROOT / EXAMPLE, folder / "runs" / name)


def guarded(folder: Path) -> None:
    """A committed repository with a small `configs/ci.yaml`, and recorded trainings of nine seeds."""
    (folder / "baselines" / "ci.json").unlink()
    write_config(folder / "configs", SMALL, "ci.yaml")
    make_watched(folder / "runs" / "mine", [WatchedTrial(f"t{seed}", seed) for seed in range(9)])
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@b.example commit -q -m start"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)  # noqa: S603, S607


def two_trainings(folder: Path) -> None:
    """`runs/other`, to be compared with the `runs/mine` that the page makes."""
    make_watched(folder / "runs" / "other", [WatchedTrial("t0")])


def no_runs(folder: Path) -> None:
    """A folder of its own, in which there are no runs yet."""
    shutil.rmtree(folder / "runs")


PREPARED: dict[str, Callable[[Path], None]] = {
    "docs/ci.md": guarded,
    "docs/compare.md": two_runs,
    "docs/own-models.md": two_trainings,
    "docs/tutorial.md": no_runs,
}
"""Page -> what makes the files that its commands speak of, beside those of the repository."""


def training() -> dict[str, Any]:
    """What a training loop has at hand: a model, an optimizer, a loss and some batches."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    batches = [(torch.randn(8, 4), torch.randint(2, (8,))) for _ in range(11)]
    names = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "batches": batches}
    return names | {"criterion": torch.nn.CrossEntropyLoss()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like a clone of the repository, as the working directory."""
    for name in ("configs", "baselines", EXAMPLE):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PATH", str(Path(COMMAND).parent), prepend=":")
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, folder: Path) -> None:
    PREPARED.get(page, lambda _: None)(folder)
    names: dict[str, Any] = training()
    printed: str | None = None
    for fence in fences_of(page):
        assert fence.language in LANGUAGES, f"{fence.place}: say what the block is: {', '.join(sorted(LANGUAGES))}"
        if "file" in fence.notes:
            (folder / fence.notes["file"]).write_text(fence.text, encoding="utf-8")
        elif "edit" in fence.notes:
            edit(folder / fence.notes["edit"], fence)
        elif fence.language == "python" and "parsed" in fence.notes:
            compile(fence.text, fence.place, "exec")
        elif fence.language == "python":
            exec(compile(fence.text, fence.place, "exec"), names)  # noqa: S102
        elif fence.language == "text" and printed is not None and "free" not in fence.notes:
            assert not missing_lines(fence.text, printed), f"{fence.place}\n{printed}"
        elif fence.language == "sh":
            printed = commands_of(fence)
        if fence.language == "yaml":
            check_yaml(fence, folder)


def commands_of(fence: Fence) -> str | None:
    """What the commands of a block printed, if they were run."""
    commands = lines_of(fence.text)
    if "parsed" in fence.notes:
        for words in commands:
            look_over(words)
        return None
    if "script" in fence.notes:
        for words in commands:
            look_over(words[words.index("gradlab") :] if "gradlab" in words else [""])
        return None
    wanted = [0] * (len(commands) - 1) + [int(fence.notes.get("exit", "0"))]
    printed = ""
    for words, code in zip(commands, wanted, strict=True):
        answer = run(words, fence.notes.get("quick", ""))
        assert answer.code == code, f"{fence.place}: {' '.join(words)}\n{answer.stdout}{answer.stderr}"
        printed += answer.stdout + answer.stderr
    return printed


def edit(path: Path, fence: Fence) -> None:
    """Apply a diff: the lines with a minus become those with a plus."""
    old, new = ("".join(line[1:] + "\n" for line in fence.text.splitlines() if line[0] == sign) for sign in "-+")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, fence.place
    path.write_text(text.replace(old, new), encoding="utf-8")


def check_yaml(fence: Fence, folder: Path) -> None:
    """A config loads; of other files the commands and the inputs of gradlab's action are looked over."""
    content = yaml.safe_load(fence.text)
    if "jobs" in content:
        inputs = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
        for step in (step for job in content["jobs"].values() for step in job["steps"]):
            if "/gradlab@" in step.get("uses", ""):
                assert step["with"].keys() <= inputs.keys(), fence.place
            for words in lines_of(step.get("run", "")):
                look_over(words)
    elif "repos" not in content:
        load(write_config(folder, fence.text, "block.yaml"))


def test_exceptions_are_few_and_known() -> None:
    found = {
        page: sum(bool({"parsed", "free", "script"} & fence.notes.keys()) for fence in fences_of(page))
        for page in PAGES
    }
    assert {page: count for page, count in found.items() if count} == EXCEPTIONS


def test_output_is_told_from_other_output() -> None:
    printed = "depth  decay\n─────\n 20    0.141  1.17e-17  ▁▂▃\n"
    assert not missing_lines("depth decay\n...\n20 0.15 1.2e-17 ▂▂▃", printed)
    for wrong in ("width decay", "20 0.5 1.17e-17 ▁▂▃", "20 0.141 1.17e-12 ▁▂▃", "20 0.141 1.17e-17 ▁▂"):
        assert missing_lines(wrong, printed) == [wrong]
    assert missing_lines("20 0.141 1.17e-17 ▁▂▃\ndepth decay", printed) == ["depth decay"]
