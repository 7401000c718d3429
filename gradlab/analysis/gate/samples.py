"""The values of a statistic on both sides, as the numbers that a test compares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradlab.analysis.gate.matching import Match
from gradlab.analysis.gate.resampling import MaxTest, permutation_test, sign_flip_test
from gradlab.store.measurement import END, WHOLE_NETWORK, Key, is_logarithmic

Reals = NDArray[np.float64]

DIVERGED = "diverged"
"""The statistic that counts the seeds whose loss stopped being finite."""

SEED_SHARE = 0.05
"""Share of the seeds that matters where seeds are counted: those that diverge, those whose norm is exactly 0."""

SLACK = 0.25
"""Deviation between seeds that counts as none, as a share of the change that matters."""


@dataclass(frozen=True)
class Column:
    """Numbers of both sides whose means are compared.

    Attributes:
        old, new: `[seed]`, NaN where there is none.
        threshold: the difference of means that matters.
    """

    old: Reals
    new: Reals
    threshold: float

    @property
    def large(self) -> bool:
        """Whether the means differ by more than the threshold."""
        old, new = known(self.old), known(self.new)
        return bool(len(old) and len(new) and abs(new.mean() - old.mean()) > self.threshold)


@dataclass(frozen=True)
class Sample:
    """One statistic of a layer at a step, on both sides, `[seed]` each, as `NetworkStatistics.values` has it."""

    match: Match
    key: Key
    old: Reals
    new: Reals
    threshold: float

    def averaged(self, paired: bool) -> tuple[Reals, Reals]:
        """The values that can be averaged, of pairs those of which both can; NaN for the others, `[seed]` each."""
        old, new = np.isfinite(self.old), np.isfinite(self.new)
        if paired:
            old = new = old & new
        return np.where(old, self.old, np.nan), np.where(new, self.new, np.nan)

    def columns(self, paired: bool) -> list[Column]:
        """The statistic where it can be averaged; of a norm that is 0 for some seeds, also for which."""
        values = Column(*self.averaged(paired), self.threshold)
        if not any(self.zeros):
            return [values]
        zeros = ((self.old == -np.inf).astype(np.float64), (self.new == -np.inf).astype(np.float64))
        return [values, Column(*zeros, SEED_SHARE)]

    @property
    def zeros(self) -> tuple[int, int]:
        """How many seeds have an exact 0 in a norm or loss, on both sides."""
        return int((self.old == -np.inf).sum()), int((self.new == -np.inf).sum())

    def lost_numbers(self, paired: bool) -> bool:
        """Whether there is no number now where there was one, in the statistic or in the gradient that it counts.

        An update ratio is none where weights are 0, of which `weight_norm` tells.
        """
        if self.key.statistic == "update_ratio":
            return False
        if self.key.statistic == "non_finite":
            before, now = self.old != 0, self.new != 0
        else:
            before, now = (np.isnan(side) | (side == np.inf) for side in (self.old, self.new))
        if paired:
            return bool((now & ~before).any())
        return bool(now.any() and not before.any()) or bool(now.all() and not before.all())


def samples(match: Match, thresholds: Mapping[str, float]) -> Iterator[Sample]:
    """Every statistic that both sides have of a network.

    Args:
        thresholds: statistic -> the ratio of means, or the difference of shares, that matters.
    """
    for key in match.common():
        threshold = thresholds[key.statistic]
        if is_logarithmic(key.statistic):
            threshold = math.log10(threshold)
        yield Sample(match, key, match.baseline.values[key], match.now.values[match.key_now(key) or key], threshold)
    old, new = (np.array([step is not None for step in one.diverged], float) for one in (match.baseline, match.now))
    yield Sample(match, Key(END, DIVERGED, WHOLE_NETWORK), old, new, SEED_SHARE)


def tested(columns: Sequence[Column], paired: bool) -> MaxTest:
    """One test over all columns: of paired differences, or of two independent samples.

    A single pair with the same initial weights needs none: chance has no part in what differs.
    """
    old, new = (np.stack([getattr(column, side) for column in columns], axis=1) for side in ("old", "new"))
    slack = SLACK * np.array([column.threshold for column in columns])
    if not paired:
        return permutation_test(*_filled(old, new), slack)
    if len(old) == 1:
        return MaxTest(np.zeros(len(columns)), np.full(len(columns), np.inf), np.inf, True)
    return sign_flip_test(np.nan_to_num(new - old, nan=0.0), slack)


def known(values: Reals) -> Reals:
    """The values that are numbers."""
    return values[np.isfinite(values)]


def _filled(old: Reals, new: Reals) -> tuple[Reals, Reals]:
    """Both sides with their common mean for what is no number, which then tells neither way."""
    both = np.concatenate([old, new])
    there = np.isfinite(both)
    means = np.where(there, both, 0.0).sum(0) / np.maximum(there.sum(0), 1)
    filled = np.where(there, both, means)
    return filled[: len(old)], filled[len(old) :]
