"""Quantiles of activations: numpy's, whatever the values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab.config.sweep import Trial
from gradlab.engine.quantiles import LEVELS, VALUES, examples_for, quantiles
from tests.engine.comparison import differences, train_stacked
from tests.oracles.plain import QUANTILES, plain_trial
from tests.oracles.samples import one_trial, random_data

FLOATS = st.integers(-(10**6), 10**6).map(lambda number: number / 1000)


@given(st.lists(st.lists(FLOATS, min_size=5, max_size=5), min_size=1, max_size=4))
def test_they_are_numpys(rows: list[list[float]]) -> None:
    values = torch.tensor(rows)
    expected = np.quantile(values.double().numpy(), list(LEVELS.values()), axis=1)
    np.testing.assert_allclose(quantiles(values).numpy(), expected, rtol=1e-12)


def test_equal_infinities_are_no_nan_and_nan_is_nan() -> None:
    inf, nan = torch.inf, torch.nan
    spread = quantiles(torch.tensor([[inf, inf, inf], [0.0, nan, 1.0], [-0.0, 0.0, -0.0]]))
    assert (spread[:, 0] == inf).all()
    assert spread[:, 1].isnan().all()
    assert not spread[:, 2].signbit().any()


def test_the_columns_are_the_documented_ones() -> None:
    assert list(LEVELS) == list(QUANTILES)
    assert list(LEVELS.values()) == pytest.approx(list(QUANTILES.values()))


def test_one_example_at_least() -> None:
    assert examples_for(VALUES // 3) == 3
    assert examples_for(2 * VALUES) == 1


def trial(seed: int, **model: object) -> Trial:
    train = {"steps": 3, "batch_size": 6}
    return one_trial(seed=seed, model={"depth": 2, **model}, train=train, record={"every": 1, "probe": 13})


def test_of_many_units_the_first_examples_that_fill_the_limit() -> None:
    wide = trial(0, width=1500)  # 5 of the 13 examples
    data = random_data()
    history = train_stacked([wide], data)[wide.trial_id]
    assert differences(history, plain_trial(wide, data), [0], 1e-4) == []


def test_of_a_cnn_over_positions_too() -> None:
    one = trial(1, family="cnn", width=3)
    data = random_data("multiclass", 2, 4, 4)
    history = train_stacked([one], data)[one.trial_id]
    assert differences(history, plain_trial(one, data), [0, 1], 1e-4) == []


def test_a_trial_that_diverges_has_them_where_it_ends_and_its_neighbours_not_there() -> None:
    train = {"steps": 6, "batch_size": 6, "lr": 0.01}
    calm, wild = (
        one_trial(seed=0, model={"width": 6, "depth": 2}, train=train | {"lr": lr}, record={"every": 10, "probe": 13})
        for lr in (0.01, 1e30)
    )
    data = random_data("regression")
    found = train_stacked([calm, wild], data)
    ends = {
        one.trial_id: np.flatnonzero(~found[one.trial_id].meaningless_in("activation_q50")[:, 0])
        for one in (calm, wild)
    }
    assert found[wild.trial_id].diverged_step is not None
    for one in (calm, wild):
        history = found[one.trial_id]
        assert {0, len(history.steps) - 1} == set(ends[one.trial_id])
        assert history.steps[-1] == (5 if one is calm else history.diverged_step)
