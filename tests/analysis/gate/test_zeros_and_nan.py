"""Norms that are exactly 0 and what is no number: for all seeds or for some, before or now."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION, SAME
from gradlab.analysis.gate.judge import judge
from gradlab.store.measurement import FIRST, Key
from tests.analysis.gate.measurements import SEEDS, THRESHOLDS, Edit, edited, measurement, network, only
from tests.analysis.gate.test_judge import NORM, SMALLEST_P, ZERO, after, norm

ALL_NAN = only(SEEDS, math.nan)


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (ZERO, ZERO, SAME),
        (ZERO, None, REGRESSION),
        (None, ZERO, REGRESSION),
        (ZERO, only(9, -math.inf), INCONCLUSIVE),
        (None, only(1, -math.inf), INCONCLUSIVE),
        (None, only(9, -math.inf), REGRESSION),
        (only(5, -math.inf), only(5, -math.inf), SAME),
    ],
)
def test_zeros(before: Edit | None, now: Edit | None, verdict: str) -> None:
    """0 is as good as 0, and different from everything else; whether that is chance, the seeds must tell."""
    assert norm(after(now or (lambda logs: logs), before)).verdict == verdict


def test_to_zero_and_from_zero_are_infinitely_far() -> None:
    there, back = norm(after(ZERO)), norm(after(lambda logs: logs, ZERO))
    assert (there.shift, back.shift) == (-math.inf, math.inf)
    assert there.severity == back.severity == math.inf
    assert (there.zeros, back.zeros) == ((0, SEEDS), (SEEDS, 0))
    assert there.p == back.p == SMALLEST_P
    assert (there.low, there.high) == (None, None)


def test_a_seed_that_becomes_0_leaves_the_ratio_of_the_others_alone() -> None:
    """Pairs: the means are those of the seeds that are numbers on both sides."""
    many = edited(measurement(network(seeds=30)), only(1, 6.0), [NORM], [2], [FIRST])
    verdict = judge(many, edited(many, only(1, -math.inf), [NORM], [2], [FIRST]), THRESHOLDS)
    assert verdict.verdict == SAME
    assert all(abs(change.shift) < 1e-12 for change in verdict.changes)


def test_a_seed_that_becomes_0_hides_no_change_of_the_others() -> None:
    """The one that is lost was as much above the others as they are now."""
    first = np.arange(10) == 0
    change = norm(after(lambda _: np.where(first, -math.inf, 0.15), lambda _: np.where(first, 1.5, 0.0)))
    assert change.verdict == REGRESSION
    assert math.isclose(change.shift, 0.15)
    assert math.isclose(change.low or 0, 0.15)


def test_numbers_that_are_lost_in_all_seeds_are_lost_though_one_was_none_before() -> None:
    """Of two samples."""
    base = edited(measurement(), only(1, math.nan), [NORM], [2], [FIRST])
    other = replace(measurement(), seeds=tuple(range(50, 60)))
    verdict = judge(base, edited(other, only(10, math.nan), [NORM], [2], [FIRST]), THRESHOLDS)
    assert not verdict.paired
    assert verdict.verdict == REGRESSION


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("seeds", [1, SEEDS])
def test_what_is_no_number_any_more_is_a_regression_without_a_test(number: float, seeds: int) -> None:
    change = norm(after(only(seeds, number)))
    assert (change.verdict, change.reason, change.p) == (REGRESSION, "not a number", None)
    assert change.severity == math.inf


def test_what_was_no_number_may_stay_so_or_become_one() -> None:
    assert norm(after(ALL_NAN, ALL_NAN)).verdict == SAME
    assert norm(after(only(3, math.nan), only(3, math.nan))).verdict == SAME
    assert norm(after(lambda logs: logs, ALL_NAN)).verdict == SAME


def test_seeds_without_a_number_count_as_unchanged_beside_the_others() -> None:
    lost = only(1, math.nan)
    change = norm(after(lambda logs: lost(logs + 0.2), lost))
    assert change.verdict == REGRESSION
    assert change.shift == pytest.approx(0.2)
    assert change.p == 2 * SMALLEST_P, "one pair may be flipped at will"


def test_another_seed_s_nan_is_a_new_one() -> None:
    change = norm(after(lambda logs: only(1, math.nan)(logs[::-1])[::-1], only(1, math.nan)))
    assert (change.verdict, change.reason) == (REGRESSION, "not a number")


def test_a_gradient_entry_that_is_no_number_is_one_too_many() -> None:
    """However small a share of the entries it is."""
    clean = edited(measurement(), only(SEEDS, 0.0), ["non_finite"])
    verdict = judge(clean, edited(clean, only(1, 1e-6), ["non_finite"], [2], [FIRST]), THRESHOLDS)
    (change,) = verdict.of(REGRESSION)
    assert (change.key, change.reason) == (Key(FIRST, "non_finite", 2), "not a number")
