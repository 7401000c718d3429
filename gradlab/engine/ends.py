"""What is looked at before training and at its end alone: quantiles of activations, decisions in the plane."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlab.engine.decisions import Decisions, cells_of, decided, decisions, has_plane
from gradlab.engine.evaluation import Evaluation
from gradlab.engine.history import Values
from gradlab.engine.measure import Statistics
from gradlab.engine.normalisation import RunningMoments
from gradlab.engine.quantiles import LEVELS
from gradlab.engine.tasks import Task


class Ends:
    """The two ends of a stack's training.

    Args:
        steps: of the training.

    Attributes:
        seconds: processor time that looking at decisions took.
    """

    def __init__(self, task: Task, evaluation: Evaluation, steps: int) -> None:
        self._task, self._evaluation, self._steps = task, evaluation, steps
        self._cells = cells_of(task) if has_plane(task) else None
        self._decided: dict[int, NDArray[np.int64]] = {}
        self._spread: dict[int, Tensor] = {}
        self.seconds = 0.0

    def decide(self, moments: Sequence[RunningMoments], trained: bool) -> None:
        """Note what the networks decide all over the plane, if there is one."""
        if self._cells is not None:
            started = time.process_time()
            outputs = self._evaluation.outputs(moments, self._cells)
            self._decided[self._steps if trained else 0] = decided(self._task.kind, outputs)
            self.seconds += time.process_time() - started

    def is_end(self, step: int) -> bool:
        """Whether a step is the first or the last."""
        return step in (0, self._steps - 1)

    def take_spread(self, step: int, statistics: Statistics) -> None:
        """Take the quantiles out of the statistics of a record."""
        self._spread[step] = torch.stack([statistics.pop(level) for level in LEVELS])

    def spread(self, index: int, steps: Sequence[int], columns: Sequence[int]) -> dict[str, Values]:
        """A trial's quantiles, [record, layer] each, NaN between its first and its last record.

        Args:
            steps: those of its records.
            columns: its layers among those of the stack.
        """
        found = np.full((len(LEVELS), len(steps), len(columns)), np.nan)
        for record in {0, len(steps) - 1}:
            found[:, record] = self._spread[steps[record]][:, columns, index].cpu().numpy()
        return dict(zip(LEVELS, found, strict=True))

    def decisions(self, index: int, diverged: bool) -> Decisions | None:
        """A trial's decisions, before training alone if it diverged; None where there is no plane."""
        if self._cells is None:
            return None
        steps = [step for step in self._decided if step == 0 or not diverged]
        return decisions(self._task, self._cells, {step: self._decided[step][index] for step in steps})


def between_ends(records: int) -> NDArray[np.bool_]:
    """Which of a trial's records are neither its first nor its last, [record, 1]: they have no quantiles."""
    found = np.ones((records, 1), bool)
    found[[0, -1]] = False
    return found
