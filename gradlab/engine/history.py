"""What training a trial leaves behind: plain numpy arrays, ready for the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradlab.engine.decisions import Decisions

Values = NDArray[np.float64]


LAYER, NORM, TIME = "layer", "norm", "time"
"""Kinds of rows of the layers table: a module with weights, a normalisation, a time step of a recurrent module."""


@dataclass(frozen=True)
class LayerInfo:
    """What does not change about a row of the layers table.

    Attributes:
        name: the module's, as `named_modules()` has it; a time step has that of its recurrent module and series.
        units: None where there are none.
        weight_count: 0 where there are no weights.
        kind: `layer`, `norm` or `time`.
        number: of the layer; of the layer that a normalisation follows, 0 if none; of the time step. From 1. None
            means the place in the list.
    """

    name: str
    units: int | None
    weight_count: int
    kind: str = LAYER
    number: int | None = None


def profile_places(layers: Sequence[LayerInfo]) -> list[int]:
    """Places in `layers` along which the gradient is followed back: one series of time steps, else hidden layers."""
    times = [place for place, info in enumerate(layers) if info.kind == TIME]
    if times:
        return [place for place in times if layers[place].name == layers[times[0]].name]
    return [place for place, info in enumerate(layers) if info.kind == LAYER][:-1]


@dataclass(frozen=True)
class TrialHistory:
    """One trial's results.

    Attributes:
        steps: the recorded steps, ascending.
        step_values: statistic of the steps table -> [record]; one that is absent is null everywhere.
        not_logged: statistic of the steps table -> in which records it is null, [record]; elsewhere NaN is a
            value that is no number.
        layers: one for each row of the layers table that a record makes, of any kind; called a layer below.
        layer_values: statistic of the layers table -> [record, layer]; one that is absent is null everywhere.
        meaningless: statistic -> for which layers it has no meaning, [layer], or in which records and layers,
            [record, layer]; absent where it has one in all.
        weight_prints: what identifies the draw of the initial weights of each layer of kind `layer`, [layer] (see
            `draws.weight_print`).
        finals: final_train_loss, final_eval_loss, final_eval_metric, as far as they are known.
        parameters: how many trainable parameters there are of each type, such as float32.
        diverged_step: the first step whose loss was not finite, if any.
        error: why the trial failed, if it did; the arrays are then empty.
        predicted_gradient_decay: from mean-field theory, where it applies.
        decisions: all over the plane, where the data have two features.
        never_zero: whether the activations' derivative is never exactly 0.
        seconds, recording_seconds: processor time of training and recording, this trial's share.
    """

    trial_id: str
    layers: tuple[LayerInfo, ...] = ()
    steps: tuple[int, ...] = ()
    step_values: dict[str, Values] = field(default_factory=dict)
    not_logged: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    layer_values: dict[str, Values] = field(default_factory=dict)
    meaningless: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    weight_prints: Values = field(default_factory=lambda: np.empty(0))
    finals: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    diverged_step: int | None = None
    error: str | None = None
    predicted_gradient_decay: float | None = None
    decisions: Decisions | None = None
    never_zero: bool = True
    seconds: float = 0.0
    recording_seconds: float = 0.0

    @property
    def status(self) -> str:
        """completed, diverged or failed."""
        if self.error is not None:
            return "failed"
        return "completed" if self.diverged_step is None else "diverged"

    def values_of(self, name: str) -> Values:
        """A statistic of the layers table, [record, layer]; NaN where it was not measured at all."""
        values = self.layer_values.get(name)
        return np.full((len(self.steps), len(self.layers)), np.nan) if values is None else values

    def meaningless_in(self, name: str) -> NDArray[np.bool_]:
        """In which records and layers a statistic has no meaning, [record, layer]."""
        found = np.full((len(self.steps), len(self.layers)), name not in self.layer_values)
        if name in self.meaningless:
            found |= self.meaningless[name]
        return found
