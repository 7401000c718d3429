"""Backpropagation in float64 with a running exponent: gradients far below, or above, what a float64 can hold.

A backward pass is linear in the signal that comes from above. So the signal may be multiplied by a power of two before
each layer, which is exact, as long as somebody keeps the exponent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.oracles.network import PlainNetwork

LARGEST_SHIFT = 1000
"""Exponent of two that still is a normal float64 number with either sign."""


@dataclass(frozen=True)
class ScaledGradient:
    """One layer's gradients; the true ones are these times 2^exponent.

    Attributes:
        weight: d sum_i(ell_i) / d W_l, without meaning where examples have exponents of their own.
        bias: d sum_i(ell_i) / d b_l, likewise.
        delta: row i is d sum_j(ell_j) / d z_l of example i: without batch norm in train mode, d ell_i / d z_l.
        exponent: int64 `[example]`.
    """

    weight: Tensor
    bias: Tensor
    delta: Tensor
    exponent: Tensor


def rescaled_backward(
    network: PlainNetwork, x: Tensor, signal: Tensor, *, per_example: bool = False
) -> list[ScaledGradient]:
    """Backpropagate `signal` = d ell_i / d output through a network of `in_float64`, layers 1 to D+1.

    `per_example` gives every example an exponent of its own, so that none is lost beside another; without it all
    share one, and sums over examples are right.
    """
    with torch.no_grad():
        trace = network.trace(x)
    found: list[ScaledGradient] = []
    exponent = torch.zeros(len(x), dtype=torch.int64)
    for layer in range(network.depth + 1, 0, -1):
        signal, exponent = _balance(signal, exponent, per_example)
        delta = signal
        if layer <= network.depth:
            delta = signal * network.phi.slope(trace.phi_inputs[layer - 1])
            (delta,) = _pull_back(network.norms[layer - 1], delta, trace.preactivations[layer - 1])
        below, weight, bias = _pull_back(
            lambda h, *_, number=layer: network.preactivation(number, h),
            delta,
            trace.inputs[layer - 1],
            *network.weights_and_biases[layer - 1],
        )
        found.append(ScaledGradient(weight, bias, delta, exponent))
        skips = network.residual and 2 <= layer <= network.depth
        signal = below + signal if skips else below
    return found[::-1]


def log10_norm(values: Tensor, exponent: int = 0) -> float | None:
    """log10 of the Euclidean norm of values * 2^exponent; None for an exact 0."""
    size = norm(values)
    return None if size == 0 else math.log10(size) + exponent * math.log10(2)


def norm(values: Tensor) -> float:
    """Euclidean norm in float64, whose squares neither underflow nor overflow."""
    largest = values.double().abs().max()
    if largest == 0 or not largest.isfinite():
        return float(largest)
    return float(largest * torch.linalg.vector_norm(values.double() / largest))


def _pull_back(function: Callable[..., Tensor], signal: Tensor, *arguments: Tensor) -> tuple[Tensor, ...]:
    """The gradient of <signal, function(first argument)> in all arguments; parameters are passed as they are."""
    first = arguments[0].detach().requires_grad_()
    with torch.enable_grad():
        value = function(first, *arguments[1:])
    return torch.autograd.grad(value, (first, *arguments[1:]), signal)


def _balance(signal: Tensor, exponent: Tensor, per_example: bool) -> tuple[Tensor, Tensor]:
    """The same signal with its largest entry (of each example, or of all) between 1/2 and 1."""
    largest = signal.abs().flatten(1).amax(dim=1)
    if not per_example:
        largest = largest.max().expand_as(largest)
    shift = torch.frexp(largest).exponent.clamp(-LARGEST_SHIFT, LARGEST_SHIFT)
    shift = torch.where(largest.isfinite(), shift, torch.zeros_like(shift)).long()
    factor = torch.pow(2.0, -shift.double()).view(-1, *[1] * (signal.dim() - 1))
    return signal * factor, exponent + shift
