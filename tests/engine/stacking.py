"""Training trials alone and together, and holding what they leave behind against each other bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlab.config.sweep import Trial
from gradlab.engine.activations import make_activation
from gradlab.engine.history import TrialHistory
from gradlab.engine.stacks import Stack
from gradlab.engine.tasks import Task
from gradlab.engine.train import train


def stacked(trials: Sequence[Trial], task: Task) -> dict[str, TrialHistory]:
    """All trials in one stack, deepest first; those of one depth stay in the order given."""
    ordered = sorted(trials, key=lambda trial: -trial.model.depth)
    activations = {trial.model.activation.label: make_activation(trial.model.activation) for trial in ordered}
    return {history.trial_id: history for history in train(Stack(tuple(ordered)), task, activations)}


def alone(trial: Trial, task: Task) -> TrialHistory:
    """The trial in a stack of its own."""
    return stacked([trial], task)[trial.trial_id]


def bit_differences(one: TrialHistory, other: TrialHistory) -> list[str]:
    """Everything in which two histories of a trial differ, the processor time apart."""
    first, second = _contents(one), _contents(other)
    assert first.keys() == second.keys()
    return [name for name in first if not same_bits(first[name], second[name])]


def same_bits(one: Any, other: Any) -> bool:
    """Whether two values are equal to the last bit, the sign of a zero included; one NaN is as good as another."""
    first, second = np.asarray(one), np.asarray(other)
    if first.dtype.kind != "f":
        return first.dtype == second.dtype and np.array_equal(first, second)
    signs = np.array_equal(np.signbit(first) & ~np.isnan(first), np.signbit(second) & ~np.isnan(second))
    return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=True) and signs


def _contents(history: TrialHistory) -> dict[str, Any]:
    return {
        "layers": repr(history.layers),
        "steps": history.steps,
        "diverged_step": repr(history.diverged_step),
        "parameters": history.parameters,
        "never_zero": history.never_zero,
        "decisions": repr(
            history.decisions and {step: classes.tolist() for step, classes in history.decisions.decided.items()}
        ),
        "status": history.status,
        **history.step_values,
        **history.layer_values,
        **{f"meaningless {name}": values for name, values in history.meaningless.items()},
        **history.finals,
    }
