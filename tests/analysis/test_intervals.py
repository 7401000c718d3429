"""Intervals of differences against naive twins, and how often they hold the truth."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.compare.coverage import CASES, GRID, HOLES
from gradlab.analysis.contrasts import Cells, Design


@pytest.mark.parametrize("name", CASES)
def test_95_percent_intervals_at_five_seeds_hold_the_truth_in_93_to_97_percent(name):
    assert 0.93 <= CASES[name](4_000, np.random.default_rng(7)) <= 0.97


def full(values):
    """Every seed in every cell; `[cell, seed]` values."""
    cells, seeds = values.shape
    return Cells(np.repeat(np.arange(cells), seeds), np.tile(np.arange(seeds), cells), values.ravel(), cells)


def test_every_seed_in_every_cell_is_the_t_interval_of_differences_seed_by_seed():
    values = np.random.default_rng(0).normal(size=(12, 5))
    for weights in (Design.of(GRID, (3, 4)).weights(1, 2, 0), np.random.default_rng(1).normal(size=12)):
        found = full(values).difference(weights)
        by_seed = stats.ttest_1samp(weights @ values, 0.0)
        low, high = by_seed.confidence_interval(0.95)
        assert (found.value, found.low, found.high) == pytest.approx(((weights @ values).mean(), low, high))
        assert found.p == pytest.approx(by_seed.pvalue)


def test_seeds_of_their_own_in_two_cells_is_welch():
    one, other = np.random.default_rng(0).normal(size=5), 3 * np.random.default_rng(1).normal(size=8)
    cells = Cells(np.repeat([0, 1], [5, 8]), np.arange(13), np.concatenate([one, other]), 2)
    found, welch = cells.difference(np.array([-1.0, 1.0])), stats.ttest_ind(other, one, equal_var=False)
    low, high = welch.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((low, high, welch.pvalue))


def naive(cell, seed, response, weights):
    """The interval by loops and full matrices, from the definitions."""
    groups = [np.flatnonzero(cell == c) for c in range(len(weights))]
    value = sum(w * response[rows].mean() for w, rows in zip(weights, groups, strict=True))
    seeds = np.unique(seed)
    # Each seed's sum is a linear form of the trials; the variance estimate is the sum of their squares.
    forms = np.zeros((len(seeds), len(cell)))
    covariance = np.zeros(len(cell))
    for w, rows in zip(weights, groups, strict=True):
        n = len(rows)
        center = np.eye(n) - 1 / n
        for place, row in enumerate(rows):
            forms[np.searchsorted(seeds, seed[row])][rows] += w / n * np.sqrt(n / (n - 1)) * center[place]
        covariance[rows] = response[rows].var(ddof=1)
    variance = float(np.square(forms @ response).sum())
    a = forms @ np.diag(covariance) @ forms.T
    freedom = np.trace(a) ** 2 / np.trace(a @ a)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    return value, value - half, value + half


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(3, 90))
def test_any_seeds_in_any_cells_against_the_naive_twin(start, size, seeds):
    random = np.random.default_rng(start)
    chosen = [random.choice(seeds, random.integers(2, min(seeds, 9) + 1), replace=False) for _ in range(size)]
    cell = np.repeat(np.arange(size), [len(some) for some in chosen])
    seed = np.unique(np.concatenate(chosen), return_inverse=True)[1]
    response, weights = random.normal(size=len(cell)), random.normal(size=size)
    found = Cells(cell, seed, response, size).difference(weights)
    assert (found.value, found.low, found.high) == pytest.approx(naive(cell, seed, response, weights), rel=1e-8)


def test_a_single_trial_takes_the_others_variance():
    values = np.array([1.0, 2.0, 3.0, 10.0])
    found = Cells(np.array([0, 0, 0, 1]), np.arange(4), values, 2).difference(np.array([-1.0, 1.0]))
    half = stats.t.ppf(0.975, 2) * np.sqrt(1 / 3 + 1)
    assert (found.value, found.low, found.high) == pytest.approx((8, 8 - half, 8 + half))
    alone = Cells(np.array([0, 1]), np.zeros(2, int), np.array([1.0, 2.0]), 2).difference(np.array([-1.0, 1.0]))
    assert (alone.value, alone.low, alone.p) == (1.0, None, None)


def test_rounding_is_no_difference():
    values = np.full((2, 5), 0.1) + np.random.default_rng(0).normal(size=(2, 5)) * 1e-17
    found = full(values).difference(np.array([-1.0, 1.0]))
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_in_a_full_grid_a_difference_is_that_of_plain_means():
    means = np.random.default_rng(0).normal(size=12)
    design = Design.of(GRID, (3, 4))
    for factor, level in ((0, 1), (0, 2), (1, 3)):
        plain = means[GRID[:, factor] == level].mean() - means[GRID[:, factor] == 0].mean()
        assert design.weights(factor, level, 0) @ means == pytest.approx(plain)


@pytest.mark.parametrize("extra", [0, 5])
def test_in_a_grid_with_holes_it_is_the_coefficient_of_a_regression(extra):
    grid = np.concatenate([HOLES, HOLES[:extra]])
    means = np.random.default_rng(0).normal(size=len(grid))
    dummies = [np.ones(len(grid))]
    dummies += [grid[:, f] == level for f, size in ((0, 3), (1, 4)) for level in range(1, size)]
    coefficients = np.linalg.lstsq(np.stack(dummies, axis=1).astype(float), means, rcond=None)[0]
    design = Design.of(grid, (3, 4))
    found = [design.weights(f, level, 0) @ means for f, size in ((0, 3), (1, 4)) for level in range(1, size)]
    assert found == pytest.approx(coefficients[1:].tolist())


def test_what_always_comes_together_cannot_be_told_apart():
    grid = np.array([[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]])
    design = Design.of(grid, (2, 2, 2))
    assert design.weights(0, 1, 0) is None
    assert design.weights(1, 1, 0) is None
    assert design.weights(2, 1, 0) == pytest.approx([-0.5, 0.5, -0.5, 0.5])


def test_an_interaction_is_a_difference_of_differences():
    means = np.random.default_rng(0).normal(size=4)
    grid = np.array(list(itertools.product(range(2), range(2))))
    crossed = Design.of(grid, (2, 2)).crossed(0, 1)
    (column,) = crossed.products.values()
    assert crossed.solve(column) @ means == pytest.approx(means[3] - means[2] - means[1] + means[0])
