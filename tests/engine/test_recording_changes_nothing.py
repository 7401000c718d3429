"""Watching a trial leaves its training as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.engine.quantiles import LEVELS
from tests.engine.comparison import as_task
from tests.engine.stacking import same_bits, stacked
from tests.oracles.samples import one_trial, random_data

MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch norm": {"norm": "batch"},
    "layer norm and residual": {"norm": "layer", "residual": True},
    "cnn with batch norm": {"family": "cnn", "norm": "batch"},
}
OF_THE_WEIGHTS = ("weight_norm", "update_ratio", "weight_grad_norm", "bias_grad_norm", "delta_rms", "non_finite")
OF_THE_STEP = ("train_loss", "eval_loss", "eval_metric", "grad_norm")


def trials(model: dict[str, Any], optimizer: str, record: dict[str, int], steps: int = 20) -> list[Trial]:
    return [
        one_trial(
            seed=seed,
            model={"depth": depth, "width": 5, "activation": activation, **model},
            train={"steps": steps, "batch_size": 7, "optimizer": optimizer, "lr": lr},
            record=record,
        )
        for seed, depth, activation, lr in ((0, 3, "tanh", 0.05), (1, 2, "relu", 0.02), (2, 2, "gelu", 1e30))
    ]


def assert_equal_where_both_recorded(one: TrialHistory, other: TrialHistory) -> None:
    """Finals, and all that follows from weights and minibatches, at the steps that both recorded."""
    assert one.diverged_step == other.diverged_step
    common = set(one.steps) & set(other.steps)
    assert {0, one.steps[-1]} <= common
    assert one.steps[-1] == other.steps[-1]
    for step in common:
        here, there = one.steps.index(step), other.steps.index(step)
        for name in OF_THE_STEP:
            assert same_bits(one.step_values[name][here], other.step_values[name][there]), (step, name)
        for name in OF_THE_WEIGHTS:
            assert same_bits(one.layer_values[name][here], other.layer_values[name][there]), (step, name)
    for name in ("final_eval_loss", "final_eval_metric"):
        assert same_bits(one.finals[name], other.finals[name]), name


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_step_or_hardly_any_and_any_probe(model: dict[str, Any], optimizer: str) -> None:
    shape = (1, 3, 3) if "family" in model else (5,)
    task = as_task(random_data("multiclass", *shape))
    records = [{"every": 1, "probe": 512}, {"every": 1000, "probe": 512}, {"every": 3, "probe": 1}]
    results = [list(stacked(trials(model, optimizer, record), task).values()) for record in records]
    for first, *others in zip(*results, strict=True):
        for other in others:
            assert_equal_where_both_recorded(first, other)
    for seldom, often in zip(results[1], results[0], strict=True):
        assert same_bits(seldom.finals["final_train_loss"], often.finals["final_train_loss"])
    assert {history.diverged_step for history in results[0]} >= {None}


def test_more_steps_do_not_change_the_first_ones() -> None:
    task = as_task(random_data())
    record = {"every": 5, "probe": 9}
    short, long = (list(stacked(trials({}, "adam", record, steps), task).values()) for steps in (11, 31))
    for first, second in zip(short, long, strict=True):
        rows = [second.steps.index(step) for step in first.steps]
        for name, values in first.layer_values.items():
            both = slice(1) if name in LEVELS else slice(None)  # quantiles stand at a trial's ends
            assert same_bits(values[both], second.layer_values[name][rows][both])


def test_the_callers_random_stream_and_gradient_mode_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    stacked(trials({"norm": "batch"}, "adam", {"every": 2, "probe": 4}), as_task(random_data()))
    assert torch.equal(torch.rand(4), expected)
    assert torch.is_grad_enabled()


def test_the_task_is_left_as_it_was() -> None:
    task = as_task(random_data())
    before = {name: getattr(task, name).clone() for name in ("x_train", "y_train", "x_eval", "y_eval")}
    stacked(trials({}, "sgd", {"every": 2, "probe": 4}), task)
    for name, tensor in before.items():
        assert torch.equal(getattr(task, name), tensor)
        assert not getattr(task, name).requires_grad
