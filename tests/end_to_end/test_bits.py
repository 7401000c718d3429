"""A trial's rows are the same bits alone, in any stack, and with any number of workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.commands import KEYS, gradlab, invoke, only_run, read, same, same_runs, train, write_config

Points = list[dict[str, Any]]


def config_of(data: dict[str, Any], model: dict[str, Any], points: Points, **train_settings: Any) -> dict[str, Any]:
    return {
        "data": data,
        "model": model,
        "train": {"steps": 6, "batch_size": 25, **train_settings},
        "record": {"every": 5, "probe": 51},
        "seeds": 2,
        "sweep": {"include": points},
    }


def dense() -> dict[str, Any]:
    """Every activation at mixed depths and rates; width 33, batches of 25, one output: nothing is a multiple of 8."""
    activations = ["sigmoid", "softplus", "gelu", "relu", "tanh", "silu", "elu", "selu", "hardtanh", "leaky_relu"]
    points = [
        {"model.activation": activation, "model.depth": 1 + index % 4, "train.lr": [0.1, 0.03][index % 2]}
        for index, activation in enumerate(activations)
    ]
    return config_of({"name": "moons", "n_samples": 137}, {"width": 33}, points)


def optimizers() -> dict[str, Any]:
    points = [
        {"train.optimizer": optimizer, "train.weight_decay": decay, "model.depth": depth, "train.lr": rate}
        for optimizer in ("sgd", "momentum", "adam", "adamw", "rmsprop")
        for decay, depth, rate in ((0.0, 3, 0.01), (0.1, 1, 0.03), (0.1, 2, 0.01))
    ]
    return config_of({"name": "gaussian", "n_samples": 61, "n_features": 7}, {"width": 11}, points)


def architectures() -> dict[str, Any]:
    points = [
        {"model.norm": norm, "model.residual": residual, "model.depth": depth, "model.activation": activation}
        for norm in ("none", "layer", "batch")
        for residual in (False, True)
        for depth, activation in ((2, "sigmoid"), (4, "relu"))
    ]
    return config_of({"name": "diabetes"}, {"width": 13}, points, optimizer="adam", lr=0.01)


def images() -> dict[str, Any]:
    points = [
        {"model.activation": "softplus", "model.depth": 1},
        {"model.activation": "relu", "model.depth": 3},
        {"model.activation": "gelu", "model.depth": 3, "model.norm": "batch", "model.residual": True},
        {"model.activation": "sigmoid", "model.depth": 2, "model.norm": "layer"},
    ]
    return config_of({"name": "digits"}, {"family": "cnn", "width": 5}, points, optimizer="adam", lr=0.01, steps=3)


CONFIGS = [dense, optimizers, architectures, images]


def one_trial_of(config: dict[str, Any], point: dict[str, Any], seed: int) -> dict[str, Any]:
    """A config that holds just one trial, written as plain settings without any sweep."""
    alone = json.loads(json.dumps({**config, "sweep": {}, "seeds": [seed], "name": "alone"}))
    for path, value in point.items():
        section, key = path.split(".")
        alone[section][key] = value
    return dict(alone)


@pytest.mark.parametrize("make", CONFIGS)
def test_each_trial_alone_against_the_whole_sweep(make: Any, tmp_path: Path) -> None:
    config = make()
    whole = train(write_config(tmp_path, config), tmp_path / "whole", "--workers", "1")
    tables = {table: read(whole, table) for table in KEYS}
    assert set(tables["trials"]["status"]) == {"completed"}
    seen = set()
    for index, point in enumerate(config["sweep"]["include"]):
        folder = tmp_path / str(index)
        alone = train(write_config(folder, one_trial_of(config, point, index % 2)), folder / "runs", "--workers", "1")
        (trial_id,) = read(alone, "trials")["trial_id"]
        seen.add(trial_id)
        for table, rows in tables.items():
            mine = rows[rows["trial_id"] == trial_id].reset_index(drop=True)
            other = read(alone, table)
            if table == "trials":
                columns = [name for name in mine if "." not in name]
                pd.testing.assert_frame_equal(mine[columns].drop(columns="run"), other.drop(columns="run"))
            same(mine[list(other)], other)
    assert len(seen) == len(config["sweep"]["include"])


def custom() -> dict[str, Any]:
    points = [{"model.kwargs.depth": depth, "train.lr": rate} for depth in (1, 3) for rate in (0.1, 0.03)]
    model = {"family": "custom", "factory": "net.py:make"}
    return config_of({"name": "moons", "n_samples": 61}, model, points)


def random_draws() -> dict[str, Any]:
    """A model that goes on drawing from torch's random stream while it trains."""
    return custom() | {"model": {"family": "custom", "factory": "net.py:make", "kwargs": {"dropout": 0.3}}}


NET = """
from torch import nn

def make(in_features, out_features, depth, dropout=0.0):
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(9, 9), nn.Tanh(), nn.Dropout(dropout))]
    return nn.Sequential(nn.Linear(in_features, 9), *hidden, nn.Linear(9, out_features))
"""


@pytest.mark.parametrize("make", [dense, optimizers, images, custom, random_draws], ids=lambda make: make.__name__)
def test_the_same_command_twice(make: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    """In processes of their own, since one process may remember."""
    (tmp_path / "net.py").write_text(NET)
    config = write_config(tmp_path, make())
    for name in ("first", "second"):
        answer = gradlab("run", config, "--out", tmp_path / name, "--quiet")
        assert answer.code == 0, answer.stderr
    first, second = (only_run(tmp_path / name) for name in ("first", "second"))
    same_runs(first, second)
    assert {path.name for path in first.glob("*/*")} == {path.name for path in second.glob("*/*")}


@pytest.mark.parametrize(
    "make", [dense, optimizers, architectures, custom, random_draws], ids=lambda make: make.__name__
)
def test_in_another_order(make: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    """Points and seeds the other way round, and seeds that are one more: every trial has the rows that it had."""
    (tmp_path / "net.py").write_text(NET)
    config = make() | {"seeds": [0, 1, 2]}
    reversed_points = {"include": config["sweep"]["include"][::-1]}
    forward = train(write_config(tmp_path, config, "forward.yaml"), tmp_path / "forward")
    backward_config = config | {"sweep": reversed_points, "seeds": [2, 1, 0]}
    backward = train(write_config(tmp_path, backward_config, "backward.yaml"), tmp_path / "backward")
    more_config = config | {"sweep": reversed_points, "seeds": [7, 2, 1, 0]}
    more = train(write_config(tmp_path, more_config, "more.yaml"), tmp_path / "more")
    assert [row["trial_id"] for row in dry_run(tmp_path / "forward.yaml")] != [
        row["trial_id"] for row in dry_run(tmp_path / "backward.yaml")
    ]
    for table in KEYS:
        rows = read(forward, table)
        same(rows, read(backward, table)[list(rows)])
        others = read(more, table)
        kept = others[others["trial_id"].isin(rows["trial_id"])].reset_index(drop=True)
        same(rows, kept[list(rows)])


def dry_run(config: Path) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = json.loads(invoke("run", config, "--dry-run", "--json").stdout)["trials"]
    return trials


def test_a_grid_s_lists_in_another_order(tmp_path: Path) -> None:
    base = config_of({"name": "moons", "n_samples": 61}, {"width": 7}, [])
    lists = {
        "model.depth": [1, 2, 4],
        "model.activation": ["relu", "gelu", "sigmoid"],
        "train.optimizer": ["sgd", "adam"],
    }
    runs = []
    for name, grid in {
        "forward": lists,
        "backward": {path: values[::-1] for path, values in reversed(lists.items())},
    }.items():
        runs.append(train(write_config(tmp_path, base | {"sweep": {"grid": grid}}, f"{name}.yaml"), tmp_path / name))
    for table in KEYS:
        rows = read(runs[0], table)
        same(rows, read(runs[1], table)[list(rows)])


def test_one_worker_or_two(tmp_path: Path) -> None:
    config = write_config(tmp_path, dense() | {"seeds": 3})
    grid = ("--set", "sweep.grid={train.optimizer: [sgd, adam], train.batch_size: [25, 7]}")
    one = train(config, tmp_path / "one", "--workers", "1", *grid)
    two = train(config, tmp_path / "two", "--workers", "2", *grid)
    assert json.loads((two / "run.json").read_text())["workers"] == 2
    same_runs(one, two)


def test_a_diverging_trial_does_not_touch_its_neighbours(tmp_path: Path) -> None:
    points = [{"train.lr": 0.01}, {"train.lr": 0.02, "model.depth": 3}, {"train.lr": 0.01, "model.norm": "batch"}]
    wild = [{"train.lr": 1e6}, {"train.lr": 1e6, "model.depth": 3}, {"train.lr": 1e30, "model.norm": "batch"}]
    quiet = config_of({"name": "diabetes"}, {"width": 9, "depth": 2, "activation": "relu"}, points, steps=20)
    alone = train(write_config(tmp_path / "a", quiet), tmp_path / "alone")
    loud = {**quiet, "sweep": {"include": [*wild, *points]}}
    beside = train(write_config(tmp_path / "b", loud), tmp_path / "beside")

    trials, expected = read(beside, "trials"), read(alone, "trials")
    diverged = trials[trials["lr"] >= 1e6]
    assert set(diverged["status"]) == set(diverged["diagnosis"]) == {"diverged"}
    assert set(expected["status"]) == {"completed"}
    own = set(expected["trial_id"])
    for table in KEYS:
        rows = read(beside, table)
        neighbours = rows[rows["trial_id"].isin(own)].reset_index(drop=True)
        if table == "trials":
            neighbours["diverged_step"] = neighbours["diverged_step"].astype(float)
        same(neighbours, read(alone, table))

    steps = read(beside, "steps").merge(diverged[["trial_id", "diverged_step"]])
    for _, rows in steps.groupby("trial_id"):
        last = rows.iloc[-1]
        assert last["step"] == last["diverged_step"], "recorded where it diverges, and no further"
        assert not np.isfinite(last["train_loss"])
        assert np.isfinite(rows["train_loss"].iloc[:-1]).all()


def test_a_trial_s_identity_is_its_own_settings(tmp_path: Path) -> None:
    def ids(*options: str, name: str = "a") -> dict[str, dict[str, Any]]:
        config = write_config(tmp_path, {"model": {"depth": 2}, "seeds": 1}, f"{name}.yaml")
        rows = json.loads(invoke("run", config, "--dry-run", "--json", *options).stdout)["trials"]
        return {row["trial_id"]: row for row in rows}

    (plain,) = ids()
    assert plain in ids("--set", "sweep.grid={model.depth: [1, 2, 3]}", name="b")
    assert plain in ids("--set", "seeds=3")
    assert plain in ids("--set", "sweep.grid={train.lr: [0.05, 0.1]}", "--set", "diagnosis.dying=0.9")
    for other in ("model.depth=3", "train.steps=9", "record.every=7", "data.standardize=false", "seeds=[1]"):
        assert plain not in ids("--set", other), other
