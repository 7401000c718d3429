"""A trial that diverges: recorded there, trained no further, and no concern of its neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from tests.engine.comparison import as_task, differences
from tests.engine.stacking import alone, bit_differences, same_bits, stacked
from tests.oracles.plain import plain_trial
from tests.oracles.samples import one_trial, random_data

DATA = random_data()
TASK = as_task(DATA)
WILD = 30.0
"""A learning rate with which the loss leaves float32 within four to seven steps."""


def trial(seed: int = 0, *, lr: float = 0.05, steps: int = 12, **model: Any) -> Trial:
    return one_trial(
        seed=seed,
        model={"depth": 3, "width": 5, "activation": "leaky_relu", **model},
        train={"steps": steps, "batch_size": 6, "lr": lr},
        record={"every": 4, "probe": 9},
    )


def wild(seed: int, **model: Any) -> Trial:
    """Diverges within a few steps."""
    return trial(seed, lr=WILD, **model)


def assert_recorded_up_to_its_end(history: TrialHistory) -> None:
    end = history.diverged_step
    assert end is not None
    assert history.status == "diverged"
    assert history.steps == tuple(sorted({*range(0, end + 1, 4), end}))
    assert not math.isfinite(history.step_values["train_loss"][-1])
    assert np.isfinite(history.step_values["train_loss"][:-1]).all()
    for values in (*history.step_values.values(), *history.layer_values.values()):
        assert len(values) == len(history.steps)
    assert np.isnan(history.layer_values["update_ratio"][-1]).all()
    assert not np.isnan(history.layer_values["update_ratio"][:-1]).any()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_ends_where_the_plain_loop_ends_with_what_that_measures(seed: int) -> None:
    one = wild(seed)
    history, plain = alone(one, TASK), plain_trial(one, DATA)
    assert_recorded_up_to_its_end(history)
    assert history.diverged_step == plain.trial["diverged_step"]
    assert 0 < plain.trial["diverged_step"] < 11
    assert [entry["step"] for entry in plain.steps] == list(history.steps)
    assert differences(history, plain, history.steps, 1e-2) == []
    for name, value in history.finals.items():
        assert value == pytest.approx(plain.trial[name], rel=1e-2, nan_ok=True)


def test_final_numbers_are_those_of_the_weights_with_which_it_diverged() -> None:
    # The weights at the diverged step are what the step before made: a run that stops there ends with them.
    history = alone(wild(1), TASK)
    assert history.diverged_step is not None
    shorter = alone(trial(1, lr=WILD, steps=history.diverged_step), TASK)
    assert shorter.diverged_step is None
    for name, value in history.finals.items():
        assert same_bits(value, shorter.finals[name]), name


@pytest.mark.parametrize("model", [{}, {"norm": "batch"}, {"residual": True}, {"family": "cnn"}], ids=str)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_neighbours_never_notice(optimizer: str, model: dict[str, Any]) -> None:
    data = random_data("regression", 1, 3, 3) if "family" in model else random_data("regression")
    task = as_task(data)
    # A learning rate of 1e30 makes the loss inf or NaN at step 1, whatever the optimizer.
    pairs = [(0, 0.05, 4), (1, 1e30, 3), (2, 0.05, 3), (3, 1e30, 2), (4, 0.05, 2), (5, 0.05, 1)]
    trials = [
        one_trial(
            seed=seed,
            model={"width": 5, "depth": depth, **model},
            train={"steps": 9, "batch_size": 6, "lr": lr, "optimizer": optimizer},
            record={"every": 4, "probe": 9},
        )
        for seed, lr, depth in pairs
    ]
    calm = [one for one in trials if one.train.lr < 1]
    together, without = stacked(trials, task), stacked(calm, task)
    for one in trials:
        history = together[one.trial_id]
        if one.train.lr < 1:
            assert history.status == "completed"
            assert history.steps == (0, 4, 8)
            assert bit_differences(history, without[one.trial_id]) == []
        else:
            assert_recorded_up_to_its_end(history)
            assert bit_differences(history, alone(one, task)) == []


def test_all_diverge_at_once() -> None:
    trials = [trial(seed, lr=1e30) for seed in range(4)]
    histories = stacked(trials, TASK)
    for one in trials:
        assert_recorded_up_to_its_end(histories[one.trial_id])
        assert histories[one.trial_id].diverged_step == plain_trial(one, DATA).trial["diverged_step"]


def test_several_diverge_one_after_another() -> None:
    trials = [wild(seed, depth=depth) for seed in range(5) for depth in (3, 2)] + [trial(0), trial(1, depth=1)]
    histories = stacked(trials, TASK)
    ends = {history.diverged_step for history in histories.values()}
    assert None in ends
    assert len(ends) > 3, "the stack goes on after the first has diverged"
    for one in trials:
        assert bit_differences(histories[one.trial_id], alone(one, TASK)) == []
        assert histories[one.trial_id].diverged_step == plain_trial(one, DATA).trial["diverged_step"]


def test_at_step_0_it_has_one_record_and_was_never_updated() -> None:
    # Weights near 1e20 over three layers leave float32.
    init = {"name": "normal", "sigma_w": 1e20, "sigma_b": 0.0}
    broken, calm = trial(1, init=init), trial(2)
    histories = stacked([broken, calm], TASK)
    history = histories[broken.trial_id]
    assert_recorded_up_to_its_end(history)
    assert (history.diverged_step, history.steps) == (0, (0,))
    assert all(not math.isfinite(history.finals[name]) for name in ("final_train_loss", "final_eval_loss"))
    assert plain_trial(broken, DATA).trial["diverged_step"] == 0
    assert bit_differences(histories[calm.trial_id], alone(calm, TASK)) == []


def test_at_the_last_step() -> None:
    history = alone(wild(1), TASK)
    assert history.diverged_step is not None
    last = alone(trial(1, lr=WILD, steps=history.diverged_step + 1), TASK)
    assert last.diverged_step == history.diverged_step
    assert last.steps[-1] == history.diverged_step
    assert len(set(last.steps)) == len(last.steps)


def test_float32_gradients_that_are_not_finite_are_counted() -> None:
    history = alone(wild(1), TASK)
    counts, sizes = history.layer_values["non_finite"], [info.weight_count for info in history.layers]
    assert (counts[:-1] == 0).all()
    # Nothing finite comes back from an output that is NaN or inf.
    assert counts[-1, -1] == sizes[-1]
    assert (counts[-1] <= sizes).all()
