"""Mean-field theory of gradients in wide networks at initialisation: how they change from layer to layer.

Write u_l = s_l z_l for phi's own input (s_l = 1 without norm), p_l = E[h_l^2], m_l = E[h_l], and G_l for the mean
square of dL/dh_l. In the limit of infinite width z_l is Gaussian over units, and

    Var z_{l+1} = sigma_w^2 p_l + sigma_b^2,      a_l = s_l^2 E[phi'(u_l)^2],
    G_l = sigma_w^2 a_{l+1} G_{l+1}  (+ G_{l+1} where a skip connection passes by),      delta_l^2 = a_l G_l

(Poole et al. 2016; Schoenholz et al. 2017; residual: Yang and Schoenholz 2017; batch norm: Yang et al. 2019;
convolutions, here with their borders: Xiao et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from gradlab.theory.moments import Nonlinearity, moments_of
from gradlab.theory.quadrature import FloatArray
from gradlab.theory.variances import LayerLaw

Norm: TypeAlias = Literal["none", "layer", "batch"]

NORM_EPS = 1e-5
"""torch's eps under the square root, in nn.LayerNorm and nn.BatchNorm alike."""


@dataclass(frozen=True)
class InputMoments:
    """What the theory needs to know of the inputs.

    Attributes:
        second_moment: mean of x^2 over examples and features.
        batch_variance: mean over features of the variance over examples; read by batch norm only.
    """

    second_moment: float
    batch_variance: float


@dataclass(frozen=True)
class Prediction:
    """Gradients of one network in the wide limit; layer 1 is nearest the input, layer D the last hidden one.

    Attributes:
        gradient_ratio: delta_rms(1) / delta_rms(D); None where the theory gives no number (0/0, NaN).
        log10_gradient_ratio: its logarithm, also where the ratio itself leaves float64; None likewise.
        gradient_decay: ratio^(1/(D-1)), the factor per layer on the way back; None at D = 1 too.
        q: mean square of the pre-activations z_l, l = 1..D (over positions, for convolutions).
        chi: delta_l^2 / delta_{l+1}^2, l = 1..D-1; NaN where that is 0/0.
    """

    gradient_ratio: float | None
    log10_gradient_ratio: float | None
    gradient_decay: float | None
    q: tuple[float, ...]
    chi: tuple[float, ...]


def predict(
    nonlinearity: Nonlinearity,
    laws: Sequence[LayerLaw],
    inputs: InputMoments,
    norm: Norm = "none",
    residual: bool = False,
    image: tuple[int, int] | None = None,
) -> Prediction:
    """The gradients of a network with hidden layers 1..D at initialisation, in the wide limit.

    Args:
        laws: of layers 1..D.
        norm, residual, image: as in `Propagation`.

    Raises:
        ValueError: without layers, or for an unknown norm.
    """
    return Propagation(nonlinearity, inputs, norm, residual, image).predict(laws)


class Propagation:
    """Signals on their way up one network; where it has been, a deeper network with the same layers goes on.

    Args:
        norm: h_l = phi(norm(z_l)). `layer`: over units (cnn: over channels and positions) of an example. `batch`:
            over the examples (and positions) of a large batch; two examples are taken as uncorrelated behind it,
            which the first layers of real data only approach (and the borders of small images: up to 5 % of
            delta_rms per layer), and gradients through the batch's own statistics are left out.
        residual: h_l = h_{l-1} + phi(norm(z_l)) for l >= 2.
        image: (H, W) of a network of 3 x 3 convolutions with padding 1 and a mean over positions on top; None for
            linear layers. The inputs' moments are taken as the same at every position.
    """

    def __init__(
        self,
        nonlinearity: Nonlinearity,
        inputs: InputMoments,
        norm: Norm = "none",
        residual: bool = False,
        image: tuple[int, int] | None = None,
    ) -> None:
        if norm not in ("none", "layer", "batch"):
            raise ValueError(f"the norm must be none, layer or batch, not {norm!r}")
        self._moments, self._norm, self._residual = moments_of(nonlinearity), norm, residual
        self._second = np.full(image or (1,), inputs.second_moment, dtype=np.float64)
        self._mean = np.full_like(self._second, math.sqrt(max(0.0, inputs.second_moment - inputs.batch_variance)))
        self._laws: list[LayerLaw] = []
        self._q: list[float] = []
        self._gains: list[FloatArray] = []

    def predict(self, laws: Sequence[LayerLaw]) -> Prediction:
        """The gradients of the network whose hidden layers 1..D have these laws.

        Raises:
            ValueError: without layers, or where the first ones are others than those of an earlier call.
        """
        if not laws or list(laws[: len(self._laws)]) != self._laws[: len(laws)]:
            raise ValueError(f"needs a layer or more, the same as before, not {len(laws)}")
        for law in laws[len(self._laws) :]:
            self._pass(law)
        q, gains = self._q[: len(laws)], self._gains[: len(laws)]
        log_delta2 = _backward(laws, gains, self._residual)
        with np.errstate(invalid="ignore", over="ignore"):
            chi = np.exp(log_delta2[:-1] - log_delta2[1:])
            log10_ratio = float(log_delta2[0] - log_delta2[-1]) / math.log(100)
        if math.isnan(log10_ratio):
            return Prediction(None, None, None, tuple(q), tuple(chi.tolist()))
        decay = None if len(laws) == 1 else _power_of_ten(log10_ratio / (len(laws) - 1))
        return Prediction(_power_of_ten(log10_ratio), log10_ratio, decay, tuple(q), tuple(chi.tolist()))

    def _pass(self, law: LayerLaw) -> None:
        """One layer on: its q, its a `[*positions]`, and the moments of what leaves it."""
        second, mean = self._second, self._mean
        variance = law.sigma_w2 * _taps(second).mean(axis=0) + law.sigma_b2
        self._q.append(float(variance.mean()))
        if self._norm == "batch":
            variance = law.sigma_w2 * _centred_taps(second, mean)
        scale2 = 1.0 if self._norm == "none" else 1 / (float(variance.mean()) + NORM_EPS)
        means = self._moments(variance * scale2)
        self._gains.append(scale2 * means.df2)
        if self._residual and self._laws:
            second = second + means.f2 + 2 * mean * means.f
            mean = mean + means.f
        else:
            second, mean = means.f2, means.f
        self._second, self._mean = second, mean
        self._laws.append(law)


def _backward(laws: Sequence[LayerLaw], gains: Sequence[FloatArray], residual: bool) -> FloatArray:
    """ln delta_l^2 `[layer]`, up to a constant; the gradient on h_D is 1 at every position."""
    gradient2 = np.ones_like(gains[-1])
    log_scale = 0.0
    log_delta2 = np.empty(len(laws))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for index in reversed(range(len(laws))):
            delta2 = gains[index] * gradient2
            log_delta2[index] = np.log(delta2.sum()) + log_scale
            back = laws[index].sigma_w2 * _taps(delta2).mean(axis=0)
            gradient2 = back + gradient2 if residual else back
            size = gradient2.max()
            if size > 0:
                gradient2 = gradient2 / size
                log_scale += math.log(size)
    return log_delta2


def _taps(field: FloatArray) -> FloatArray:
    """What each weight of a kernel sees of a field over positions: `[1, 1]`, or `[9, H, W]` with zero padding."""
    if field.ndim == 1:
        return field[None]
    height, width = field.shape
    padded = np.pad(field, 1)
    return np.stack([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)])


def _centred_taps(second: FloatArray, mean: FloatArray) -> FloatArray:
    """E[(h - its mean over batch and positions)^2] behind each position, mean over the kernel's weights.

    A weight sees zeros beyond the border, so its mean over positions is its own.
    """
    seen, seen_mean = _taps(second), _taps(mean)
    centre = seen_mean.mean(axis=tuple(range(1, seen_mean.ndim)), keepdims=True)
    spread: FloatArray = (seen - 2 * seen_mean * centre + centre**2).mean(axis=0)
    return np.maximum(spread, 0.0)


def _power_of_ten(exponent: float) -> float:
    try:
        return float(10.0**exponent)
    except OverflowError:
        return math.inf
