from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from gradlab.theory.quadrature import gaussian_mean, gaussian_means

VARIANCES = [1e-12, 1e-5, 0.04, 1.0, 7.0, 1e3, 1e8, 1e12]
variances = st.floats(-12, 12).map(lambda exponent: 10.0**exponent)
places = st.floats(-5, 5).filter(lambda place: abs(place) > 1e-3)


def close(value: float, exact: float) -> bool:
    return math.isclose(value, exact, rel_tol=1e-9)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize(("power", "moment"), [(0, 1), (2, 1), (4, 3), (6, 15), (8, 105)])
def test_moments_of_the_gaussian(variance: float, power: int, moment: int) -> None:
    assert close(gaussian_mean(lambda x: x**power, variance), moment * variance ** (power / 2))


@pytest.mark.parametrize("variance", VARIANCES)
def test_narrow_bump_at_any_variance(variance: float) -> None:
    assert close(gaussian_mean(lambda x: np.exp(-x * x / 2), variance), 1 / math.sqrt(1 + variance))


@settings(max_examples=100, deadline=None)
@given(variances, places)
def test_a_jump_anywhere(variance: float, place: float) -> None:
    above = ndtr(-place / math.sqrt(variance))
    assert abs(gaussian_mean(lambda x: x > place, variance) - above) <= 1e-9 * above + 1e-300


@settings(max_examples=100, deadline=None)
@example(96371.91952738132, 4.983950509309169)  # both rules err alike here
@given(variances, places)
def test_a_kink_anywhere(variance: float, place: float) -> None:
    """E max(x - c, 0) = s phi(c / s) - c Phi(-c / s); judged against both terms, which may cancel."""
    deviation = math.sqrt(variance)
    z = place / deviation
    density = deviation * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    exact = density - place * ndtr(-z)
    assert (
        abs(gaussian_mean(lambda x: np.maximum(x - place, 0), variance) - exact)
        <= 1e-9 * abs(exact) + 1e-14 * density + 1e-290
    )


@settings(max_examples=50, deadline=None)
@given(variances, places, st.floats(0.5, 4))
def test_the_inside_of_an_interval(variance: float, place: float, width: float) -> None:
    deviation = math.sqrt(variance)
    near = min(abs(place), abs(place + width)) if place * (place + width) > 0 else None
    inside = abs(ndtr((place + width) / deviation) - ndtr(place / deviation))
    if near is not None:  # from the tail's side, where the difference does not cancel
        inside = ndtr(-near / deviation) - ndtr(-(near + width) / deviation)
    # The reference cancels where the interval is a tiny part of the distribution.
    value = gaussian_mean(lambda x: (x > place) & (x < place + width), variance)
    assert abs(value - inside) <= 1e-9 * inside + 1e-15


@settings(max_examples=50, deadline=None)
@given(variances, places, places)
def test_linear_in_the_function(variance: float, a: float, b: float) -> None:
    both = gaussian_means(
        lambda x: np.stack([np.tanh(x) ** 2, np.abs(x), a * np.tanh(x) ** 2 + b * np.abs(x)]), [variance]
    )
    first, second, mixed = both.values[0]
    assert abs(mixed - a * first - b * second) <= 1e-10 * (abs(a) * first + abs(b) * second)


@pytest.mark.parametrize("slope", [0.5, 3.0, 6.0, 20.0])
def test_exponentials_whose_mass_lies_far_out(slope: float) -> None:
    assert close(gaussian_mean(lambda x: np.exp(slope * x), 1.0), math.exp(slope**2 / 2))


def test_values_beyond_float64_count_only_where_they_weigh() -> None:
    def overflowing(x):  # infinite beyond 20 deviations, where N(0, 1) has 1e-88 left
        return np.where(x > 20, np.inf, x * x)

    assert gaussian_mean(lambda x: np.exp(x * x), 1.0) == math.inf
    assert gaussian_mean(lambda x: -np.exp(x), 1e8) == -math.inf
    assert gaussian_mean(overflowing, 1.0) == math.inf  # 1e308 x 1e-88 is no small part
    assert close(gaussian_mean(lambda x: np.exp(np.minimum(x, 1e3) * 20), 1.0), math.exp(200))


def test_softplus_at_a_huge_variance() -> None:
    """E softplus = (s + pi^2 / (6 s)) / sqrt(2 pi) + O(s^-3): relu, and a bump of area pi^2 / 6 at 0."""
    softplus = (1e4 + math.pi**2 / 6e4) / math.sqrt(2 * math.pi)
    assert close(gaussian_mean(lambda x: np.logaddexp(0, x), 1e8), softplus)
    bump = gaussian_mean(lambda x: np.log1p(np.exp(-np.abs(x))), 1e8)
    assert bump == pytest.approx(math.pi**2 / 6e4 / math.sqrt(2 * math.pi), rel=1e-7)


def test_what_has_no_value_is_nan() -> None:
    assert math.isnan(gaussian_mean(lambda x: np.log(x), 1.0))
    assert math.isnan(gaussian_mean(lambda x: 1 / np.abs(x), 1.0))
    assert math.isnan(gaussian_mean(np.tanh, math.inf))
    assert math.isnan(gaussian_mean(np.tanh, math.nan))
    one_of_two = gaussian_means(lambda x: np.stack([np.sqrt(x), x * x]), [2.0]).values[0]
    assert math.isnan(one_of_two[0])
    assert close(one_of_two[1], 2.0)


def test_variance_zero_is_the_value_at_zero() -> None:
    assert gaussian_mean(lambda x: np.where(x > 0, 2.0, np.where(x < 0, 1.0, 7.0)), 0.0) == 7.0
    mixed = gaussian_means(lambda x: np.stack([x * x, x > 0]), [4.0, 0.0, math.nan, 1.0]).values
    np.testing.assert_allclose(mixed, [[4, 0.5], [0, 0], [math.nan, math.nan], [1, 0.5]], rtol=1e-12)


def test_negative_variance_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        gaussian_mean(np.tanh, -1.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-4, 4).map(lambda exponent: 10.0**exponent), min_size=1, max_size=150))
def test_many_variances_at_once_are_each_by_itself(many: list[float]) -> None:
    together = gaussian_means(lambda x: np.clip(x, -1.3, 0.7) ** 2, many).values[:, 0]
    alone = [gaussian_mean(lambda x: np.clip(x, -1.3, 0.7) ** 2, variance) for variance in many[:5]]
    np.testing.assert_allclose(together[:5], alone, rtol=1e-9)
    order = np.argsort(many, kind="stable")
    assert np.all(np.diff(together[order]) >= -1e-9)


def test_breaks_save_the_search() -> None:
    calls = 0

    def plateau(x):
        nonlocal calls
        calls += 1
        return np.abs(x - 0.3) < 1

    first = gaussian_means(plateau, [2.0])
    searching, calls = calls, 0
    second = gaussian_means(plateau, [2.1], first.breaks)
    assert calls <= 3 < 20 < searching
    exact = [ndtr(1.3 / math.sqrt(v)) - ndtr(-0.7 / math.sqrt(v)) for v in (2.0, 2.1)]
    np.testing.assert_allclose([first.values[0, 0], second.values[0, 0]], exact, rtol=1e-9)
