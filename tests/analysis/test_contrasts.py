"""Differences between settings against Student's and Welch's intervals, and against naive twins of the general case."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gradlab.analysis.contrasts import Cells, Design, Difference

MINUS_PLUS = np.array([-1.0, 1.0])


def cells_of(rows, size):
    """Cells from (cell, seed, response) of each trial."""
    cell, seed, response = zip(*rows, strict=True)
    return Cells(np.array(cell), np.array(seed), np.array(response, float), size)


def close(found, value, low, high, p):
    assert (found.value, found.low, found.high, found.p) == pytest.approx((value, low, high, p), rel=1e-7, abs=1e-10)


def shuffled_grid(table):
    """Cells of `[cell, seed]` responses, in an order that means nothing."""
    cell, seed = (axis.reshape(-1) for axis in np.indices(table.shape))
    order = np.random.default_rng(0).permutation(table.size)
    return Cells(cell[order], seed[order], table.reshape(-1)[order], len(table))


class TestIntervals:
    def test_two_cells_of_the_same_seeds_are_students_paired_interval_by_hand(self):
        """Differences 1, 2, 6: mean 3, s = sqrt(7), t(0.975; 2) = 4.302653: half width 6.572411."""
        found = cells_of([(0, 0, 1), (0, 1, 5), (0, 2, 2), (1, 0, 2), (1, 1, 7), (1, 2, 8)], 2).difference(MINUS_PLUS)
        assert found.value == pytest.approx(3)
        assert found.low == pytest.approx(3 - 6.572411, abs=1e-6)
        assert found.high == pytest.approx(3 + 6.572411, abs=1e-6)

    @pytest.mark.parametrize("seed", range(5))
    def test_two_cells_of_the_same_seeds_are_a_paired_t_test(self, seed):
        rng = np.random.default_rng(seed)
        table = rng.normal(size=(2, 5)) * [[0.1], [3.0]] + rng.normal(size=5)
        expected = stats.ttest_rel(table[1], table[0])
        ends = expected.confidence_interval(0.95)
        found = shuffled_grid(table).difference(MINUS_PLUS)
        close(found, (table[1] - table[0]).mean(), ends.low, ends.high, expected.pvalue)

    @pytest.mark.parametrize("seeds", [2, 3, 5, 60])
    def test_any_contrast_of_a_full_grid_is_a_t_interval_of_the_seeds_own_contrasts(self, seeds):
        rng = np.random.default_rng(seeds)
        table = rng.normal(size=(7, seeds)) * rng.uniform(0.1, 4, (7, 1)) + 2 * rng.normal(size=seeds)
        weights = rng.normal(size=7)
        of_seed = weights @ table
        expected = stats.ttest_1samp(of_seed, 0.0)
        ends = expected.confidence_interval(0.95)
        found = shuffled_grid(table).difference(weights)
        close(found, of_seed.mean(), ends.low, ends.high, expected.pvalue)

    def test_two_cells_of_other_seeds_by_hand(self):
        """1, 3 against 2, 4, 9: s^2 = 2 and 13; value 3, error sqrt(2/2 + 13/3) = 2.309401.

        Welch's degrees of freedom: (1 + 13/3)^2 / (1^2 / 1 + (13/3)^2 / 2) = 28.4444 / 10.3889 = 2.737968.
        """
        cells = cells_of([(0, 0, 1), (0, 1, 3), (1, 2, 2), (1, 3, 4), (1, 4, 9)], 2)
        half = stats.t.ppf(0.975, 2.737968) * 2.309401
        p = 2 * stats.t.sf(3 / 2.309401, 2.737968)
        found = cells.difference(MINUS_PLUS)
        assert (found.value, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half), abs=1e-4)
        assert found.p == pytest.approx(p, abs=1e-6)

    @pytest.mark.parametrize(("here", "there"), [(2, 2), (5, 5), (3, 8), (40, 30)])
    def test_two_cells_of_other_seeds_are_welchs_test(self, here, there):
        rng = np.random.default_rng(here)
        one, other = rng.normal(0, 0.5, here), rng.normal(1, 2, there)
        cells = Cells(np.repeat([0, 1], [here, there]), np.arange(here + there), np.concatenate([one, other]), 2)
        expected = stats.ttest_ind(other, one, equal_var=False)
        ends = expected.confidence_interval(0.95)
        close(cells.difference(MINUS_PLUS), other.mean() - one.mean(), ends.low, ends.high, expected.pvalue)

    def test_moving_and_stretching_the_response(self):
        rng = np.random.default_rng(3)
        cells = shuffled_grid(rng.normal(size=(3, 4)))
        plain = cells.difference(np.array([-1.0, 0.0, 1.0]))
        moved = Cells(cells.cell, cells.seed, -2 * cells.response + 7, 3).difference(np.array([-1.0, 0.0, 1.0]))
        close(moved, -2 * plain.value, -2 * plain.high, -2 * plain.low, plain.p)

    def test_what_all_seeds_agree_on_is_certain(self):
        """Seeds that all differ by 0.5 leave nothing to chance."""
        table = np.array([[0.25, 1.0, 4.0], [0.75, 1.5, 4.5]])
        assert shuffled_grid(table).difference(MINUS_PLUS) == Difference(0.5, 0.5, 0.5, 0.0)
        assert shuffled_grid(table[[0, 0]]).difference(MINUS_PLUS) == Difference(0.0, 0.0, 0.0, 1.0)

    def test_rounding_is_no_difference(self):
        third = np.array([[0.1 + 0.2] * 3, [0.3] * 3])
        assert shuffled_grid(third).difference(MINUS_PLUS) == Difference(0.0, 0.0, 0.0, 1.0)


class TestSingleTrials:
    def test_cells_of_one_trial_alone_have_no_interval(self):
        assert cells_of([(0, 0, 1.0), (1, 0, 3.0)], 2).difference(MINUS_PLUS) == Difference(2.0)

    def test_a_single_trial_has_the_mean_variance_of_the_others(self):
        """Cells 1, 3 (s^2 = 2) and 0, 2, 4 (s^2 = 4): pooled (1 x 2 + 2 x 4) / 3 = 10/3 for the single 10.

        Against the first cell: value 10 - 2 = 8, variance 2/2 + 10/3 = 13/3; one degree of freedom, the first cell's.
        """
        cells = cells_of([(0, 0, 1), (0, 1, 3), (1, 2, 0), (1, 3, 2), (1, 4, 4), (2, 5, 10)], 3)
        found = cells.difference(np.array([-1.0, 0.0, 1.0]))
        half = 12.706205 * np.sqrt(13 / 3)
        assert (found.value, found.low, found.high) == pytest.approx((8, 8 - half, 8 + half), abs=1e-5)

    def test_nothing_is_known_of_single_trials_by_cells_without_weight(self):
        cells = cells_of([(0, 0, 1), (1, 1, 4), (2, 2, 0), (2, 3, 9)], 3)
        assert cells.difference(np.array([-1.0, 1.0, 0.0])) == Difference(3.0)


def naive(cell, seed, response, weights):
    """The contrast, its cluster-robust variance and Satterthwaite's degrees of freedom, from matrices over trials.

    Row s of `to_seeds` takes the responses to the sum of seed s's residuals, each made unbiased for its own cell and
    weighted as in the contrast. The sums' squares add up to the variance; were trials independent, each with its cell's
    variance, the sums would have the covariance C and their squares the degrees of freedom (tr C)^2 / tr C^2.
    """
    same = (cell[:, None] == cell).astype(float)
    count = same.sum(axis=1)
    residuals = np.eye(len(cell)) - same / count
    variance = np.array([response[cell == c].var(ddof=1) if (cell == c).sum() > 1 else 0.0 for c in cell])
    unbiased = np.where(count > 1, np.sqrt(count / np.maximum(count - 1, 1)), 0.0)
    of_seed = (np.unique(seed)[:, None] == seed).astype(float)
    to_seeds = of_seed @ np.diag(weights[cell] / count * unbiased) @ residuals
    square_error = float(((to_seeds @ response) ** 2).sum())
    single = count == 1
    if single.any():
        many = [response[cell == c] for c in np.unique(cell[~single])]
        pooled = sum(((m - m.mean()) ** 2).sum() for m in many) / sum(len(m) - 1 for m in many)
        square_error += pooled * float((weights[cell[single]] ** 2).sum())
    covariance = to_seeds @ np.diag(variance) @ to_seeds.T
    return float(weights[cell] / count @ response), square_error, np.trace(covariance) ** 2 / (covariance**2).sum()


def unbalanced(rng, sizes, seeds):
    """Cells of random trials: each of `sizes` trials, its seeds any of `seeds`, deviations and shared parts unequal."""
    cell = np.repeat(np.arange(len(sizes)), sizes)
    seed = np.concatenate([rng.choice(seeds, size, replace=False) for size in sizes])
    response = rng.uniform(0.1, 3, len(sizes))[cell] * rng.normal(size=len(cell)) + rng.normal(size=seeds)[seed]
    return cell, np.unique(seed, return_inverse=True)[1], response


def equals_the_naive_twin(cell, seed, response, weights):
    value, square_error, freedom = naive(cell, seed, response, weights)
    error = np.sqrt(square_error)
    half = stats.t.ppf(0.975, freedom) * error
    p = 2 * stats.t.sf(abs(value) / error, freedom)
    close(Cells(cell, seed, response, len(weights)).difference(weights), value, value - half, value + half, p)


class TestNaiveTwin:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 6), min_size=2, max_size=8), st.integers(6, 12), st.integers(0, 2**32 - 1))
    def test_any_design_of_few_seeds(self, sizes, seeds, state):
        rng = np.random.default_rng(state)
        equals_the_naive_twin(*unbalanced(rng, [2, *sizes], seeds), rng.normal(size=len(sizes) + 1))

    @pytest.mark.parametrize("cells", [4, 90])
    @pytest.mark.parametrize("seeds", [51, 75])
    def test_any_design_of_many_seeds(self, seeds, cells):
        """More seeds than are held in a full matrix; fewer cells than seeds and more."""
        rng = np.random.default_rng(seeds + cells)
        sizes = [seeds, *rng.integers(1, 9, cells - 1)]
        equals_the_naive_twin(*unbalanced(rng, sizes, seeds), rng.normal(size=cells))

    def test_several_trials_of_a_seed_in_one_cell(self):
        rng = np.random.default_rng(8)
        cell, seed = np.repeat([0, 1], [9, 6]), np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 1, 2, 4, 4])
        equals_the_naive_twin(cell, seed, rng.normal(size=15), MINUS_PLUS)


def indicators(levels, sizes):
    """An intercept and a column for every level, none left out."""
    columns = [levels[:, f] == level for f, size in enumerate(sizes) for level in range(size)]
    return np.stack([np.ones(len(levels)), *columns], axis=1).astype(float)


def place(sizes, factor, level):
    return 1 + sum(sizes[:factor]) + level


def naive_difference(levels, sizes, means, factor, level, reference):
    """Two levels' difference in the additive least-squares fit of the cells' means; None if the fit doesn't tell."""
    matrix = indicators(levels, sizes)
    contrast = np.zeros(matrix.shape[1])
    contrast[place(sizes, factor, level)] += 1
    contrast[place(sizes, factor, reference)] -= 1
    if np.linalg.matrix_rank(np.vstack([matrix, contrast])) > np.linalg.matrix_rank(matrix):
        return None
    return float(contrast @ np.linalg.lstsq(matrix, means, rcond=None)[0])


def grid(sizes):
    return np.array(list(itertools.product(*map(range, sizes))))


class TestDesign:
    def test_a_full_grid_compares_plain_marginal_means(self):
        sizes = (2, 3, 4)
        levels = grid(sizes)
        design = Design.of(levels, sizes)
        for factor, size in enumerate(sizes):
            for level, reference in itertools.product(range(size), range(size)):
                marginal = (levels[:, factor] == level) * 1.0 - (levels[:, factor] == reference)
                expected = marginal * size / len(levels)
                assert design.weights(factor, level, reference) == pytest.approx(expected, abs=1e-12)

    def test_an_incomplete_grid_by_hand(self):
        """a1 b1 = 0, a2 b1 = 1, a1 b2 = 10, and no a2 b2: the plain marginal means would say -4, the fit says 1."""
        design = Design.of(np.array([[0, 0], [1, 0], [0, 1]]), (2, 2))
        assert design.weights(0, 1, 0) @ [0.0, 1.0, 10.0] == pytest.approx(1)
        assert design.weights(1, 1, 0) @ [0.0, 1.0, 10.0] == pytest.approx(10)

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.integers(2, 4), min_size=1, max_size=4), st.floats(0.1, 1.0), st.integers(0, 2**32 - 1))
    def test_any_incomplete_grid_is_least_squares_with_indicators(self, sizes, kept, state):
        rng = np.random.default_rng(state)
        levels = grid(sizes)
        levels = levels[np.sort(rng.permutation(len(levels))[: max(2, round(kept * len(levels)))])]
        means = rng.normal(size=len(levels))
        design = Design.of(levels, sizes)
        for factor, size in enumerate(sizes):
            for level in range(1, size):
                expected = naive_difference(levels, sizes, means, factor, level, 0)
                weights = design.weights(factor, level, 0)
                assert (weights is None) == (expected is None)
                if weights is not None:
                    assert weights @ means == pytest.approx(expected, abs=1e-8)

    def test_factors_that_always_change_together_cannot_be_told_apart(self):
        design = Design.of(np.array([[0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]]), (2, 2, 2))
        assert design.weights(0, 1, 0) is None
        assert design.weights(1, 1, 0) is None
        assert design.weights(2, 1, 0) == pytest.approx([-0.5, -0.5, 0.5, 0.5])

    def test_islands_without_a_bridge_cannot_be_compared(self):
        """Levels 0 and 1 were only run with a, 2 and 3 only with b: within an island yes, across it no."""
        levels = np.array([[0, 0], [1, 0], [2, 1], [3, 1]])
        design = Design.of(levels, (4, 2))
        assert design.weights(0, 1, 0) == pytest.approx([-1, 1, 0, 0])
        assert design.weights(0, 3, 2) == pytest.approx([0, 0, -1, 1])
        assert design.weights(0, 2, 0) is None
        assert design.weights(1, 1, 0) is None


class TestCrossed:
    def test_in_a_full_grid_a_product_is_the_difference_of_differences(self):
        """The other factor's levels are averaged; every two-by-two block counts from both first levels."""
        sizes = (3, 2, 2)
        levels = grid(sizes)
        design = Design.of(levels, sizes).crossed(0, 1)
        means = np.random.default_rng(1).normal(size=len(levels))
        table = means.reshape(sizes).mean(axis=2)
        assert set(design.products) == {(1, 1), (2, 1)}
        for (one, other), column in design.products.items():
            expected = table[one, other] - table[0, other] - table[one, 0] + table[0, 0]
            assert design.solve(column) @ means == pytest.approx(expected)
            assert design.weights(0, one, 0) @ means == pytest.approx(table[one, 0] - table[0, 0])

    @pytest.mark.parametrize("state", range(20))
    def test_in_an_incomplete_grid_it_is_the_coefficient_of_a_regression(self, state):
        """Two factors saturated, so that every present pair has a mean of its own, a third held equal."""
        rng = np.random.default_rng(state)
        sizes = (3, 3, 3)
        levels = grid(sizes)[np.sort(rng.permutation(27)[:16])]
        means = rng.normal(size=len(levels))
        design = Design.of(levels, sizes).crossed(0, 1)
        pairs = [tuple(pair) for pair in np.unique(levels[:, :2], axis=0)]
        own = np.stack([(levels[:, :2] == pair).all(axis=1) for pair in pairs], axis=1)
        third = np.stack([levels[:, 2] == level for level in range(3)], axis=1)
        matrix = np.concatenate([own, third], axis=1).astype(float)
        for (one, other), column in design.products.items():
            corners = [(one, other), (0, other), (one, 0), (0, 0)]
            weights = design.solve(column)
            if not set(corners) <= set(pairs):
                continue
            contrast = np.zeros(matrix.shape[1])
            for corner, sign in zip(corners, (1, -1, -1, 1), strict=True):
                contrast[pairs.index(corner)] = sign
            told = np.linalg.matrix_rank(np.vstack([matrix, contrast])) == np.linalg.matrix_rank(matrix)
            assert (weights is not None) == told
            if told:
                expected = contrast @ np.linalg.lstsq(matrix, means, rcond=None)[0]
                assert weights @ means == pytest.approx(expected, abs=1e-8)

    def test_pairs_that_never_met_have_no_product(self):
        design = Design.of(np.array([[0, 0], [1, 0], [0, 1]]), (2, 2)).crossed(0, 1)
        assert not design.products
