"""The plan of a sweep: who trains with whom, and what is written together."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.config.schema import Experiment
from gradlab.config.sweep import Trial, expand
from gradlab.engine.stacks import (
    MODULE_TRIALS,
    PART_TRIALS,
    RECORDED_ROWS,
    SHARES,
    STACK_BYTES,
    STACK_ELEMENTS,
    Part,
    Stack,
    cost,
    plan,
    recorded_rows,
)

SHARED = [
    lambda trial: trial.data,
    lambda trial: trial.record,
    lambda trial: trial.model.family,
    lambda trial: trial.model.width,
    lambda trial: trial.model.norm,
    lambda trial: trial.model.residual,
    lambda trial: trial.train.optimizer,
    lambda trial: trial.train.batch_size,
    lambda trial: trial.train.steps,
]


def trials_of(grid: dict[str, list[Any]], seeds: int = 1, **sections: Any) -> list[Trial]:
    return expand(Experiment.model_validate({**sections, "seeds": seeds, "sweep": {"grid": grid}}))


def positions(trial: Trial) -> int:
    return 64 if trial.model.family == "cnn" else 1


def elements(trial: Trial) -> int:
    return trial.model.width * trial.train.batch_size * positions(trial)


def stacks_of(parts: Sequence[Part]) -> list[Stack]:
    return [stack for part in parts for stack in part.stacks]


def assert_sound(trials: Sequence[Trial], parts: Sequence[Part]) -> None:
    """Every trial once, in stacks that can train together and respect their limits, in parts that respect theirs."""
    planned = Counter(trial.trial_id for part in parts for trial in part.trials)
    assert planned == Counter(trial.trial_id for trial in trials)
    assert len({part.part_id for part in parts}) == len(parts)
    for stack in stacks_of(parts):
        first, depths = stack.trials[0], [trial.model.depth for trial in stack.trials]
        assert depths == sorted(depths, reverse=True)
        if not first.model.is_stacked:
            assert all(trial.model == first.model for trial in stack.trials)
            assert len(stack.trials) <= max(MODULE_TRIALS, len(trials) // SHARES)
        for trial in stack.trials:
            assert [key(trial) for key in SHARED] == [key(first) for key in SHARED]
        if len(stack.trials) > 1 and first.model.is_stacked:
            assert sum(map(elements, stack.trials)) <= STACK_ELEMENTS
            assert sum(8 * elements(trial) * trial.model.depth for trial in stack.trials) <= STACK_BYTES
        if len(stack.trials) > 1:
            assert sum(map(recorded_rows, stack.trials)) <= RECORDED_ROWS
    for part in parts:
        if len(part.stacks) > 1:
            assert len(part.trials) <= PART_TRIALS
            assert sum(map(recorded_rows, part.trials)) <= RECORDED_ROWS
        assert part.cost == pytest.approx(sum(cost(trial, positions(trial)) for trial in part.trials))
    assert [part.cost for part in parts] == sorted((part.cost for part in parts), reverse=True)


some = st.lists(st.sampled_from([1, 2, 5, 9, 30, 64, 200, 512]), min_size=1, max_size=3, unique=True)


@st.composite
def sweeps(draw: st.DrawFn) -> list[Trial]:
    grid: dict[str, list[Any]] = {
        "model.depth": draw(some),
        "model.width": draw(some),
        "train.lr": draw(st.lists(st.floats(0, 1), min_size=1, max_size=2, unique=True)),
        "model.activation": draw(st.sampled_from([["relu"], ["tanh", "relu", "elu"]])),
        "model.family": draw(st.sampled_from([["mlp"], ["cnn"], ["mlp", "cnn"]])),
        "train.optimizer": draw(st.sampled_from([["sgd"], ["momentum", "adam"]])),
        "train.steps": draw(st.sampled_from([[1], [7, 20_000]])),
        "train.batch_size": draw(some),
        "model.norm": draw(st.sampled_from([["none"], ["layer", "none"]])),
    }
    return trials_of(grid, draw(st.integers(1, 3)), record={"every": draw(st.sampled_from([1, 10]))})


@settings(deadline=None, max_examples=40)
@given(sweeps())
def test_any_plan_is_sound(trials: list[Trial]) -> None:
    assert_sound(trials, plan(trials, positions))


@settings(deadline=None, max_examples=20)
@given(sweeps(), st.randoms())
def test_the_stacks_do_not_depend_on_the_order_of_the_trials(trials: list[Trial], shuffler: random.Random) -> None:
    def ids(parts: Sequence[Part]) -> set[tuple[str, ...]]:
        return {tuple(trial.trial_id for trial in stack.trials) for stack in stacks_of(parts)}

    expected, again = plan(trials, positions), plan(trials, positions)
    assert again == expected
    shuffled = list(trials)
    shuffler.shuffle(shuffled)
    assert ids(plan(shuffled, positions)) == ids(expected)


@settings(deadline=None, max_examples=20)
@given(st.randoms())
def test_a_sweep_of_one_kind_has_the_same_parts_in_any_order(shuffler: random.Random) -> None:
    trials = trials_of({"model.depth": [1, 5, 20], "model.activation": ["relu", "tanh"], "train.lr": [0.1, 0.2]}, 20)
    expected = plan(trials, positions)
    shuffler.shuffle(trials)
    assert plan(trials, positions) == expected


GRIDS: dict[str, dict[str, Any]] = {
    "small networks": {"model.depth": [2, 5, 10, 20, 50], "model.activation": ["relu", "tanh"], "model.width": [16]},
    "wide networks": {"model.depth": [2, 5, 10, 20, 50], "model.width": [256, 512]},
    "many widths": {"model.width": [8, 16, 32, 64, 128], "train.optimizer": ["sgd", "adam"]},
    "cnns": {"model.family": ["cnn"], "model.width": [8, 16], "model.depth": [2, 4, 6, 8, 10]},
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_ten_thousand_trials_make_few_parts(grid: dict[str, list[Any]]) -> None:
    points = math.prod(map(len, grid.values()))
    trials = trials_of(grid, seeds=10_000 // points, train={"steps": 100})
    assert len(trials) == 10_000
    parts = plan(trials, positions)
    assert_sound(trials, parts)
    assert len(parts) <= 60


CUSTOM = {"family": "custom", "factory": "f.py:f"}


def test_ten_thousand_custom_models_make_few_parts_of_large_stacks() -> None:
    trials = trials_of({}, seeds=10_000, model=CUSTOM, train={"steps": 100})
    parts = plan(trials, positions)
    assert_sound(trials, parts)
    assert len(parts) <= 60
    assert min(len(stack.trials) for stack in stacks_of(parts)) >= PART_TRIALS - 20


def test_custom_models_share_a_stack_where_all_but_rates_and_seeds_is_equal() -> None:
    grid: dict[str, list[Any]] = {
        "train.lr": [0.1, 0.2],
        "train.weight_decay": [0.0, 0.1],
        "model.kwargs.width": [3, 4],
        "train.batch_size": [5, 6],
    }
    stacks = stacks_of(plan(trials_of(grid, 2, model=CUSTOM), positions))
    assert [len(stack.trials) for stack in stacks] == [8] * 4


def test_stacks_of_custom_models_are_about_equally_large_and_leave_work_for_several_workers() -> None:
    stacks = stacks_of(plan(trials_of({}, 20, model=CUSTOM), positions))
    assert sorted(len(stack.trials) for stack in stacks) == [6, 7, 7]


def test_recurrent_networks_which_cannot_be_stacked_are_planned_one_by_one() -> None:
    trials = trials_of({}, 20, model={"family": "rnn"}, data={"name": "adding"})
    assert_sound(trials, plan(trials, positions))
    assert len(stacks_of(plan(trials, positions))) == 20


@pytest.mark.parametrize("batch", [31, 63, 127, 255, 300, 512])
def test_no_stack_size_makes_more_than_twice_the_parts_that_are_needed(batch: int) -> None:
    # Two parts side by side hold more than PART_TRIALS trials together, or the second would have joined the first.
    trials = trials_of({}, seeds=10_000, model={"width": 16, "depth": 2}, train={"batch_size": batch, "steps": 20})
    parts = plan(trials, positions)
    assert_sound(trials, parts)
    assert len(parts) <= 2 * math.ceil(10_000 / PART_TRIALS)


def test_a_sweep_that_takes_long_leaves_work_for_several_workers() -> None:
    trials = trials_of({"model.depth": [2, 10, 30]}, seeds=20, model={"width": 128})
    assert len(plan(trials, positions)) >= 4


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17])
def test_small_sweeps(count: int) -> None:
    trials = trials_of({}, seeds=count)
    parts = plan(trials, positions)
    assert_sound(trials, parts)
    assert 1 <= len(parts) <= 16


def test_no_trials_make_no_parts() -> None:
    assert plan([], positions) == []


def test_equal_settings_and_activations_stand_side_by_side() -> None:
    trials = trials_of({"model.activation": ["relu", "tanh", "elu"], "train.lr": [0.1, 0.2]}, 3, model={"width": 4})
    (stack,) = stacks_of(plan(trials, positions))
    for seen in (
        [trial.train.lr for trial in stack.trials],
        [(trial.train.lr, trial.model.activation.label) for trial in stack.trials],
    ):
        runs = [one for one, before in zip(seen, [None, *seen], strict=False) if one != before]
        assert len(runs) == len(set(runs))
