"""The metric by its name wherever it stands: R^2 of regressions, accuracy of classifications."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gradlab.config.schema import DATA_OPTIONS, OWN_DATA, REGRESSIONS, Data
from gradlab.engine.datasets import load_arrays
from tests.end_to_end.commands import invoke, train, write_config

DATA = """\
import numpy as np


def regression():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    return {"x_train": x, "y_train": x[:, :1], "x_eval": x, "y_eval": x[:, :1], "task": "regression"}


def classes():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    return {"x_train": x, "y_train": y, "x_eval": x, "y_eval": y, "task": "binary"}
"""


@pytest.mark.parametrize(
    ("data", "name", "other"),
    [
        ("{name: diabetes}", "R^2", "accuracy"),
        ("{name: moons, n_samples: 60}", "accuracy", "R^2"),
        ("{name: npz, path: mine.npz, task: regression}", "R^2", "accuracy"),
        ("{name: custom, factory: 'mine.py:regression'}", "R^2", "accuracy"),
        ("{name: custom, factory: 'mine.py:classes'}", "accuracy", "R^2"),
    ],
)
def test_the_metric_is_called_by_its_name(data: str, name: str, other: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DATA)
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=x[:, :1], x_eval=x, y_eval=x[:, :1])
    head = "model: {width: 4}\ntrain: {steps: 3, batch_size: 10}\nseeds: 2\n"
    config = write_config(tmp_path, f"data: {data}\n{head}sweep: {{grid: {{model.depth: [1, 2]}}}}\n")
    run = train(config, tmp_path / "runs")
    for answer in (invoke("run", config, "--out", tmp_path / "runs"), invoke("compare", run)):
        assert name in answer.stdout
        assert other not in answer.stdout
        assert "final_eval_metric" not in answer.stdout
    assert f"- {name}: " in invoke("compare", run, "--format", "markdown").stdout
    assert json.loads(invoke("compare", run, "--json").stdout)["metric"] == name
    assert "metrics" not in invoke("show", run).stdout


@pytest.mark.parametrize("name", sorted(DATA_OPTIONS.keys() - set(OWN_DATA)))
def test_the_regressions_are_those_that_the_tasks_know(name: str, tmp_path: Path) -> None:
    assert (load_arrays(Data(name=name), tmp_path).task == "regression") == (name in REGRESSIONS)
