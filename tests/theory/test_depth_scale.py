from __future__ import annotations

import math

import numpy as np
import pytest

from gradlab.theory.depth_scale import Asymptote, asymptote, depth_scale, trainable
from gradlab.theory.meanfield import InputMoments, Norm, predict
from gradlab.theory.moments import Nonlinearity
from gradlab.theory.variances import LayerLaw

RELU = Nonlinearity(lambda x: np.maximum(x, 0), lambda x: x > 0)
TANH = Nonlinearity(np.tanh, lambda x: 1 - np.tanh(x) ** 2)
SIGMOID = Nonlinearity(lambda x: 1 / (1 + np.exp(-x)), lambda x: 0.25 / np.cosh(x / 2) ** 2)
SOFTPLUS = Nonlinearity(lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x)))


def test_depth_scale() -> None:
    assert depth_scale(math.exp(-1 / 7)) == pytest.approx(7)
    assert depth_scale(math.exp(1 / 7)) == pytest.approx(7)
    assert depth_scale(1.0) == math.inf
    assert depth_scale(0.0) == 0.0
    assert math.isnan(depth_scale(math.nan))


def test_trainable_up_to_six_depth_scales() -> None:
    chi = 0.9
    per_layer = math.log10(chi) / 2
    deepest = math.floor(6 * depth_scale(chi))
    assert trainable(deepest * per_layer)
    assert not trainable((deepest + 1) * per_layer)
    assert not trainable(-(deepest + 1) * per_layer)
    assert trainable(0.0)
    assert not trainable(-math.inf)
    assert not trainable(math.nan)


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize(
    ("nonlinearity", "law"),
    [
        (TANH, LayerLaw(0.6, 0.05)),
        (TANH, LayerLaw(2.5, 0.3)),
        (RELU, LayerLaw(1.2, 0.3)),
        (SIGMOID, LayerLaw(3.0, 0.1)),
        (SOFTPLUS, LayerLaw(0.4, 0.2)),
    ],
)
def test_the_recursion_arrives_there(nonlinearity: Nonlinearity, law: LayerLaw, norm: Norm) -> None:
    limit = asymptote(nonlinearity, law, norm)
    deep = predict(nonlinearity, [law] * 120, InputMoments(1.0, 1.0), norm)
    assert limit.chi == pytest.approx(deep.chi[-1], rel=1e-8)
    assert limit.xi == pytest.approx(depth_scale(deep.chi[-1]), rel=1e-4)
    if norm != "batch":
        assert limit.q == pytest.approx(deep.q[-1], rel=1e-8)


def test_relu_fixed_point_in_closed_form() -> None:
    """q = sigma_b^2 / (1 - sigma_w^2 / 2), chi = sigma_w^2 / 2."""
    limit = asymptote(RELU, LayerLaw(1.5, 0.4))
    assert (limit.q, limit.chi) == pytest.approx((0.4 / 0.25, 0.75), rel=1e-9)
    assert limit.xi == pytest.approx(-1 / math.log(0.75), rel=1e-9)
    assert limit.phase == "ordered"


def test_variances_that_run_away() -> None:
    up, down = asymptote(RELU, LayerLaw(2.5)), asymptote(RELU, LayerLaw(1.5))
    assert (up.q, up.phase, up.chi) == (None, "chaotic", pytest.approx(1.25, rel=1e-9))
    assert (down.q, down.phase, down.chi) == (0.0, "ordered", pytest.approx(0.75, rel=1e-9))
    softplus = asymptote(SOFTPLUS, LayerLaw(2.0))  # grows ever more slowly, and has no fixed point
    assert (softplus.q, softplus.phase) == (None, "critical")


def test_every_variance_is_fixed_for_relu_with_he() -> None:
    limit = asymptote(RELU, LayerLaw(2.0), start=0.3)
    assert (limit.q, limit.xi, limit.phase) == (pytest.approx(0.3), math.inf, "critical")


def test_tanh_is_critical_at_unit_weights_without_biases() -> None:
    """Poole et al. 2016: q* = 0 and chi = sigma_w^2 up to sigma_w = 1, chaos beyond."""
    assert asymptote(TANH, LayerLaw(1.0)).q == 0.0
    assert asymptote(TANH, LayerLaw(1.0)).phase == "critical"
    assert asymptote(TANH, LayerLaw(0.9)).chi == pytest.approx(0.9, rel=1e-9)
    assert asymptote(TANH, LayerLaw(1.1)).phase == "chaotic"


@pytest.mark.parametrize("weights", [60.0, 102.0, 104.0, 200.0])
def test_sigmoid_without_biases_turns_critical_near_103(weights: float) -> None:
    assert asymptote(SIGMOID, LayerLaw(weights)).phase == ("ordered" if weights < 103 else "chaotic")


def test_skips() -> None:
    assert asymptote(RELU, LayerLaw(1.0), residual=True).chi == pytest.approx(1.5, rel=1e-9)
    for norm in ("layer", "batch"):
        assert asymptote(TANH, LayerLaw(1.0), norm, residual=True) == Asymptote(None, pytest.approx(1), math.inf)
    bounded = asymptote(TANH, LayerLaw(1.0), residual=True)
    assert (bounded.q, bounded.phase) == (None, "critical")


def test_chi_that_is_not_a_number_has_no_depth_scale() -> None:
    unknown = asymptote(Nonlinearity(np.sqrt, np.sqrt), LayerLaw(1.0))
    assert (unknown.q, unknown.phase) == (None, None)
    assert math.isnan(unknown.xi)
