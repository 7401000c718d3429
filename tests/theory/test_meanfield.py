"""Closed forms and independent integrals of the predictions."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from gradlab.theory.meanfield import InputMoments, predict
from gradlab.theory.moments import Nonlinearity
from gradlab.theory.variances import LayerLaw

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
UNIT = InputMoments(1.0, 1.0)

LINEAR = Nonlinearity(lambda x: x, lambda x: 1.0)
RELU = Nonlinearity(lambda x: np.maximum(x, 0), lambda x: x > 0)
TANH = Nonlinearity(np.tanh, lambda x: 1 - np.tanh(x) ** 2)
SIGMOID = Nonlinearity(lambda x: 1 / (1 + np.exp(-x)), lambda x: 0.25 / np.cosh(x / 2) ** 2)
HARDTANH = Nonlinearity(lambda x: np.clip(x, -1, 1), lambda x: np.abs(x) < 1)
SELU = Nonlinearity(
    lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    lambda x: SELU_SCALE * np.where(x > 0, 1, SELU_ALPHA * np.exp(np.minimum(x, 0))),
)


def leaky_relu(slope: float) -> Nonlinearity:
    return Nonlinearity(lambda x: np.where(x > 0, x, slope * x), lambda x: np.where(x > 0, 1, slope))


@pytest.mark.parametrize("sigma_w2", [0.3, 1.0, 2.5])
def test_linear(sigma_w2: float) -> None:
    prediction = predict(LINEAR, [LayerLaw(0.7, 0.2), *[LayerLaw(sigma_w2)] * 9], InputMoments(3.0, 2.0))
    assert prediction.chi == pytest.approx([sigma_w2] * 9, rel=1e-9)
    assert prediction.gradient_ratio == pytest.approx(sigma_w2 ** (9 / 2), rel=1e-9)
    assert prediction.gradient_decay == pytest.approx(math.sqrt(sigma_w2), rel=1e-9)
    assert prediction.q == pytest.approx([(0.7 * 3 + 0.2) * sigma_w2**layer for layer in range(10)], rel=1e-9)


@pytest.mark.parametrize("depth", [2, 50, 1000])
def test_relu_with_he_is_critical(depth: int) -> None:
    prediction = predict(RELU, [LayerLaw(2.0)] * depth, InputMoments(0.37, 0.3))
    assert prediction.gradient_ratio == pytest.approx(1.0, rel=1e-9)
    assert prediction.q == pytest.approx([2 * 0.37] * depth, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 5), st.floats(0, 2), st.floats(0, 1), st.floats(1e-6, 1e6))
def test_leaky_relu_at_every_variance(sigma_w2: float, sigma_b2: float, slope: float, moment: float) -> None:
    """chi = sigma_w^2 (1 + a^2) / 2 whatever q is: the activation is homogeneous (He et al. 2015)."""
    prediction = predict(leaky_relu(slope), [LayerLaw(sigma_w2, sigma_b2)] * 6, InputMoments(moment, moment))
    assert prediction.chi == pytest.approx([sigma_w2 * (1 + slope**2) / 2] * 5, rel=1e-9)


def test_layers_of_different_laws_take_the_weights_above_and_the_slope_below() -> None:
    laws = [LayerLaw(0.5, 0.3), LayerLaw(2.0, 0.1), LayerLaw(1.2)]
    prediction = predict(TANH, laws, InputMoments(1.4, 1.0))
    q1 = 0.5 * 1.4 + 0.3
    q2 = 2.0 * mean(lambda x: math.tanh(x) ** 2, q1) + 0.1
    q3 = 1.2 * mean(lambda x: math.tanh(x) ** 2, q2)
    slope2 = [mean(lambda x: (1 - math.tanh(x) ** 2) ** 2, q) for q in (q1, q2)]
    assert prediction.q == pytest.approx([q1, q2, q3], rel=1e-9)
    assert prediction.chi == pytest.approx([2.0 * slope2[0], 1.2 * slope2[1]], rel=1e-9)
    assert prediction.gradient_ratio == pytest.approx(math.sqrt(2.0 * slope2[0] * 1.2 * slope2[1]), rel=1e-9)


def mean(g: Callable[[float], float], variance: float, kinks: tuple[float, ...] = ()) -> float:
    """E[g(x)], x ~ N(0, variance), by scipy's QUADPACK between the kinks."""
    deviation = math.sqrt(variance)
    inner = sorted({0.0, *(k for k in (*kinks, -3.0, 3.0, -30.0, 30.0) if abs(k) < 12 * deviation)})
    edges = [-12 * deviation, *inner, 12 * deviation]
    scale = deviation * math.sqrt(2 * math.pi)
    return sum(
        quad(lambda x: g(x) * math.exp(-x * x / (2 * variance)) / scale, *piece, epsabs=1e-17, epsrel=1e-12, limit=200)[
            0
        ]
        for piece in pairwise(edges)
    )


def sigmoid(x: float) -> float:
    return math.exp(min(x, 0)) / (1 + math.exp(-abs(x)))


@pytest.mark.parametrize("variance", [1e-6, 0.01, 0.8, 5.0, 300.0, 1e8])
@pytest.mark.parametrize(
    ("nonlinearity", "phi", "slope", "kinks"),
    [
        (TANH, math.tanh, lambda x: math.cosh(min(abs(x), 300)) ** -2, ()),
        (SIGMOID, sigmoid, lambda x: sigmoid(x) * sigmoid(-x), ()),
        (HARDTANH, lambda x: max(-1.0, min(1.0, x)), lambda x: float(abs(x) < 1), (-1.0, 1.0)),
    ],
    ids=["tanh", "sigmoid", "hardtanh"],
)
def test_against_quadpack(
    nonlinearity: Nonlinearity,
    phi: Callable[[float], float],
    slope: Callable[[float], float],
    kinks: tuple[float, ...],
    variance: float,
) -> None:
    prediction = predict(nonlinearity, [LayerLaw(1.0), LayerLaw(1.3, 0.2)], InputMoments(variance, variance))
    assert prediction.q[1] == pytest.approx(1.3 * mean(lambda x: phi(x) ** 2, variance, kinks) + 0.2, rel=1e-9)
    assert prediction.chi[0] == pytest.approx(1.3 * mean(lambda x: slope(x) ** 2, variance, kinks), rel=1e-9)


def test_selu_with_lecun_stays_at_unit_variance() -> None:
    """Klambauer et al. 2017: zero mean and unit variance are SELU's fixed point under variance 1/fan_in."""
    prediction = predict(SELU, [LayerLaw(1.0)] * 30, UNIT)
    assert prediction.q == pytest.approx([1.0] * 30, rel=1e-9)
    batch = predict(SELU, [LayerLaw(1.0)] * 30, UNIT, norm="batch")  # mean 0: a batch varies as much as z itself
    assert batch.q == pytest.approx([1.0] * 30, rel=1e-4)
    assert batch.chi == pytest.approx(prediction.chi, rel=1e-4)


def test_relu_behind_batch_norm_explodes_by_pi_over_pi_minus_1() -> None:
    """Yang et al. 2019, whatever the weights' variance; to the eps under the root."""
    for sigma_w2 in (0.5, 2.0, 30.0):
        prediction = predict(RELU, [LayerLaw(sigma_w2, 0.4)] * 8, InputMoments(2.0, 1.1), norm="batch")
        assert prediction.chi[1:] == pytest.approx([math.pi / (math.pi - 1)] * 6, rel=1e-4)
        assert prediction.chi[0] == pytest.approx(sigma_w2 / 2 / (sigma_w2 * 1.1), rel=1e-4)


def test_relu_behind_layer_norm() -> None:
    """q = sigma_w^2 / 2 + sigma_b^2, chi = (sigma_w^2 / 2) / q, to the eps under the root."""
    prediction = predict(RELU, [LayerLaw(3.0, 0.5)] * 6, UNIT, norm="layer")
    assert prediction.q == pytest.approx([3.5, *[2.0] * 5], rel=1e-4)
    assert prediction.chi == pytest.approx([1.5 / 3.5, *[1.5 / 2.0] * 4], rel=1e-4)


def test_linear_with_skips() -> None:
    """h_l = h_{l-1} + W h_{l-1}: the variance and the squared gradient grow by 1 + sigma_w^2."""
    prediction = predict(LINEAR, [LayerLaw(1.0), *[LayerLaw(0.3)] * 5], UNIT, residual=True)
    assert prediction.chi == pytest.approx([1.3] * 5, rel=1e-9)
    assert prediction.q == pytest.approx([1.0, *[0.3 * 1.3**power for power in range(5)]], rel=1e-9)


def test_relu_with_skips_collects_its_mean() -> None:
    """With v = q / pi: E relu^2 = q / 2 and E relu = sqrt(q / 2 pi), so m_l and p_l follow by hand."""
    second, first, q = 0.0, 0.0, []
    for layer in range(6):
        q.append(1.0 if layer == 0 else 2.0 * second)
        phi = math.sqrt(q[-1] / (2 * math.pi))
        second += q[-1] / 2 + 2 * first * phi
        first += phi
    prediction = predict(RELU, [LayerLaw(1.0), *[LayerLaw(2.0)] * 5], UNIT, residual=True)
    assert prediction.q == pytest.approx(q, rel=1e-9)
    assert prediction.chi == pytest.approx([2.0] * 5, rel=1e-9)


@pytest.mark.parametrize("image", [(1, 1), (1, 5), (4, 7)])
def test_linear_convolutions_are_powers_of_the_neighbour_matrix(image: tuple[int, int]) -> None:
    """q_l = (sigma_w^2 N / 9)^l 1 and delta_1^2 / delta_D^2 = 1' (sigma_w^2 N / 9)^(D-1) 1 / HW, N built densely."""
    rows, columns = (np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1) for n in image)
    neighbours = 1.7 / 9 * np.kron(rows, columns)
    ones = np.ones(math.prod(image))
    powers = [np.linalg.matrix_power(neighbours, power) @ ones for power in range(7)]
    prediction = predict(LINEAR, [LayerLaw(1.7)] * 6, UNIT, image=image)
    assert prediction.q == pytest.approx([powers[layer].mean() for layer in range(1, 7)], rel=1e-9)
    assert prediction.gradient_ratio == pytest.approx(math.sqrt(powers[5].mean()), rel=1e-9)


def test_the_middle_of_a_large_image_is_a_network_without_borders() -> None:
    flat = predict(TANH, [LayerLaw(1.5, 0.1)] * 3, UNIT)
    large = predict(TANH, [LayerLaw(1.5, 0.1)] * 3, UNIT, image=(300, 300))
    assert large.chi == pytest.approx(flat.chi, rel=0.02)  # border: 4 / 300 of the positions, a third less each


def test_ratios_beyond_float64_keep_their_logarithm() -> None:
    vanishing = predict(RELU, [LayerLaw(0.02)] * 1001, UNIT)  # q itself passes below 1e-300
    assert vanishing.gradient_ratio == 0.0
    assert vanishing.log10_gradient_ratio == pytest.approx(-1000.0)
    assert vanishing.gradient_decay == pytest.approx(0.1)
    exploding = predict(LINEAR, [LayerLaw(100.0)] * 1001, UNIT)
    assert exploding.gradient_ratio == math.inf
    assert exploding.log10_gradient_ratio == pytest.approx(1000.0)
    assert exploding.gradient_decay == pytest.approx(10.0)


def test_one_layer_has_a_ratio_and_no_decay() -> None:
    prediction = predict(TANH, [LayerLaw(1.0)], UNIT)
    assert (prediction.gradient_ratio, prediction.gradient_decay, prediction.chi) == (1.0, None, ())


def test_what_has_no_ratio_is_none() -> None:
    dead = predict(Nonlinearity(lambda x: 0 * x, lambda x: 0 * x), [LayerLaw(1.0, 0.1)] * 3, UNIT)
    assert (dead.gradient_ratio, dead.log10_gradient_ratio, dead.gradient_decay) == (None, None, None)
    assert predict(Nonlinearity(np.sqrt, np.sqrt), [LayerLaw(1.0)] * 3, UNIT).gradient_ratio is None
    assert predict(RELU, [LayerLaw(2.0)] * 3, InputMoments(0.0, 0.0)).gradient_ratio is None  # relu'(0) = 0
    assert predict(LINEAR, [LayerLaw(2.0)] * 3, InputMoments(0.0, 0.0)).gradient_ratio == pytest.approx(2.0)


def test_calls_that_make_no_network_are_refused() -> None:
    with pytest.raises(ValueError, match="layer or more"):
        predict(TANH, [], UNIT)
    with pytest.raises(ValueError, match="'group'"):
        predict(TANH, [LayerLaw(1.0)], UNIT, norm="group")  # type: ignore[arg-type]


def test_deep_networks_cost_no_search_per_layer() -> None:
    calls = 0

    def clip(x):
        nonlocal calls
        calls += 1
        return np.clip(x, -1, 1)

    prediction = predict(Nonlinearity(clip, HARDTANH.df), [LayerLaw(1.0)] * 200, UNIT)  # critical: q never settles
    assert len(set(prediction.q)) == 200
    assert calls < 3 * 200
