"""The statistics of gradients and weights, by the definitions of docs/reference.md.

Training runs in float32, as users' trainings do. What is recorded is measured beside it, in float64, from the same
weights and minibatch: so a network that amplifies rounding (deep in the chaotic phase, perturbations grow as fast as
gradients explode) is measured right, too, and so is a gradient that float32 has long lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradlab.engine.alignment import aligned
from gradlab.engine.layout import LayerParameters, Layout
from gradlab.engine.network import HiddenLayer
from gradlab.engine.snapshot import Snapshot
from gradlab.engine.tasks import loss_signal

Statistics = dict[str, Tensor]
"""Statistic -> values [layer, trial], float64; the output layer is the last row, NaN where a trial lacks a layer."""

_TINY, _HUGE = 1e-120, 1e120
"""Between these, squares neither underflow nor overflow in float64, nor do sums of many."""


GRADIENT_STATISTICS = (
    "weight_grad_norm",
    "log10_weight_grad_norm",
    "bias_grad_norm",
    "delta_rms",
    "log10_delta_rms",
    "float32_zero_fraction",
    "non_finite",
)
WEIGHT_STATISTICS = ("weight_norm", "update_ratio")


class Rescale(torch.autograd.Function):
    """The identity forward; backward, each trial's signal is multiplied by the power of two that brings it near 1.

    Backpropagation is linear in the signal from above, so no digit is lost at any depth; `exponents[layer]` keeps
    what was divided out, [trial], as powers of two.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, layer: int, exponents: dict[int, Tensor]) -> Tensor:
        """`h` itself."""
        ctx.layer, ctx.exponents = layer, exponents
        return h.view_as(h)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The signal, rescaled."""
        (signal,) = gradients
        largest = torch.linalg.vector_norm(signal, ord=math.inf, dim=(1, 2))
        usable = torch.isfinite(largest) & (largest > 0)
        exponent = torch.where(usable, torch.frexp(largest).exponent, 0).long()
        ctx.exponents[ctx.layer] = exponent
        # In two steps, since the inverse of a very small number's power of two is out of range.
        half = exponent // 2
        return signal * power_of_two(-half)[:, None, None] * power_of_two(half - exponent)[:, None, None], None, None


def measure_gradients(
    stack: Snapshot, x: Tensor, y: Tensor, seen_by_float32: Sequence[LayerParameters]
) -> tuple[Statistics, Tensor]:
    """Gradient statistics of every layer on a minibatch, and the norm over all parameters, [trial].

    Args:
        x, y: the minibatch, [trial, example, ...].
        seen_by_float32: the gradients that training computed, for what float32 lost of them.
    """
    layout = stack.layout
    layers = [layer.leaves() for layer in stack.layers64()]
    preactivations: list[Tensor] = []
    exponents: dict[int, Tensor] = {}

    def visit(layer: int, hidden: HiddenLayer) -> Tensor:
        preactivations.append(hidden.preactivation)
        rescaled: Tensor = Rescale.apply(hidden.activation, layer, exponents)  # type: ignore[no-untyped-call]
        return rescaled

    output = stack.network.forward(layers, x.double(), stack.moments64(), training=True, exact=True, visit=visit)
    signal = loss_signal(stack.kind, output.detach(), y) / x.shape[1]
    parameters = [layer.tensors() for layer in layers]
    flat_parameters = [tensor for own in parameters for tensor in own]
    # A sum with the signal as its slopes: autograd's own argument for them imports a compiler's symbols.
    gradients = (*torch.autograd.grad((output * signal).sum(), [*flat_parameters, *preactivations]), signal)
    of_parameters, of_preactivations = iter(gradients[: len(flat_parameters)]), gradients[len(flat_parameters) :]

    table = empty(layout, GRADIENT_STATISTICS, x.device)
    accumulated = _accumulated(layout, exponents)
    divided_out = [*accumulated, accumulated[0].new_zeros(len(layout.depths))]
    norms: list[Tensor] = []
    for index, (block, own, exponent) in enumerate(zip(layout.blocks, parameters, divided_out, strict=True)):
        own_gradients = [next(of_parameters) for _ in own]
        weight, bias, *affine = (scaled_norm(gradient) for gradient in own_gradients)
        delta = scaled_norm(of_preactivations[index]) * math.sqrt(x.shape[1])
        float32 = seen_by_float32[index].weight
        row = {
            "weight_grad_norm": _unscaled(weight, exponent),
            "log10_weight_grad_norm": _log10(weight, exponent),
            "bias_grad_norm": _unscaled(bias, exponent),
            "delta_rms": _unscaled(delta, exponent),
            "log10_delta_rms": _log10(delta, exponent),
            "float32_zero_fraction": ((float32 == 0) & (own_gradients[0] != 0)).sum((1, 2)) / block.weight_count,
            "non_finite": (~torch.isfinite(float32)).sum((1, 2)).double(),
        }
        fill(table, GRADIENT_STATISTICS, index, 0, row)
        for norm in (weight, bias, *affine):
            norms.append(norm.new_zeros(len(layout.depths)))
            norms[-1][: block.trials] = _unscaled(norm, exponent)
    return named(table, GRADIENT_STATISTICS), _over_all(norms)


def _accumulated(layout: Layout, exponents: dict[int, Tensor]) -> list[Tensor]:
    """For each hidden layer, all that was divided out of its signal from the loss down to it, [trial]."""
    total = exponents[1].new_zeros(0)
    result = []
    for layer in reversed(range(1, len(layout.blocks))):
        joining = total.new_zeros(layout.blocks[layer - 1].trials - total.shape[0])
        total = torch.cat([total, joining]) + exponents[layer]
        result.append(total)
    return result[::-1]


def measure_weights(layout: Layout, before: Tensor, after: Tensor) -> Statistics:
    """`weight_norm` before the update and `update_ratio` of every layer, from two flat float32 buffers."""
    table = empty(layout, WEIGHT_STATISTICS, before.device)
    pairs = zip(layout.views(before), layout.views(after), strict=True)
    for index, (old, new) in enumerate(pairs):
        weight = old.weight.double()
        norm, change = scaled_norm(weight), scaled_norm(new.weight - weight)
        fill(table, WEIGHT_STATISTICS, index, 0, {"weight_norm": norm, "update_ratio": change / norm})
    return named(table, WEIGHT_STATISTICS)


def scaled_norm(tensor: Tensor) -> Tensor:
    """The Euclidean norm over all but the first dimension, [trial], float64; squares don't underflow or overflow."""
    flat = tensor.flatten(1)
    plain: Tensor = torch.linalg.vector_norm(flat, dim=1)
    smallest, largest = torch.aminmax(plain)
    if float(smallest) > _TINY and float(largest) < _HUGE:
        return plain
    safe = (plain > _TINY) & (plain < _HUGE)
    greatest = torch.linalg.vector_norm(flat, ord=math.inf, dim=1)
    unit = torch.where((greatest > 0) & torch.isfinite(greatest), greatest, 1.0)
    return torch.where(safe, plain, torch.linalg.vector_norm(flat / unit[:, None], dim=1) * unit)


def _over_all(norms: Sequence[Tensor]) -> Tensor:
    """The norm over all parameters from those of the pieces, each [trial].

    Added one by one, so that the zeros of layers that a trial lacks don't change how its numbers are grouped.
    """
    greatest = torch.stack(list(norms)).amax(0)
    unit = torch.where((greatest > 0) & torch.isfinite(greatest), greatest, 1.0)
    total = torch.zeros_like(greatest)
    for norm in norms:
        total = total + (norm / unit).square()
    return total.sqrt() * unit


def empty(layout: Layout, names: Sequence[str], device: torch.device) -> Tensor:
    """A table [statistic, layer, trial] without values yet, NaN everywhere."""
    shape = (len(names), len(layout.blocks), len(layout.depths))
    return torch.full(shape, math.nan, dtype=torch.float64, device=device)


def fill(table: Tensor, names: Sequence[str], layer: int, start: int, row: Statistics) -> None:
    """Enter a layer's statistics, each [trial] from trial `start` on, into a table."""
    values = torch.stack([row[name] for name in names])
    table[:, layer, start : start + values.shape[1]] = values


def named(table: Tensor, names: Sequence[str]) -> Statistics:
    """The table as statistics by name."""
    return dict(zip(names, table, strict=True))


def power_of_two(exponent: Tensor) -> Tensor:
    """2^exponent exactly, float64, for integers that float64's normal range holds, else the nearest such power.

    Made from its bits: `exp2` rounds, and not alike for the last elements of a buffer.
    """
    return ((exponent.clamp(-1022, 1023) + 1023) << 52).view(torch.float64)


def _unscaled(norm: Tensor, exponent: Tensor) -> Tensor:
    half = exponent // 2
    return norm * power_of_two(half) * power_of_two(exponent - half)


def _log10(norm: Tensor, exponent: Tensor) -> Tensor:
    return aligned(torch.log10, norm[:, None])[:, 0] + exponent.double() * math.log10(2)
