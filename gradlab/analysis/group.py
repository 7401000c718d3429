"""A group of trials that differ in their seed alone, and its gradient layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradlab.analysis.estimates import GeometricMean, Mean


@dataclass(frozen=True)
class Profile:
    """The gradient layer by layer, or time step by time step, geometric means over the seeds of a group.

    Attributes:
        layers: layer numbers, 1 nearest the input; the output layer is the last. Or time steps from 1.
        delta_rms: of each layer.
        weight_grad_norm: of each layer.
        along_time: whether these are time steps.
    """

    layers: tuple[int, ...]
    delta_rms: tuple[GeometricMean, ...]
    weight_grad_norm: tuple[GeometricMean, ...]
    along_time: bool = False

    @property
    def hidden(self) -> tuple[float | None, ...]:
        """log10 of delta_rms in the hidden layers, first to last; -inf where it is exactly 0 in all trials.

        Of time steps in all of them, as there is no output among them.
        """
        return tuple(mean.log10 for mean in (self.delta_rms if self.along_time else self.delta_rms[:-1]))


@dataclass(frozen=True)
class Group:
    """Trials that differ in their seed alone.

    Attributes:
        settings: every factor and its value.
        runs: the runs that its trials stand in.
        trials: how many there are; of these `completed`, `diverged` and `failed`.
        diverged_step: median step at which trials diverged.
        error: what the first failed trial said.
        first_grad_norm: weight_grad_norm of layer 1 at step 0.
        last_grad_norm: weight_grad_norm of the last hidden layer at step 0.
        decay: gradient_decay at step 0, from the layers' log10_delta_rms.
        predicted_decay: the same from mean-field theory.
        dead_fraction: share of dead hidden units at the last record; `dead_fraction_first` that at step 0.
        saturated_fraction: share of saturated (hidden unit, probe example) pairs at the last record.
        train_loss: final loss on the probe; `eval_loss` and `metric` on the evaluation split.
        diagnoses: diagnosis -> how many trials have it, the most common first, of equals the gravest.
        advice: one sentence where the group is not healthy.
        along_time: whether `decay` is that along time, not along depth.
    """

    settings: Mapping[str, Any]
    runs: tuple[str, ...]
    trials: int
    completed: int
    diverged: int
    failed: int
    diverged_step: float | None
    error: str | None
    first_grad_norm: GeometricMean
    last_grad_norm: GeometricMean
    decay: GeometricMean
    predicted_decay: float | None
    dead_fraction: Mean
    dead_fraction_first: Mean
    saturated_fraction: Mean
    train_loss: Mean
    eval_loss: Mean
    metric: Mean
    diagnoses: Mapping[str, int]
    advice: str | None = None
    along_time: bool = False

    @property
    def diagnosis(self) -> str:
        """The most common diagnosis of its trials."""
        return next(iter(self.diagnoses))
