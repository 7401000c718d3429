"""Trials of which float32 may have measured a record wrong, until they are measured in float64.

Those of several records are measured at once, since a few trials take hardly less time than many do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from gradlab.engine.layout import LayerParameters, Layout
from gradlab.engine.measure import Statistics, measure_gradients, replace_trials
from gradlab.engine.snapshot import Joining, Snapshot, layers_of

TOGETHER = 1 << 16
"""Elements of a hidden layer of all trials that are measured at once, about."""


@dataclass(frozen=True)
class TrainingStep:
    """A step of training as float32 has computed it: the minibatch [trial, example, ...] and the gradients."""

    x: Tensor
    y: Tensor
    gradients: Sequence[LayerParameters]


@dataclass(frozen=True)
class Doubt:
    """Some trials of one record.

    Attributes:
        trials: which ones of the stack.
        stack: these alone, as they stood.
        found: statistics [layer, trial] of the whole stack, in which those of these trials are put right.
        step: these trials' alone, where gradients are in doubt.
    """

    trials: Sequence[int]
    stack: Snapshot
    found: Statistics
    step: TrainingStep | None = None


Measure: TypeAlias = Callable[[Joining, Sequence[Doubt]], Statistics]
"""Statistics [layer, trial] in float64 of the stack that several doubts make when they are joined."""


class Doubts:
    """Doubts that wait for each other; how many are measured together changes nothing about the numbers.

    Args:
        examples: that a trial is measured on.
        at_once: whether none waits.
    """

    def __init__(self, measure: Measure, layout: Layout, examples: int, at_once: bool = False) -> None:
        self._measure = measure
        self._most = 0 if at_once else TOGETHER // (layout.shape.width * layout.shape.positions * examples)
        self._waiting: list[Doubt] = []

    def add(self, doubt: Doubt) -> None:
        """Have trials measured, now or when others are there."""
        self._waiting.append(doubt)
        if sum(len(one.trials) for one in self._waiting) > self._most:
            self.settle()

    def settle(self) -> None:
        """Measure all that wait."""
        if not self._waiting:
            return
        joining = Joining([doubt.stack.layout.depths for doubt in self._waiting])
        exact = self._measure(joining, self._waiting)
        at = {place: found for found, place in enumerate(joining.order)}
        start = 0
        for doubt in self._waiting:
            places = [at[place] for place in range(start, start + len(doubt.trials))]
            replace_trials(doubt.found, {name: values[:, places] for name, values in exact.items()}, doubt.trials)
            start += len(doubt.trials)
        self._waiting = []


def doubt_gradients(
    trials: Sequence[int], stack: Snapshot, step: TrainingStep, found: Statistics, grad_norm: Tensor
) -> Doubt:
    """Doubt the gradients of some trials at a step; `found` and the norm over all parameters, [trial], are of all."""
    own, chosen = stack.of(trials), list(trials)
    of_own = TrainingStep(step.x[chosen], step.y[chosen], layers_of(step.gradients, trials, own.network))
    return Doubt(trials, own, found | {"grad_norm": grad_norm[None]}, of_own)


def gradients_together(joining: Joining, doubts: Sequence[Doubt]) -> Statistics:
    """A `Measure` of gradients on each doubt's own minibatch."""
    steps = [doubt.step for doubt in doubts if doubt.step is not None]
    exact, grad_norm = measure_gradients(
        joining.snapshot([doubt.stack for doubt in doubts]),
        joining.tensor([step.x for step in steps]),
        joining.tensor([step.y for step in steps]),
        joining.layers([step.gradients for step in steps]),
    )
    return exact | {"grad_norm": grad_norm[None]}
