"""What mean-field theory asks of an activation: E[phi], E[phi^2] and E[phi'^2] over a Gaussian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.theory.quadrature import FloatArray, gaussian_means

_LEAST, _MOST = 1e-250, 1e250  # variances stop here, so that neither underflow nor overflow changes chi
_SAME = 1e-14  # relative; a variance that moved less has reached its fixed point
_DIGITS = 13  # positions whose variances agree to so many digits share their means


@dataclass(frozen=True)
class Nonlinearity:
    """An activation phi and its derivative, vectorised over float64 arrays `[point]`."""

    f: Callable[[FloatArray], Any]
    df: Callable[[FloatArray], Any]


@dataclass(frozen=True)
class Moments:
    """E[phi(u)], E[phi(u)^2] and E[phi'(u)^2] for u ~ N(0, variance), each in the variance's shape."""

    f: FloatArray
    f2: FloatArray
    df2: FloatArray


def moments_of(nonlinearity: Nonlinearity) -> Callable[[FloatArray], Moments]:
    """The function from variances `[*positions]` to Moments.

    It remembers its last answer and where it found the activation's kinks, so that going through the layers of
    one network is cheap.
    """
    breaks: FloatArray = np.empty(0)
    last: tuple[FloatArray, Moments] | None = None

    def integrands(x: FloatArray) -> FloatArray:
        f = np.broadcast_to(np.asarray(nonlinearity.f(x), dtype=np.float64), x.shape)
        df = np.broadcast_to(np.asarray(nonlinearity.df(x), dtype=np.float64), x.shape)
        return np.stack([f, f * f, df * df])

    def moments(variance: FloatArray) -> Moments:
        nonlocal breaks, last
        if last is not None and np.all(np.abs(variance - last[0]) <= _SAME * last[0]):
            return last[1]
        distinct, where = _distinct(np.where(variance > 0, np.clip(variance, _LEAST, _MOST), variance))
        means = gaussian_means(integrands, distinct, breaks)
        breaks = means.breaks
        f, f2, df2 = means.values.T[:, where].reshape(3, *variance.shape)
        last = variance, Moments(f, f2, df2)
        return last[1]

    return moments


def _distinct(variance: FloatArray) -> tuple[FloatArray, Any]:
    """The distinct variances to `_DIGITS` digits, and for each position the index of its own."""
    flat = variance.ravel()
    mantissa, exponent = np.frexp(flat)
    rounded = np.ldexp(np.round(mantissa, _DIGITS), exponent)
    _, first, where = np.unique(rounded, return_index=True, return_inverse=True)
    return flat[first], where
