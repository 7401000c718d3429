"""Means over seeds: intervals by hand, zeros and what isn't finite counted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gradlab.analysis.estimates import geometric_means, means

ONE_GROUP = np.zeros(5, np.int64)
NONE = np.zeros(5, np.bool_)


def test_a_t_interval_by_hand():
    """1..5: mean 3, s = sqrt(2.5), t(0.975; 4) = 2.776445: half width 2.776445 sqrt(2.5 / 5) = 1.963243."""
    (mean,) = means(ONE_GROUP, 1, np.array([1.0, 2, 3, 4, 5]))
    assert mean.value == pytest.approx(3)
    assert mean.low == pytest.approx(3 - 1.963243, abs=1e-6)
    assert mean.high == pytest.approx(3 + 1.963243, abs=1e-6)
    assert (mean.count, mean.left_out) == (5, 0)


def test_a_geometric_mean_far_below_float64():
    (mean,) = geometric_means(ONE_GROUP, 1, np.array([-401.0, -402, -403, -404, -405]), NONE, NONE)
    assert mean.log10 == pytest.approx(-403)
    assert mean.log10_high - mean.log10_low == pytest.approx(2 * 1.963243, abs=1e-6)
    assert mean.value == 0.0


def test_zeros_and_infinities_are_counted():
    logs = np.array([-1.0, -3.0, np.nan, np.nan, np.nan])
    zero = np.array([False, False, True, False, False])
    broken = np.array([False, False, False, True, False])
    (mean,) = geometric_means(ONE_GROUP, 1, logs, zero, broken)
    assert (mean.count, mean.zeros, mean.not_finite) == (2, 1, 1)
    assert mean.value == pytest.approx(1e-2)


def test_nothing_but_zeros_is_zero_and_nothing_at_all_is_unknown():
    logs = np.full(5, np.nan)
    assert geometric_means(ONE_GROUP, 1, logs, ~NONE, NONE)[0].value == 0
    unknown = geometric_means(ONE_GROUP, 1, logs, NONE, NONE)[0]
    assert (unknown.value, unknown.low, unknown.count) == (None, None, 0)


def test_one_value_has_no_interval():
    (mean,) = means(np.zeros(3, np.int64), 1, np.array([2.0, np.nan, np.inf]))
    assert (mean.value, mean.low, mean.high, mean.count, mean.left_out) == (2.0, None, None, 1, 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-1e3, 1e3)), min_size=1, max_size=40))
def test_all_groups_at_once_equal_one_by_one(pairs):
    codes = np.array([code for code, _ in pairs])
    values = np.array([value for _, value in pairs])
    for group, mean in enumerate(means(codes, 4, values)):
        mine = values[codes == group]
        assert mean.count == len(mine)
        if len(mine) > 1:
            half = stats.t.ppf(0.975, len(mine) - 1) * mine.std(ddof=1) / math.sqrt(len(mine))
            assert mean.value == pytest.approx(mine.mean(), abs=1e-9)
            assert mean.high - mean.value == pytest.approx(half, rel=1e-6, abs=1e-9)


def test_intervals_cover_the_truth_95_times_in_100():
    groups, seeds = 8000, 5
    draws = np.random.default_rng(7).normal(-5.0, 0.7, groups * seeds)
    codes = np.repeat(np.arange(groups), seeds)
    nothing = np.zeros(len(draws), np.bool_)
    found = geometric_means(codes, groups, draws, nothing, nothing)
    covered = np.mean([mean.log10_low <= -5.0 <= mean.log10_high for mean in found])
    assert 0.94 < covered < 0.96
