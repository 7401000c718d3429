"""The worked examples of the doors for models of one's own, as their READMEs run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.commands import gradlab

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of an example's folder."""
    return Path(shutil.copytree(EXAMPLES / request.param, tmp_path / request.param))


def python(*arguments: str, cwd: Path) -> None:
    """A script as its user starts it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("example", ["in-a-sweep"], indirect=True)
def test_a_sweep_over_ones_own_model(example: Path) -> None:
    answer = gradlab("run", "gradlab.yaml", cwd=example)
    assert answer.code == 0, answer.stderr
    (run,) = (example / "runs").iterdir()
    trials = pd.read_parquet(run / "trials")
    decay = trials.groupby(["model.kwargs.depth", "model.kwargs.shortcut"]).gradient_decay.mean()
    assert (decay[:, False] < 0.5).all()
    assert (decay[:, True] > 0.9).all()
    deep = trials[(trials["model.kwargs.depth"] == 16) & ~trials["model.kwargs.shortcut"]]
    assert set(deep.diagnosis) == {"vanishing"}


@pytest.mark.parametrize("example", ["in-your-loop"], indirect=True)
def test_a_loop_of_ones_own(example: Path) -> None:
    for cell in ("RNN", "GRU"):
        python("train.py", "--cell", cell, "--seeds", "2", "--steps", "30", cwd=example)
    run = example / "runs" / "remember"
    trials, layers, steps = (pd.read_parquet(run / table) for table in ("trials", "layers", "steps"))
    assert len(trials) == 4
    assert sorted(trials.cell) == ["GRU", "GRU", "RNN", "RNN"]
    assert set(trials.diagnosis) == {"vanishing"}
    assert trials.groupby("cell").gradient_decay.mean().idxmin() == "RNN"
    times = layers[layers.kind == "time"]
    assert sorted(times.layer.unique()) == list(range(1, 61))
    assert set(steps.step) == {0, 10, 20}
    assert steps.train_loss.notna().all()
    compared = gradlab("compare", "runs/remember", "--json", cwd=example)
    assert compared.code == 0, compared.stderr
    assert '"cell"' in compared.stdout
