"""Means over a Gaussian, E[g(sqrt(variance) z)] with z ~ N(0, 1), right at kinks and jumps at unknown places."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Integrand: TypeAlias = Callable[[FloatArray], Any]
"""x [point] -> values [point], or [function, point] for several functions at once."""

TOLERANCE = 1e-11
"""A panel is bisected until its error is below this share of E|g|."""
UNRESOLVED = 1e-3
"""Above this share of E|g| in estimated errors the mean is not known: NaN."""

_INTERVALS = 32  # of the fine rule; the coarse one that judges it takes every second node
_MAX_PANELS = 4096
_MAX_BISECTIONS = 120
_BREAK_BISECTIONS = 8  # bisected more often than this, a place is worth remembering
_CHUNK = 64  # variances integrated at once: bounds the memory
_HUGE = 1e300
_LOST = 1e-9
# Below the largest deviation panels halve down to _SMALLEST, in units of the argument where deviations are large;
# beyond _MIDDLE, where no activation has features, they shrink faster.
_SMALLEST, _MIDDLE = 0.125, 64.0
_Z_EDGES = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 17, 22, 29, 38], dtype=np.float64)
# exp(-38^2 / 2) is the last density that float64 can hold.


@dataclass(frozen=True)
class Means:
    """Gaussian means of several functions at several variances.

    Attributes:
        values: `[variance, function]`.
        breaks: arguments x near which the functions needed fine panels (kinks, jumps): handed to the next call
            with the same functions, they save it the search.
    """

    values: FloatArray
    breaks: FloatArray


def gaussian_mean(g: Integrand, variance: float) -> float:
    """E[g(x)] for x ~ N(0, variance), g any vectorised function of one array `[point]`.

    Adaptive bisection of panels under nested Clenshaw-Curtis rules (Clenshaw and Curtis 1960) of 17 and 33
    points. The first panels are even in x / sqrt(variance) and geometric in x, so that what g does at
    x ~ 1 is found at any variance. Panels include their ends, approached from inside, so that a jump next to an
    edge is seen. The error is below 1e-9 of E|g| for functions whose features are not narrower than
    about a hundredth of a panel.

    Returns g(0) at variance 0; infinity where the mean overflows, or where values of g beyond float64
    carry a share of it; NaN where g is NaN within 38 deviations, where the variance is not finite, and where the
    integral does not converge.

    Raises:
        ValueError: for a negative variance.
    """
    return float(gaussian_means(g, [variance]).values[0, 0])


def gaussian_means(g: Integrand, variances: Any, breaks: Any = ()) -> Means:
    """`gaussian_mean` of several functions at several variances, from shared evaluations of the functions.

    Args:
        g: x `[point]` -> `[point]` or `[function, point]`.
        variances: `[variance]`, each at least 0.
        breaks: the `breaks` of an earlier result for the same functions, or places known beforehand.

    Raises:
        ValueError: for a negative variance.
    """
    wanted = np.asarray(variances, dtype=np.float64)
    if np.any(wanted < 0):
        raise ValueError(f"a variance cannot be negative: {wanted.min()}")
    known = np.asarray(breaks, dtype=np.float64)
    order = np.argsort(wanted, kind="stable")
    proper = order[(wanted[order] > 0) & np.isfinite(wanted[order])]
    found = {}
    if proper.size < wanted.size:
        at_zero = _values(g, np.zeros(1))[:, 0]
        found = {index: at_zero if wanted[index] == 0 else at_zero * math.nan for index in range(wanted.size)}
    for start in range(0, proper.size, _CHUNK):
        chunk = proper[start : start + _CHUNK]
        values, known = _integrate(g, np.sqrt(wanted[chunk]), known)
        found |= dict(zip(chunk.tolist(), values, strict=True))
    return Means(np.stack([found[index] for index in range(wanted.size)]), known)


def _values(g: Integrand, x: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        found = np.atleast_2d(np.asarray(g(x), dtype=np.float64))
    return np.broadcast_to(found, (found.shape[0], x.size))


def _integrate(g: Integrand, deviations: FloatArray, breaks: FloatArray) -> tuple[FloatArray, FloatArray]:
    edges = _edges(deviations, breaks)
    panels = _evaluate(g, deviations, edges[:-1], edges[1:], np.zeros(edges.size - 1))
    found = [breaks]
    while True:
        bound = TOLERANCE * np.abs(panels.integrals).sum(axis=2, keepdims=True)
        middle = panels.left + (panels.right - panels.left) / 2
        wide = (middle > panels.left) & (middle < panels.right) & (panels.bisections < _MAX_BISECTIONS)
        bad = np.any(panels.errors > bound, axis=(0, 1)) & wide
        if not bad.any() or bad.size + bad.sum() > _MAX_PANELS:
            break
        left, middle, right = panels.left[bad], middle[bad], panels.right[bad]
        deeper = panels.bisections[bad] + 1
        halves = _evaluate(g, deviations, np.append(left, middle), np.append(middle, right), np.append(deeper, deeper))
        good = np.all(halves.errors <= bound, axis=(0, 1)).reshape(2, -1).all(axis=0) & (deeper > _BREAK_BISECTIONS)
        found += [left[good], middle[good], right[good]]
        panels = panels.select(~bad).join(halves)
    return panels.total(), np.unique(np.concatenate(found))


def _edges(deviations: FloatArray, breaks: FloatArray) -> FloatArray:
    """Edges of the first panels, in the argument x: even for the largest deviation, geometric below it."""
    largest, smallest = deviations[-1], _SMALLEST * min(deviations[0], 1.0)
    middle = max(min(largest, _MIDDLE), smallest)
    fast = largest * 0.125 ** np.arange(math.ceil(math.log2(largest / middle) / 3) + 1)
    slow = fast[-1] * 0.5 ** np.arange(1, math.ceil(math.log2(fast[-1] / smallest)) + 1)
    positive = np.concatenate([largest * _Z_EDGES, fast, slow])
    inside = breaks[np.abs(breaks) < positive.max()]
    return np.unique(np.concatenate([-positive, positive, inside]))


@dataclass(frozen=True)
class _Panels:
    """Panels `[panel]` from `left` to `right` with integrals, errors and `lost` `[variance, function, panel]`.

    `lost` is the part of the integral that comes from values beyond float64, taken at the bound of what it holds.
    """

    left: FloatArray
    right: FloatArray
    bisections: FloatArray
    integrals: FloatArray
    errors: FloatArray
    lost: FloatArray

    def select(self, chosen: NDArray[np.bool_]) -> _Panels:
        return _Panels(*(getattr(self, field)[..., chosen] for field in self.__dataclass_fields__))

    def join(self, other: _Panels) -> _Panels:
        pairs = ((getattr(self, field), getattr(other, field)) for field in self.__dataclass_fields__)
        return _Panels(*(np.concatenate(pair, axis=-1) for pair in pairs))

    def total(self) -> FloatArray:
        """The sums over panels `[variance, function]`, NaN where unknown, infinite where they overflow."""
        total, size = self.integrals.sum(axis=-1), np.abs(self.integrals).sum(axis=-1)
        unknown = ~(self.errors.sum(axis=-1) <= UNRESOLVED * size)
        overflow = self.lost.sum(axis=-1) > _LOST * size
        return np.where(overflow, np.copysign(math.inf, total), np.where(unknown, math.nan, total))


def _evaluate(
    g: Integrand, deviations: FloatArray, left: FloatArray, right: FloatArray, bisections: FloatArray
) -> _Panels:
    half = (right - left) / 2
    x = left[:, None] + half[:, None] * (1 + _NODES)
    inset = half * 2.0**-50
    x[:, 0] = np.maximum(np.nextafter(left, right), left + inset)
    x[:, -1] = np.minimum(np.nextafter(right, left), right - inset)
    values = _values(g, x.ravel()).reshape(-1, *x.shape)
    beyond = np.abs(values) > _HUGE
    if beyond.any():
        values = np.where(beyond, np.copysign(_HUGE, values), values)
    with np.errstate(under="ignore", over="ignore"):
        z = x / deviations[:, None, None]
        measure = np.exp(-0.5 * z * z) * (half[:, None] / deviations[:, None, None] / math.sqrt(2 * math.pi))
        integrals = _contract(values, measure * _FINE)
        differences = np.abs(_contract(values, measure * (_FINE - _COARSE)))
        errors = np.maximum(differences, np.abs(_contract(values, measure * _ROUGHNESS)))
        lost = _contract(np.abs(values) * beyond, measure * _FINE) if beyond.any() else np.zeros_like(integrals)
    return _Panels(left, right, bisections, integrals, errors, lost)


def _contract(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Sums over nodes: `[function, panel, node]` x `[variance, panel, node]` -> `[variance, function, panel]`."""
    sums: FloatArray = np.matmul(weights.transpose(1, 0, 2), values.transpose(1, 2, 0)).transpose(1, 2, 0)
    return sums


def _clenshaw_curtis(intervals: int) -> FloatArray:
    """Weights on [-1, 1] at the nodes -cos(pi k / intervals), k = 0..intervals (even)."""
    angle = np.arange(intervals + 1) * math.pi / intervals
    j = np.arange(1, intervals // 2 + 1)
    factor = np.where(j == intervals // 2, 1.0, 2.0) / (4.0 * j * j - 1)
    weights: FloatArray = (1 - np.cos(2 * np.outer(angle, j)) @ factor) * 2 / intervals
    weights[[0, -1]] /= 2
    return weights


_NODES = -np.cos(np.arange(_INTERVALS + 1) * math.pi / _INTERVALS)
_FINE = _clenshaw_curtis(_INTERVALS)
_COARSE = np.zeros(_INTERVALS + 1)
_COARSE[::2] = _clenshaw_curtis(_INTERVALS // 2)
# The last odd Chebyshev coefficient: around a kink both rules can be wrong by the same amount, but not with this at 0.
_ROUGHNESS = np.cos(np.arange(_INTERVALS + 1) * math.pi * (_INTERVALS - 1) / _INTERVALS) * 2 / _INTERVALS
_ROUGHNESS[[0, -1]] /= 2
