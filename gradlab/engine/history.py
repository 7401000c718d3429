"""What training a trial leaves behind: plain numpy arrays, ready for the tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class LayerInfo:
    """What does not change about a layer: its name, units (None where there are none) and number of weights."""

    name: str
    units: int | None
    weight_count: int


@dataclass(frozen=True)
class TrialHistory:
    """One trial's results.

    Attributes:
        steps: the recorded steps, ascending.
        step_values: statistic of the steps table -> [record].
        layer_values: statistic of the layers table -> [record, layer].
        meaningless: statistic -> for which layers it has no meaning, [layer]; absent where it has one in all.
        weight_prints: what identifies the draw of each layer's initial weights, [layer] (see `draws.weight_print`).
        finals: final_train_loss, final_eval_loss, final_eval_metric.
        parameters: how many trainable parameters there are of each type, such as float32.
        diverged_step: the first step whose loss was not finite, if any.
        error: why the trial failed, if it did; the arrays are then empty.
        predicted_gradient_decay: from mean-field theory, where it applies.
        never_zero: whether the activations' derivative is never exactly 0.
        seconds, recording_seconds: processor time of training and recording, this trial's share.
    """

    trial_id: str
    layers: tuple[LayerInfo, ...] = ()
    steps: tuple[int, ...] = ()
    step_values: dict[str, Values] = field(default_factory=dict)
    layer_values: dict[str, Values] = field(default_factory=dict)
    meaningless: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    weight_prints: Values = field(default_factory=lambda: np.empty(0))
    finals: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    diverged_step: int | None = None
    error: str | None = None
    predicted_gradient_decay: float | None = None
    never_zero: bool = True
    seconds: float = 0.0
    recording_seconds: float = 0.0

    @property
    def status(self) -> str:
        """completed, diverged or failed."""
        if self.error is not None:
            return "failed"
        return "completed" if self.diverged_step is None else "diverged"
