"""The promise of the gate: where nothing has changed, alarms of any kind come no more often than its level says."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from gradlab.analysis.gate.resampling import LEVEL, permutation_test, sign_flip_test

Reals = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Reals]

SLACK = np.array([0.02, 0.0125, 0.02, 0.02, 0.02, 0.0125])


def correlated(random: np.random.Generator, count: int) -> Reals:
    """Layers that share most of what a seed does to them."""
    return 0.1 * (3 * random.normal(size=(count, 1)) + random.normal(size=(count, 6)))


def heavy_tailed(random: np.random.Generator, count: int) -> Reals:
    """Cauchy: now and then a seed is a world of its own."""
    return random.standard_cauchy((count, 6)) + random.standard_cauchy((count, 1))


def mostly_zero(random: np.random.Generator, count: int) -> Reals:
    """Shares that differ in few seeds, by few units; a statistic that never changes."""
    return random.choice([-1, 0, 0, 0, 1], (count, 6)) * [0.05, 0.05, 0.1, 1, 0, 0.2]


DRAWS = pytest.mark.parametrize("draw", [correlated, heavy_tailed, mostly_zero])


def lower_bound(alarms: int, checks: int) -> float:
    """What the rate of alarms exceeds, at a confidence of 99.9 % (Clopper & Pearson 1934)."""
    return float(stats.beta.ppf(0.001, alarms, checks - alarms + 1)) if alarms else 0.0


@DRAWS
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("count", [9, 10])
def test_of_all_arrangements_of_any_pairs_so_many_alarm(draw: Draw, seed: int, count: int) -> None:
    """No simulation: given the sizes, the signs are all that chance decides, and these are all of them."""
    pairs = draw(np.random.default_rng(seed), count)
    patterns = [np.array([1, *rest])[:, None] for rest in itertools.product((1, -1), repeat=count - 1)]
    alarms = sum(sign_flip_test(signs * pairs, SLACK).p.min() <= LEVEL for signs in patterns)
    assert alarms <= LEVEL * len(patterns)
    if draw is not mostly_zero:
        assert alarms == int(LEVEL * len(patterns)), "and no fewer, where there are no ties"


@DRAWS
def test_of_all_arrangements_of_any_two_samples_so_many_alarm(draw: Draw) -> None:
    both = draw(np.random.default_rng(0), 11)
    choices = [np.isin(np.arange(11), places) for places in itertools.combinations(range(11), 5)]
    alarms = sum(permutation_test(both[~chosen], both[chosen], SLACK).p.min() <= LEVEL for chosen in choices)
    assert alarms <= LEVEL * len(choices)
    if draw is not mostly_zero:
        assert alarms == int(LEVEL * len(choices))


@DRAWS
def test_true_changes_elsewhere_raise_no_false_alarms(draw: Draw) -> None:
    """Strong control: the alarms that count are those of the statistics that haven't changed."""
    random, checks = np.random.default_rng(1), 3000
    shift = np.array([0, 0, 0, 0, 5.0, 500.0])
    alarms = sum(sign_flip_test(draw(random, 9) + shift, SLACK).p[:4].min() <= LEVEL for _ in range(checks))
    assert lower_bound(alarms, checks) <= LEVEL


@DRAWS
def test_the_level_of_pairs_with_random_arrangements(draw: Draw) -> None:
    random, checks = np.random.default_rng(2), 200
    tests = [sign_flip_test(draw(random, 16), SLACK) for _ in range(checks)]
    assert not any(test.exact for test in tests)
    assert lower_bound(sum(test.p.min() <= LEVEL for test in tests), checks) <= LEVEL


@DRAWS
def test_the_level_of_two_samples_with_random_arrangements(draw: Draw) -> None:
    random, checks = np.random.default_rng(3), 200
    tests = [permutation_test(draw(random, 10), draw(random, 10), SLACK) for _ in range(checks)]
    assert not any(test.exact for test in tests)
    assert lower_bound(sum(test.p.min() <= LEVEL for test in tests), checks) <= LEVEL
