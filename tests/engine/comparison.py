"""Training through the stacked engine, and holding its rows against the plain twin's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.engine.tasks import Task
from tests.engine.stacking import stacked
from tests.oracles.plain import PlainData, PlainHistory

COUNTS = {"dead_units", "zero_gradient_units", "non_finite", "units", "weight_count", "layer", "step"}


def as_task(data: PlainData) -> Task:
    """The engine's view of the plain data."""
    column = data.task != "multiclass"

    def target(y: torch.Tensor) -> torch.Tensor:
        return y.float().reshape(len(y), -1) if column else y

    flat = data.x_train.flatten(1).double()
    return Task(
        data.task,
        data.x_train,
        target(data.y_train),
        data.x_eval,
        target(data.y_eval),
        data.outputs,
        float(flat.square().mean()),
        float(flat.var(0, correction=0).mean()),
    )


def train_stacked(trials: Sequence[Trial], data: PlainData) -> dict[str, TrialHistory]:
    """All trials in one stack (they must be able to share one)."""
    return stacked(trials, as_task(data))


def differences(history: TrialHistory, plain: PlainHistory, steps: Sequence[int], tolerance: float) -> list[str]:
    """Every value that differs by more than `tolerance`, relative; counts and nulls must be equal."""
    found: list[str] = []
    for row, step in enumerate(history.steps):
        if step not in steps:
            continue
        expected_step = next(entry for entry in plain.steps if entry["step"] == step)
        for name, values in history.step_values.items():
            found += _compare(f"step {step} {name}", name, values[row], expected_step[name], tolerance)
        for index, info in enumerate(history.layers):
            expected = plain.at(step, index + 1)
            place = f"step {step} layer {index + 1}"
            assert (info.name, info.units, info.weight_count) == (
                expected["name"],
                expected["units"],
                expected["weight_count"],
            )
            for name, table in history.layer_values.items():
                found += _compare(f"{place} {name}", name, table[row, index], expected[name], tolerance)
    return found


def _compare(place: str, name: str, value: Any, expected: Any, tolerance: float) -> list[str]:
    value = float(value)
    if expected is None:
        null = math.isnan(value) or (value == -math.inf and name.startswith("log10"))
        return [] if null else [f"{place}: {value}, not null"]
    expected = float(expected)
    if math.isnan(expected) or math.isinf(expected):
        return [] if value == expected or (math.isnan(value) and math.isnan(expected)) else [f"{place}: {value}"]
    if name in COUNTS:
        return [] if value == expected else [f"{place}: {value} != {expected}"]
    scale = 1.0 if name.startswith("log10") else abs(expected)
    # Batch normalisation takes out a bias's effect, so that its gradient is 0 but for rounding.
    absolute = {"activation_mean": 1e-7, "eval_metric": 1e-7, "update_ratio": 1e-7, "bias_grad_norm": 1e-14}.get(
        name, 1e-6 if name.startswith("activation_q") else 0
    )
    return [] if abs(value - expected) <= tolerance * scale + absolute else [f"{place}: {value} != {expected}"]
