"""The interval of a change against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from gradlab.analysis.gate.spread import interval

RANDOM = np.random.default_rng(0)
OLD = RANDOM.normal(size=10)
NEW = OLD + 0.4 + 0.05 * RANDOM.normal(size=10)
FEWER = 3 * RANDOM.normal(size=7)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_paired(count: int) -> None:
    right = stats.ttest_rel(NEW[:count], OLD[:count]).confidence_interval(0.95)
    assert_allclose(interval(OLD[:count], NEW[:count], paired=True), right)


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (OLD, FEWER), (FEWER, OLD[:2])])
def test_welch(old: np.ndarray, new: np.ndarray) -> None:
    right = stats.ttest_ind(new, old, equal_var=False).confidence_interval(0.95)
    assert_allclose(interval(old, new, paired=False), right)


def test_pairs_are_whole_or_left_out() -> None:
    """A 0 (its logarithm), an infinite loss, a NaN on either side."""
    old, new = OLD.copy(), NEW.copy()
    old[1], new[2], new[5] = -np.inf, np.inf, np.nan
    keep = [0, 3, 4, 6, 7, 8, 9]
    assert_allclose(interval(old, new, paired=True), interval(OLD[keep], NEW[keep], paired=True))


def test_of_two_samples_each_keeps_its_numbers() -> None:
    old, new = OLD.copy(), NEW.copy()
    old[1], new[2] = -np.inf, np.nan
    right = interval(np.delete(OLD, 1), np.delete(NEW, 2), paired=False)
    assert_allclose(interval(old, new, paired=False), right)


@pytest.mark.parametrize("paired", [True, False])
def test_no_spread_no_width(paired: bool) -> None:
    assert_allclose(interval(np.zeros(5), np.ones(5), paired), (1, 1))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("numbers", [0, 1])
def test_too_few_numbers_for_an_interval(paired: bool, numbers: int) -> None:
    few = np.where(np.arange(10) < numbers, OLD, -np.inf)
    assert interval(few, NEW, paired) == (None, None)
    assert interval(NEW, few, paired) == (None, None)


def test_the_interval_covers_the_true_change_in_95_of_100_cases() -> None:
    random, checks = np.random.default_rng(1), 2000
    pairs = random.normal(size=(checks, 2, 8)) + np.array([[0], [0.3]])
    for paired in (True, False):
        found = np.array([interval(old, new, paired) for old, new in pairs])
        hits = int(((found[:, 0] < 0.3) & (found[:, 1] > 0.3)).sum())
        assert stats.binomtest(hits, checks, 0.95).pvalue > 1e-3
