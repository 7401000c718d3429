"""The max-statistic tests against a naive twin, closed forms and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import stats

from gradlab.analysis.gate.resampling import LEVEL, MAX_ARRANGEMENTS, permutation_test, sign_flip_test
from gradlab.config.schema import MIN_CHECK_SEEDS
from tests.analysis.gate.naive import permutation_p, sign_flip_p

Reals = NDArray[np.float64]

quarters = st.integers(-12, 12).map(lambda count: count / 4)


@st.composite
def columns(draw: st.DrawFn, count: int) -> list[float]:
    """A statistic over `count` seeds: scattered, tied, constant, zero but for one seed."""
    kind = draw(st.sampled_from(["scattered", "tied", "constant", "one"]))
    if kind == "scattered":
        return draw(st.lists(quarters, min_size=count, max_size=count))
    if kind == "tied":
        return draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=count, max_size=count))
    if kind == "constant":
        return [draw(quarters)] * count
    place = draw(st.integers(0, count - 1))
    return [draw(quarters) if seed == place else 0.0 for seed in range(count)]


@st.composite
def tables(draw: st.DrawFn, counts: st.SearchStrategy[int]) -> tuple[Reals, Reals]:
    """Statistics `[seed, statistic]`, some of them multiples of the first plus little, and their slack."""
    count, statistics = draw(counts), draw(st.integers(1, 4))
    table = np.array([draw(columns(count)) for _ in range(statistics)]).T
    for column in range(1, statistics):
        if draw(st.booleans()):
            table[:, column] = draw(st.sampled_from([1, -1, 2])) * table[:, 0] + table[:, column] / 2
    slack = draw(st.lists(st.sampled_from([0.25, 0.5, 2.0]), min_size=statistics, max_size=statistics))
    return table, np.array(slack)


def normal(shape: tuple[int, int], seed: int = 0) -> Reals:
    return np.random.default_rng(seed).normal(size=shape)


@settings(max_examples=150, deadline=None)
@given(tables(st.integers(2, 6)))
def test_sign_flips_are_those_of_the_naive_twin(case: tuple[Reals, Reals]) -> None:
    differences, slack = case
    found = sign_flip_test(differences, slack)
    assert found.exact
    assert_allclose(found.p, [float(p) for p in sign_flip_p(differences.tolist(), slack.tolist())], rtol=1e-12)


@settings(max_examples=150, deadline=None)
@given(tables(st.integers(2, 7)), st.data())
def test_permutations_are_those_of_the_naive_twin(case: tuple[Reals, Reals], data: st.DataObject) -> None:
    both, slack = case
    size = data.draw(st.integers(1, len(both) - 1))
    old, new = both[:size], both[size:]
    found = permutation_test(old, new, slack)
    assert found.exact
    twin = permutation_p(old.tolist(), new.tolist(), slack.tolist())
    assert_allclose(found.p, [float(p) for p in twin], rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_unrounded_numbers_make_no_difference_to_the_twins(seed: int) -> None:
    table, slack = normal((7, 3), seed) * [1e-4, 1, 300] + [0, 0.5, 0], np.array([0.02, 0.02, 0.01])
    twin = sign_flip_p(table.tolist(), slack.tolist())
    assert_allclose(sign_flip_test(table, slack).p, [float(p) for p in twin], rtol=1e-12)
    twin = permutation_p(table[:3].tolist(), table[3:].tolist(), slack.tolist())
    assert_allclose(permutation_test(table[:3], table[3:], slack).p, [float(p) for p in twin], rtol=1e-12)


def test_the_statistic_is_student_s_t_where_there_is_no_slack() -> None:
    old, new, none = normal((9, 4), 1), normal((7, 4), 2) + 0.5, np.zeros(4)
    gap = new - old[:7]
    assert_allclose(sign_flip_test(gap, none).observed, abs(stats.ttest_1samp(gap, 0).statistic))
    assert_allclose(permutation_test(old, new, none).observed, abs(stats.ttest_ind(old, new).statistic))


@pytest.mark.parametrize("count", range(2, 15))
def test_the_smallest_p_of_pairs(count: int) -> None:
    shifts = 1 + 0.1 * normal((count, 3))
    found = sign_flip_test(shifts, np.full(3, 0.02))
    assert found.exact
    assert_allclose(found.p, 2 / 2**count)
    assert (found.p[0] <= LEVEL) == (count >= MIN_CHECK_SEEDS)


@pytest.mark.parametrize("count", range(1, 8))
def test_the_smallest_p_of_two_samples(count: int) -> None:
    found = permutation_test(normal((count, 3), 1), normal((count, 3), 2) + 100, np.full(3, 0.02))
    assert found.exact
    assert_allclose(found.p, 2 / stats.binom.pmf(count, 2 * count, 0.5) / 4**count)


def test_one_of_two_samples_may_be_larger() -> None:
    found = permutation_test(normal((4, 2), 1), normal((6, 2), 2) + 100, np.full(2, 0.02))
    assert_allclose(found.p, 1 / 210)


@pytest.mark.parametrize(("count", "flipped"), [(10, 1), (10, 4), (30, 9), (40, 12)])
def test_equal_sizes_follow_the_binomial(count: int, flipped: int) -> None:
    """Differences of size 1: as many signs the other way, or more, on either side."""
    differences = np.ones((count, 1))
    differences[:flipped] = -1
    found = sign_flip_test(differences, np.array([0.1]))
    right = 2 * stats.binom.cdf(flipped, count, 0.5)
    assert_near(float(found.p[0]), right, found.exact)


@pytest.mark.parametrize(("old", "new", "size"), [(1, 4, 6), (0, 3, 6), (3, 9, 10), (2, 6, 12)])
def test_zeros_and_ones_follow_the_hypergeometric(old: int, new: int, size: int) -> None:
    """So many seeds of each side have an exact 0: shares that differ at least as much (Fisher's exact test)."""
    before, now = np.zeros((size, 1)), np.zeros((size, 1))
    before[:old], now[:new] = 1, 1
    found = permutation_test(before, now, np.array([0.01]))
    counts = np.arange(old + new + 1)
    extreme = abs(2 * counts - old - new) >= new - old
    right = stats.hypergeom.pmf(counts, 2 * size, old + new, size)[extreme].sum()
    assert_near(float(found.p[0]), float(right), found.exact)


def assert_near(p: float, right: float, exact: bool) -> None:
    """Equal, or as near as so many random arrangements come with a probability of 0.9999."""
    if exact:
        assert_allclose(p, right, rtol=1e-12)
    else:
        low, high = stats.binom.ppf([5e-5, 1 - 5e-5], MAX_ARRANGEMENTS, right) / MAX_ARRANGEMENTS
        assert low <= p <= high + 1 / MAX_ARRANGEMENTS


def test_random_arrangements_never_make_a_p_of_0() -> None:
    """The arrangement observed is one of them (Phipson & Smyth 2010)."""
    assert_allclose(sign_flip_test(1 + 0.1 * normal((40, 3)), np.full(3, 0.02)).p, 1 / MAX_ARRANGEMENTS)
    old, new = normal((30, 3), 1), normal((30, 3), 2) + 100
    assert_allclose(permutation_test(old, new, np.full(3, 0.02)).p, 1 / MAX_ARRANGEMENTS)


@settings(max_examples=100, deadline=None)
@given(tables(st.integers(2, 6)))
def test_what_changed_more_has_no_larger_p(case: tuple[Reals, Reals]) -> None:
    found = sign_flip_test(*case)
    assert (np.diff(found.p[np.argsort(-found.observed)]) >= 0).all()


@settings(max_examples=100, deadline=None)
@given(tables(st.integers(2, 6)), st.integers(0, 3))
def test_the_order_of_columns_doesn_t_matter(case: tuple[Reals, Reals], turns: int) -> None:
    differences, slack = case
    order = np.roll(np.arange(len(slack))[::-1], turns)
    reordered = sign_flip_test(differences[:, order], slack[order])
    assert_array_equal(reordered.p, sign_flip_test(differences, slack).p[order])


@settings(max_examples=100, deadline=None)
@given(tables(st.integers(2, 6)), st.sampled_from([1e-3, 0.3, 7.0, 1e4]))
def test_the_unit_doesn_t_matter(case: tuple[Reals, Reals], unit: float) -> None:
    """Decades or factors of e: values and slack in another unit."""
    differences, slack = case
    one, other = sign_flip_test(differences, slack), sign_flip_test(unit * differences, unit * slack)
    assert_array_equal(one.p, other.p)
    assert_allclose(one.observed, other.observed, rtol=1e-9, atol=1e-12)
    assert_allclose(one.critical, other.critical, rtol=1e-9)


@settings(max_examples=100, deadline=None)
@given(tables(st.integers(2, 8)))
def test_the_sides_can_be_exchanged(case: tuple[Reals, Reals]) -> None:
    table, slack = case
    assert_array_equal(sign_flip_test(-table, slack).p, sign_flip_test(table, slack).p)
    old, new = np.split(table, [len(table) // 2])
    assert_array_equal(permutation_test(old, new, slack).p, permutation_test(new, old, slack).p)


@settings(max_examples=100, deadline=None)
@given(tables(st.integers(2, 8)))
def test_where_seeds_stand_doesn_t_matter(case: tuple[Reals, Reals]) -> None:
    table, slack = case
    assert_array_equal(sign_flip_test(table[::-1], slack).p, sign_flip_test(table, slack).p)


@settings(max_examples=100, deadline=None)
@given(tables(st.integers(2, 6)))
def test_copies_and_what_never_changes_cost_nothing(case: tuple[Reals, Reals]) -> None:
    """Unlike in a Bonferroni correction."""
    differences, slack = case
    more = np.concatenate([differences, np.zeros((len(differences), 3)), differences], axis=1)
    found = sign_flip_test(more, np.concatenate([slack, np.full(3, 0.25), slack]))
    expected = sign_flip_test(differences, slack).p
    assert_array_equal(found.p, [*expected, 1, 1, 1, *expected])


@settings(max_examples=100, deadline=None)
@given(tables(st.integers(2, 6)))
def test_the_largest_change_only_lends_the_others_its_own_p(case: tuple[Reals, Reals]) -> None:
    """Step-down: without it they have the same p, or a smaller one than it."""
    differences, slack = case
    whole = sign_flip_test(differences, slack)
    rest = np.arange(len(slack)) != whole.observed.argmax()
    alone = sign_flip_test(differences[:, rest], slack[rest]).p if rest.any() else np.array([])
    assert_array_equal(whole.p[rest], np.maximum(alone, whole.p.min()))


def test_one_huge_change_doesn_t_hide_another() -> None:
    """The huge one's second best arrangements beat the small change: a test in one step would miss it."""
    huge, small = 1000 + normal((10, 1)), 2.0 ** np.arange(-10, 0)[:, None]
    found = sign_flip_test(np.concatenate([huge, small], axis=1), np.array([0.02, 0.02]))
    assert found.critical > found.observed[1]
    assert_allclose(found.p, 2 / 2**10)


def test_the_critical_value_is_exceeded_no_more_often_than_the_level_says() -> None:
    differences, slack = normal((10, 5)), np.full(5, 0.1)
    found = sign_flip_test(differences, slack)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 10)).reshape(10, -1).T
    largest = np.array([sign_flip_test(row[:, None] * differences, slack).observed.max() for row in signs[:512]])
    assert (largest > found.critical * (1 + 1e-9)).mean() <= LEVEL
    assert (largest >= found.critical * (1 - 1e-9)).mean() > LEVEL


@pytest.mark.parametrize("value", [0.3123, 31.7, 395.123456789, 1e5 / 3])
@pytest.mark.parametrize("slack", [1e-8, 1e-4, 0.02])
def test_a_change_that_is_the_same_for_every_seed_has_the_smallest_p(value: float, slack: float) -> None:
    """However large it is beside the slack: what rounding leaves of its variance is none."""
    for count in (8, 10, 12):
        differences = normal((count, 5))
        differences[:, :3] = value
        assert_allclose(sign_flip_test(differences, np.full(5, slack)).p[:3], 2 / 2**count)
    old = 1e-9 * normal((5, 5))
    assert_allclose(permutation_test(old, old + value, np.full(5, slack)).p, 2 / 252)


def test_what_rounding_makes_of_no_change_is_none() -> None:
    """Both means are 1/12."""
    old, new = np.array([[0.0], [0.0], [0.25]]), np.array([[0.0], [-0.25], [0.5]])
    assert permutation_test(old, new, np.array([0.25])).p == permutation_test(new, old, np.array([0.25])).p == 1


def test_a_single_pair() -> None:
    assert_array_equal(sign_flip_test(np.array([[3.0, 0.0]]), np.array([0.1, 0.1])).p, [1, 1])
