"""Activations: function, derivative, where the derivative is exactly 0, and its supremum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from gradlab.config.choices import Choice
from gradlab.engine import kernels, regions
from gradlab.engine.kernels import Kernel
from gradlab.engine.regions import Region
from gradlab.engine.user_code import RAISED, describe, load_function
from gradlab.errors import SettingError

Elementwise: TypeAlias = Callable[[Tensor], Tensor]

SATURATION = 0.01
"""A unit is saturated on an example where |phi'| is below this share of sup |phi'|."""

_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772
_SUP_GELU = (1 + math.erf(1)) / 2 + math.exp(-1) / math.sqrt(math.pi)  # Phi(sqrt 2) + sqrt(2) phi(sqrt 2)
_SUP_SILU = 1.0998393194498555  # at the root z = 2.399357... of silu''
_NOT_POSITIVE = regions.at_most(0.0)
_SUP_GRID = (-50.0, 50.0, 200_001)


@dataclass(frozen=True)
class Activation:
    """An activation phi with what the measurements need to know about it.

    Attributes:
        label: as tables show it.
        function: phi, elementwise, differentiable by autograd.
        derivative: phi', from z itself, so that it keeps its digits where phi saturates.
        sup_derivative: sup |phi'| over the reals (over [-50, 50] for a user's function).
        zero_derivative: where phi'(z) is exactly 0; None where phi' is 0 on no interval.
        saturated: where |phi'(z)| < `SATURATION` sup |phi'|, solved for z where it can be; None for never.
        kernel: as training computes it.
    """

    label: str
    function: Elementwise
    derivative: Elementwise
    sup_derivative: float
    zero_derivative: Region | None
    saturated: Region | None
    kernel: Kernel


def make_activation(choice: Choice, function: Elementwise | None = None) -> Activation:
    """The activation that `choice` names; `function` is the loaded function where the choice is the user's own."""
    if function is not None:
        return _from_function(choice.label, function)
    return _MAKERS[choice.name](choice.label, **dict(choice.parameters))


def load_activation(choice: Choice, directory: Path) -> Activation:
    """The activation that `choice` names; a function of the user's own is looked for relative to `directory`.

    Raises:
        SettingError: the function is missing, raises, or isn't elementwise.
    """
    if not choice.is_function:
        return make_activation(choice)
    function = load_function("model.activation", choice.name, directory)
    try:
        activation = make_activation(choice, function)
        values = function(torch.zeros(3, 2))
    except RAISED as error:
        raise SettingError("model.activation", f"{choice.name} raised {describe(error)}", choice.name) from error
    if not isinstance(values, torch.Tensor) or values.shape != (3, 2):
        raise SettingError("model.activation", f"{choice.name} must map a tensor to one of the same shape", choice.name)
    return activation


def _from_function(label: str, function: Elementwise) -> Activation:
    def derivative(z: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            return torch.autograd.grad(function(leaf).sum(), leaf)[0]

    low, high, count = _SUP_GRID
    sup = derivative(torch.linspace(low, high, count, dtype=torch.float64)).abs().max().item()
    return Activation(
        label,
        function,
        derivative,
        sup,
        regions.where(lambda z: derivative(z) == 0),
        _below_saturation(derivative, sup),
        kernels.of_function(function),
    )


def _below_saturation(derivative: Elementwise, sup: float) -> Region:
    return regions.where(lambda z: derivative(z).abs() < SATURATION * sup)


def _linear(label: str) -> Activation:
    return Activation(label, lambda z: z, torch.ones_like, 1.0, None, None, kernels.linear())


def _sigmoid(label: str) -> Activation:
    # sigmoid' = s (1 - s) = SATURATION / 4 at s = (1 + sqrt(1 - SATURATION)) / 2.
    share = (1 + math.sqrt(1 - SATURATION)) / 2
    edge = math.log(share / (1 - share))
    return Activation(
        label,
        torch.sigmoid,
        lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
        0.25,
        None,
        regions.beyond(edge),
        kernels.sigmoid(),
    )


def _tanh(label: str) -> Activation:
    edge = math.acosh(1 / math.sqrt(SATURATION))
    return Activation(
        label, torch.tanh, lambda z: torch.cosh(z).pow(-2), 1.0, None, regions.beyond(edge), kernels.tanh()
    )


def _relu(label: str) -> Activation:
    return Activation(
        label, torch.relu, lambda z: (z > 0).to(z.dtype), 1.0, _NOT_POSITIVE, _NOT_POSITIVE, kernels.relu()
    )


def _leaky_relu(label: str, negative_slope: float) -> Activation:
    sup = max(1.0, abs(negative_slope))
    return Activation(
        label,
        lambda z: F.leaky_relu(z, negative_slope),
        lambda z: torch.full_like(z, negative_slope).masked_fill_(z > 0, 1.0),
        sup,
        _NOT_POSITIVE if negative_slope == 0 else None,
        _saturated_sides(1.0, negative_slope, sup),
        kernels.leaky_relu(negative_slope),
    )


def _saturated_sides(above: float, below: float, sup: float) -> Region | None:
    """Saturation of a function with slope `above` for z > 0 and `below` otherwise."""
    if abs(below) < SATURATION * sup:
        return _NOT_POSITIVE
    return regions.above(0.0) if above < SATURATION * sup else None


def _elu(label: str, alpha: float) -> Activation:
    return Activation(
        label,
        lambda z: F.elu(z, alpha),
        lambda z: torch.where(z > 0, 1.0, alpha * torch.exp(z.clamp(max=0))),
        max(1.0, abs(alpha)),
        _NOT_POSITIVE if alpha == 0 else None,
        _saturated_tail(1.0, alpha),
        kernels.elu(alpha),
    )


def _selu(label: str) -> Activation:
    return Activation(
        label,
        F.selu,
        lambda z: _SELU_SCALE * torch.where(z > 0, 1.0, _SELU_ALPHA * torch.exp(z.clamp(max=0))),
        _SELU_SCALE * _SELU_ALPHA,
        None,
        _saturated_tail(1.0, _SELU_ALPHA),
        kernels.elu(_SELU_ALPHA, _SELU_SCALE),
    )


def _saturated_tail(above: float, alpha: float) -> Region | None:
    """Saturation of a function with slope `above` for z > 0 and alpha exp(z) otherwise, alpha not huge."""
    limit = SATURATION * max(above, abs(alpha))
    if abs(alpha) < limit:
        return _NOT_POSITIVE
    if above < limit:
        return _below_saturation(
            lambda z: torch.where(z > 0, above, alpha * torch.exp(z.clamp(max=0))), limit / SATURATION
        )
    edge = math.log(limit / abs(alpha))
    return regions.below(edge)


def _gelu(label: str) -> Activation:
    def derivative(z: Tensor) -> Tensor:
        density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        # erfc keeps the digits of a small Phi, which torch.special.ndtr doesn't.
        return 0.5 * torch.erfc(-z / math.sqrt(2)) + z * density

    return Activation(label, F.gelu, derivative, _SUP_GELU, None, _saturated_dip(derivative, _SUP_GELU), kernels.gelu())


def _silu(label: str) -> Activation:
    def derivative(z: Tensor) -> Tensor:
        gate = torch.sigmoid(z)
        return gate * (1 + z * (1 - gate))

    return Activation(label, F.silu, derivative, _SUP_SILU, None, _saturated_dip(derivative, _SUP_SILU), kernels.silu())


def _saturated_dip(derivative: Elementwise, sup: float) -> Region:
    """Saturation of a function whose slope falls from 0 into a dip, left to right, and rises through 0 for z < 0."""

    def crossing(slope: float, left: float, right: float) -> float:
        """Where the derivative is `slope`, between two places on either side of that, by bisection."""

        def exceeds(z: float) -> bool:
            return float(derivative(torch.tensor(z, dtype=torch.float64))) > slope

        rises = exceeds(right)
        while True:
            middle = (left + right) / 2
            if middle in (left, right):
                return middle
            if exceeds(middle) == rises:
                right = middle
            else:
                left = middle

    grid = torch.linspace(_SUP_GRID[0], 0.0, 5001, dtype=torch.float64)
    dip, limit = float(grid[derivative(grid).argmin()]), SATURATION * sup
    return regions.below_or_between(
        crossing(-limit, _SUP_GRID[0], dip), crossing(-limit, dip, 0.0), crossing(limit, dip, 0.0)
    )


def _softplus(label: str, beta: float) -> Activation:
    edge = -math.log(1 / SATURATION - 1) / beta
    return Activation(
        label,
        lambda z: F.softplus(z, beta),
        lambda z: torch.sigmoid(beta * z),
        1.0,
        None,
        regions.below(edge),
        kernels.softplus(beta),
    )


def _hardtanh(label: str, min_val: float, max_val: float) -> Activation:
    outside = regions.outside(min_val, max_val)
    return Activation(
        label,
        lambda z: F.hardtanh(z, min_val, max_val),
        lambda z: ((z > min_val) & (z < max_val)).to(z.dtype),
        1.0,
        outside,
        outside,
        kernels.hardtanh(min_val, max_val),
    )


_MAKERS: dict[str, Callable[..., Activation]] = {
    "linear": _linear,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _silu,
    "softplus": _softplus,
    "hardtanh": _hardtanh,
}
