"""What networks decide in the plane: against a plain network's outputs, cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gradlab.config.sweep import Trial
from gradlab.engine.decisions import EXAMPLES, RESOLUTION, cells_of, has_plane
from gradlab.engine.history import TrialHistory
from tests.engine.comparison import as_task, train_stacked
from tests.oracles.network import PlainData, build_network
from tests.oracles.plain import train_plain
from tests.oracles.samples import one_trial, random_data


def trial(seed: int = 0, **model: Any) -> Trial:
    settings = {"depth": 2, "width": 6, "init": "he_normal", **model}
    return one_trial(seed=seed, model=settings, train={"steps": 9, "batch_size": 8, "lr": 0.3})


def expected(one: Trial, data: PlainData, cells: torch.Tensor, trained: bool) -> Any:
    network = build_network(one, data)
    if trained:
        train_plain(network, one, data)
    with torch.no_grad():
        output = network.eval()(cells)
    return output.argmax(-1) if data.task == "multiclass" else (output[:, 0] > 0).long()


@pytest.mark.parametrize("task", ["multiclass", "binary"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_they_are_those_of_a_plain_network(task: str, norm: str) -> None:
    data = random_data(task, 2)
    trials = [trial(seed, norm=norm, depth=depth) for seed, depth in ((0, 2), (1, 1))]
    found = train_stacked(trials, data)
    for one in trials:
        decisions = found[one.trial_id].decisions
        assert decisions is not None
        for step, trained in ((0, False), (9, True)):
            other = expected(one, data, torch.from_numpy(decisions.cells), trained).numpy() != decisions.decided[step]
            assert other.mean() < 0.01, "but for rounding at the border"


def test_the_plane_goes_a_tenth_beyond_the_data_row_by_row_from_below() -> None:
    data = random_data("binary", 2)
    cells = cells_of(as_task(data)).numpy().reshape(RESOLUTION, RESOLUTION, 2)
    low, high = data.x_train.numpy().min(0), data.x_train.numpy().max(0)
    for axis, line in ((0, cells[0, :, 0]), (1, cells[:, 0, 1])):
        span = high[axis] - low[axis]
        side = 1.2 * span / RESOLUTION
        np.testing.assert_allclose(np.diff(line), side, rtol=1e-3)
        assert line[0] == pytest.approx(low[axis] - 0.1 * span + side / 2, rel=1e-4)
    assert (cells[:, :, 0] == cells[0, :, 0]).all()


def test_constant_features_have_a_plane_all_the_same() -> None:
    data = random_data("binary", 2)
    data.x_train[:, 1] = 0.5
    cells = cells_of(as_task(data))
    assert len(cells.unique(dim=0)) == RESOLUTION**2


def test_the_examples_are_the_first_of_the_training_split() -> None:
    data = random_data("multiclass", 2)
    one = trial()
    decisions = train_stacked([one], data)[one.trial_id].decisions
    assert decisions is not None
    np.testing.assert_array_equal(decisions.examples, data.x_train[:EXAMPLES])
    np.testing.assert_array_equal(decisions.classes, data.y_train[:EXAMPLES])


@pytest.mark.parametrize(("task", "features"), [("regression", 2), ("multilabel", 2), ("binary", 3)])
def test_other_data_have_no_plane(task: str, features: int) -> None:
    data, one = random_data(task, features), trial()
    assert not has_plane(as_task(data))
    assert train_stacked([one], data)[one.trial_id].decisions is None


def test_a_diverged_trial_has_decided_before_training_alone() -> None:
    data, one = random_data("binary", 2), trial()
    wild = one_trial(seed=0, model={"depth": 2, "width": 6}, train={"steps": 9, "batch_size": 8, "lr": 1e30})
    found: dict[str, TrialHistory] = train_stacked([one, wild], data)
    own = found[wild.trial_id].decisions
    assert own is not None
    assert (found[wild.trial_id].status, list(own.decided)) == ("diverged", [0])
