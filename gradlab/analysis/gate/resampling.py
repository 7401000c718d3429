"""Which of many correlated changes are more than chance: max-statistic resampling tests (Westfall & Young 1993).

All statistics are rearranged together, seed by seed, so that their correlation is kept, and each is set against the
largest statistic of each arrangement: the chance that any of them is called a change, where nothing has changed, is the
level of the test, exactly where all arrangements are tried. Step-down, as there, so that one huge change doesn't hide
others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

LEVEL = 0.005
"""The family-wise error: the chance of any false alarm in a check, half of the one in a hundred that is promised."""

MAX_ARRANGEMENTS = 10_000
"""All arrangements are tried up to so many; beyond, so many random ones (the one observed among them)."""

_CHUNK = 512
"""Arrangements that are held in memory together."""

_ROUNDING = 1e-9
"""Difference below which two statistics are equal: the same sum in another order."""

_CANCELLED = 1e-6
"""Share of a sum of squares below which what is left of it after a subtraction is rounding."""


@dataclass(frozen=True)
class MaxTest:
    """The outcome of a test of many statistics at once.

    Attributes:
        p: `[statistic]`, family-wise adjusted.
        observed: `[statistic]`, what was compared: the mean change over its standard error.
        critical: what the largest statistic must reach to be significant.
        exact: whether all arrangements were tried.
    """

    p: Reals
    observed: Reals
    critical: float
    exact: bool


def sign_flip_test(differences: Reals, slack: Reals) -> MaxTest:
    """Whether paired differences have a mean other than 0.

    Where nothing has changed, a pair's two members could as well have come the other way round.

    Args:
        differences: `[seed, statistic]`.
        slack: `[statistic]`, a deviation below which differences between seeds count as none. It keeps statistics
            that hardly vary from drowning the others (Tusher, Tibshirani & Chu 2001, "fudge factor").
    """
    count = len(differences)
    squares = np.square(differences).mean(0)

    def statistic(signs: Reals) -> Reals:
        means = signs @ differences / count
        spread = squares - np.square(means)
        variance = np.where(spread > _CANCELLED * squares, spread, 0) * count / max(count - 1, 1)
        tested: Reals = np.abs(means) / np.sqrt((variance + np.square(slack)) / count)
        return tested

    exact = 2 ** (count - 1) <= MAX_ARRANGEMENTS
    return _max_test(statistic, _sign_patterns(count, exact), exact)


def permutation_test(baseline: Reals, now: Reals, slack: Reals) -> MaxTest:
    """Whether two independent samples have different means.

    Where nothing has changed, the seeds could as well have stood on the other side.

    Args:
        baseline: `[seed, statistic]`.
        now: `[seed, statistic]`, other seeds, perhaps another number of them.
        slack: as in `sign_flip_test`.
    """
    both = np.concatenate([baseline, now])
    both = both - both.mean(0)
    count, size = len(both), len(now)
    squares = np.square(both)
    total = squares.sum(0)

    def statistic(chosen: Reals) -> Reals:
        sums = chosen @ both
        means = sums / size + sums / (count - size)
        within = total - np.square(sums) / size - np.square(sums) / (count - size)
        variance = np.where(within > _CANCELLED * total, within, 0) / max(count - 2, 1)
        tested: Reals = np.abs(means) / np.sqrt((variance + np.square(slack)) * (1 / size + 1 / (count - size)))
        return tested

    exact = math.comb(count, size) <= MAX_ARRANGEMENTS
    return _max_test(statistic, _choices(count, size, exact), exact)


def _max_test(statistic: Callable[[Reals], Reals], arrangements: Reals, exact: bool) -> MaxTest:
    """The step-down test over the arrangements, the first of which is the one observed."""
    observed = statistic(arrangements[:1])[0]
    order = np.argsort(-observed, kind="stable")
    sorted_observed = observed[order] * (1 - _ROUNDING) - _ROUNDING
    beaten = np.zeros(len(observed))
    largest = []
    for start in range(0, len(arrangements), _CHUNK):
        found = statistic(arrangements[start : start + _CHUNK])[:, order]
        # Each statistic competes with the largest of those that are no larger than itself.
        rivals = np.maximum.accumulate(found[:, ::-1], axis=1)[:, ::-1]
        beaten += (rivals >= sorted_observed).sum(0)
        largest.append(rivals[:, 0])
    p = np.empty(len(observed))
    p[order] = np.maximum.accumulate(beaten / len(arrangements))
    critical = float(np.quantile(np.concatenate(largest), 1 - LEVEL, method="higher"))
    return MaxTest(p, observed, critical, exact)


def _sign_patterns(count: int, exact: bool) -> Reals:
    """Patterns of +1 and -1, `[pattern, seed]`, the first all +1; of two opposite ones, which test alike, one."""
    if exact:
        tails = np.array(list(itertools.product((1.0, -1.0), repeat=count - 1))).reshape(2 ** (count - 1), count - 1)
        return np.concatenate([np.ones((len(tails), 1)), tails], axis=1)
    patterns = np.random.default_rng(0).choice([-1.0, 1.0], (MAX_ARRANGEMENTS, count))
    patterns[0] = 1.0
    return patterns


def _choices(count: int, size: int, exact: bool) -> Reals:
    """Choices of `size` among `count`, as 0 and 1 `[choice, place]`, the first being the last `size` places."""
    if exact:
        chosen: Iterator[tuple[int, ...]] = itertools.combinations(reversed(range(count)), size)
        choices = np.zeros((math.comb(count, size), count))
        for row, places in enumerate(chosen):
            choices[row, list(places)] = 1.0
        return choices
    keys = np.random.default_rng(0).random((MAX_ARRANGEMENTS, count))
    keys[0] = np.arange(count)
    return (keys.argsort(1).argsort(1) >= count - size).astype(np.float64)
