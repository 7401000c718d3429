"""Runs that several tests look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.commands import gradlab, invoke, only_run, write_config

SWEEP = """
    name: every.column-1
    data: {name: moons, n_samples: 60}
    model: {width: 6}
    train: {steps: 8, batch_size: 10, lr: 0.1}
    record: {every: 3, probe: 16}
    seeds: [4, 0]
    sweep:
      grid:
        model.depth: [1, 3]
        model.activation: [relu, sigmoid, {name: leaky_relu, negative_slope: 0.2}]
        train.weight_decay: [0.0, 0.01]
      include:
        - {model.depth: 2, data.name: breast_cancer, train.optimizer: adam}
    """


@dataclass(frozen=True)
class Finished:
    """A finished run: its config, its directory and what the command said."""

    config: Path
    path: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """SWEEP, run by the installed command in a process of its own."""
    folder = tmp_path_factory.mktemp("finished")
    config = write_config(folder / "configs", SWEEP)
    answer = gradlab("run", config, "--out", folder / "runs", cwd=folder)
    assert answer.code == 0, answer.stderr
    return Finished(config, only_run(folder / "runs"), answer.stdout, answer.stderr)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command writes into the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="package", autouse=True)
def _warm() -> None:
    """Import torch once, outside the timing of any test."""
    assert invoke("--version").code == 0
