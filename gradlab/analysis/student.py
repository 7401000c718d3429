"""Quantiles of Student's t distribution at whole degrees of freedom, without scipy, whose import takes a while."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]

_NEWTON_STEPS = 60
"""Three or four are enough but at one and two degrees of freedom, whose quantiles are far from the start."""


def quantiles(freedom: npt.NDArray[np.int64], confidence: float) -> Reals:
    """t with P(|T| < t) = `confidence` for each number of degrees of freedom, 1 or more; right to 1e-10.

    Args:
        confidence: above 0 and below 1.
    """
    distinct, places = np.unique(freedom, return_inverse=True)
    found: Reals = np.array([_quantile(int(one), confidence) for one in distinct])[places]
    return found


def _quantile(freedom: int, confidence: float) -> float:
    """By Newton's method from 0: P(|T| < t) is concave in t, so that no step goes beyond the solution."""
    t = 0.0
    for _ in range(_NEWTON_STEPS):
        step = (confidence - probability_within(t, freedom)) / (2 * _density(t, freedom))
        if step <= 1e-15 * t:
            break
        t += step
    return t


def probability_within(t: float, freedom: int) -> float:
    """P(|T| < t) as a sum over cosines of atan(t / sqrt(freedom)) (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine2 = math.sin(angle), math.cos(angle) ** 2
    first = 1 + freedom % 2
    # The terms' ratios are cos^2 times 1/2, 3/4, 5/6, ... (even) or 2/3, 4/5, ... (odd).
    above = np.arange(first, freedom - 2, 2, dtype=np.float64)
    total = 1 + float(np.cumprod(cosine2 * above / (above + 1)).sum())
    if freedom % 2 == 0:
        return sine * total
    return 2 / math.pi * (angle + (sine * math.cos(angle) * total if freedom > 1 else 0.0))


def _density(t: float, freedom: int) -> float:
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    return math.exp(scale - (freedom + 1) / 2 * math.log1p(t * t / freedom))
