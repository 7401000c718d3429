"""How deep a network can be before its gradients are gone: the limit of infinite depth and its depth scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gradlab.theory.meanfield import NORM_EPS, Norm
from gradlab.theory.moments import Nonlinearity, moments_of
from gradlab.theory.variances import LayerLaw

TRAINABLE_DEPTH_SCALES = 6.0
"""Networks were seen to train up to about this many depth scales (Schoenholz et al. 2017)."""

FURTHEST = 1e12
"""Beyond this variance a pre-activation counts as running to infinity, below its inverse as running to 0."""

CRITICAL = 1e-4
"""|ln chi| up to which a network counts as critical: gradients change by e over ten thousand layers."""

_STEP = 2.0
_ROOT = 1e-13  # relative
_ROUNDING = 1e-12  # what |ln chi| may owe to rounding where chi is 1


@dataclass(frozen=True)
class Asymptote:
    """The limit of infinite depth.

    Attributes:
        q: fixed point of the variance of z (batch norm: of its variance over the batch); None where it runs to
            infinity. Where every q is a fixed point (relu with He's init) it is the one where the search began.
        chi: factor of the squared gradient per layer there: below 1 it vanishes, above 1 it explodes.
        xi: 1 / |ln chi|, the number of layers over which the squared gradient changes by e; infinite at chi = 1.
    """

    q: float | None
    chi: float
    xi: float

    @property
    def phase(self) -> Literal["ordered", "critical", "chaotic"] | None:
        """Ordered: gradients vanish and examples become alike; chaotic: they explode and examples part."""
        if math.isnan(self.chi):
            return None
        if abs(math.log(self.chi or math.ulp(0.0))) <= CRITICAL:
            return "critical"
        return "ordered" if self.chi < 1 else "chaotic"


def depth_scale(chi: float) -> float:
    """xi = 1 / |ln chi|, in layers (Schoenholz et al. 2017, for chi < 1): infinite at 1, 0 at 0, NaN at NaN."""
    if chi <= 0 or math.isinf(chi):
        return 0.0
    rate = abs(math.log(chi))
    return math.inf if rate <= _ROUNDING else 1 / rate


def trainable(log10_gradient_ratio: float) -> bool:
    """Whether the squared gradient changes by no more than e^6 between the last hidden layer and the first.

    At a constant factor chi per layer this is depth <= 6 xi, up to which networks were seen to train (Schoenholz et
    al. 2017); with the network's own factors it holds for shallow ones, too, which never reach the limit.
    """
    return abs(2 * log10_gradient_ratio * math.log(10)) <= TRAINABLE_DEPTH_SCALES


def asymptote(
    nonlinearity: Nonlinearity, law: LayerLaw, norm: Norm = "none", residual: bool = False, start: float = 1.0
) -> Asymptote:
    """The limit of infinite depth of a network whose hidden layers all follow `law` (borders of images left out).

    Without skip connections, the first fixed point that the variance meets on its way from `start` in the
    direction of its first step, between 1e-12 and 1e12. With them the variance grows for ever: chi is that at
    1e12, which behind a norm, or with a bounded activation, is 1: gradients change by a power of depth.
    """
    moments = moments_of(nonlinearity)
    bias2 = 0.0 if norm == "batch" else law.sigma_b2

    def layer(variance: float) -> tuple[float, float]:
        """The variance one layer on, and the factor of the squared gradient."""
        scale2 = 1.0 if norm == "none" else 1 / (variance + NORM_EPS)
        means = moments(np.array([variance * scale2]))
        second = means.f2 - means.f**2 if norm == "batch" else means.f2
        return law.sigma_w2 * float(second[0]) + bias2, law.sigma_w2 * scale2 * float(means.df2[0])

    q = None if residual else _fixed_point(lambda variance: layer(variance)[0], start)
    chi = residual + layer(FURTHEST if q is None else max(q, 1 / FURTHEST))[1]
    return Asymptote(q, chi, depth_scale(chi))


def _fixed_point(grown: Callable[[float], float], start: float) -> float | None:
    """The first variance with grown(v) = v on the way from `start`: 0 below 1e-12, None beyond 1e12 (or at NaN)."""
    change = grown(start) - start
    if abs(change) <= _ROOT * start:
        return start
    direction = math.copysign(1.0, change)
    factor = _STEP if change > 0 else 1 / _STEP
    near, far = start, start * factor
    while (grown(far) - far) * direction > -_ROOT * far:
        if far < 1 / FURTHEST:
            return 0.0
        if far > FURTHEST:
            return None
        near, far = far, far * factor
    if math.isnan(grown(far)):
        return None
    while abs(far - near) > _ROOT * near:
        middle = math.sqrt(near * far)
        if (grown(middle) - middle) * direction > 0:
            near = middle
        elif middle in (near, far):
            break
        else:
            far = middle
    return far
