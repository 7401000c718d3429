"""Student's quantiles against scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from gradlab.analysis.student import probability_within, quantiles


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_quantiles_are_scipys(confidence: float) -> None:
    freedom = np.array([*range(1, 200), 1000, 9999, 10_000, 123_456, 7, 1])
    expected = special.stdtrit(freedom, 0.5 + confidence / 2)
    np.testing.assert_allclose(quantiles(freedom, confidence), expected, rtol=1e-10)


@given(st.integers(1, 500), st.floats(0.0, 1e3))
def test_probabilities_are_scipys(freedom: int, t: float) -> None:
    assert probability_within(t, freedom) == pytest.approx(1 - 2 * special.stdtr(freedom, -t), abs=1e-12)


def test_one_and_two_degrees_in_closed_form() -> None:
    one, two = quantiles(np.array([1, 2]), 0.95)
    assert one == pytest.approx(math.tan(0.95 * math.pi / 2), rel=1e-12)
    assert two == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-12)


def test_of_nothing_nothing() -> None:
    assert quantiles(np.array([], np.int64), 0.95).shape == (0,)
