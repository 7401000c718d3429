"""What a record shows to whoever watches a training: a few plain numbers, small enough to be sent while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]

SEEN_EVERY = 0.25
"""Seconds between two sightings of a training that goes on: as often as a person can follow."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """One record of trials that train together.

    Attributes:
        trial_ids: of the trials that were recorded, [trial].
        step: of the record.
        steps: of the whole training.
        lengths: how many hidden layers each trial has, or time steps, [trial].
        log10_delta_rms: in each of them, from layer 1 or time step 1 on, [trial, place]; -inf for exactly 0, NaN for
            what is no number and beyond a trial's own length.
        dead_fraction: the share of hidden units that are dead, [trial]; NaN where that isn't known.
        train_loss: of the step's minibatch, [trial]; not finite where a trial has just diverged.
        along_time: whether places are time steps.
    """

    trial_ids: tuple[str, ...]
    step: int
    steps: int
    lengths: tuple[int, ...]
    log10_delta_rms: Reals
    dead_fraction: Reals
    train_loss: Reals
    along_time: bool = False

    @property
    def is_end(self) -> bool:
        """Whether it is the first or the last one of some of its trials: how they began or what became of them."""
        return self.step in (0, self.steps - 1) or not bool(np.isfinite(self.train_loss).all())


class Throttle:
    """Passes sightings on: one now and then, and the first and last one of every trial.

    Args:
        tell: hears those that pass.
        clock: seconds.
    """

    def __init__(self, tell: Callable[[Sighting], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._clock = tell, clock
        self._next = clock()

    def __call__(self, sighting: Sighting) -> None:
        """Pass it on if it is time for one."""
        now = self._clock()
        if now >= self._next or sighting.is_end:
            self._next = now + SEEN_EVERY
            self._tell(sighting)
