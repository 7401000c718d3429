"""The statistics of gradients and weights, by the definitions of docs/statistics.md.

Norms are collected layer by layer, as a backward pass comes by, and made into statistics of all layers at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.engine.alignment import aligned
from gradlab.engine.layout import LayerParameters, Layout
from gradlab.engine.passes import Passes
from gradlab.engine.scratch import Scratch
from gradlab.engine.snapshot import Snapshot
from gradlab.engine.tasks import loss_signal

Statistics = dict[str, Tensor]
"""Statistic -> values [layer, trial], float64; the output layer is the last row, NaN where a trial lacks a layer."""

_TINY, _HUGE = 1e-120, 1e120
"""Between these, squares neither underflow nor overflow in float64, nor do sums of many."""

_TINY32, _HUGE32 = 1e-15, 1e15
"""The same for float32."""

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

_PARTS = ("weight", "bias", "gain", "shift", "delta")


class GradientNorms:
    """The norms of one backward pass: of the gradients by each layer's parameters and pre-activations.

    Attributes:
        of: weight, bias, gain, shift or delta -> [layer, trial], in the type of the pass, divided by 2^exponents; NaN
            where a trial lacks a layer, 0 where nothing is normalised.
        exponents: [layer, trial].
        zeros, non_finite: entries of the weights' float32 gradient that are 0 though they should not be, and that are
            NaN or infinite, [layer, trial].
    """

    def __init__(self, layout: Layout, examples: int, like: Tensor) -> None:
        self.layout, self._examples = layout, examples
        shape = (len(layout.blocks), len(layout.depths))
        self.of = {name: like.new_full(shape, 0.0 if name in ("gain", "shift") else math.nan) for name in _PARTS}
        self._found: set[str] = set()
        self.exponents = torch.zeros(shape, dtype=torch.long, device=like.device)
        self.zeros, self.non_finite = torch.zeros((2, *shape), dtype=torch.float64, device=like.device)

    def add(self, index: int, delta: Tensor, gradient: LayerParameters) -> None:
        """Note a layer's norms: of d loss / d z [trial, row, unit] and of the gradients by its parameters."""
        parts = zip(_PARTS, (gradient.weight, gradient.bias, gradient.gain, gradient.shift, delta), strict=True)
        for name, tensor in parts:
            if tensor is not None:
                norm_into(self.of[name][index, : len(tensor)], tensor)
                self._found.add(name)

    def statistics(self) -> tuple[Statistics, Tensor]:
        """The statistics of gradients, and the norm over all parameters, [trial]."""
        norms = {name: values.double() for name, values in self.of.items()}
        if self.layout.shape.norm == "batch":
            # The batch's mean takes a bias out again: what is left of its gradient is rounding.
            hidden = norms["bias"][:-1]
            hidden.masked_fill_(torch.isfinite(hidden), 0.0)
        delta = norms["delta"] * math.sqrt(self._examples)
        counts = torch.tensor([block.weight_count for block in self.layout.blocks], device=delta.device)
        statistics = {
            "weight_grad_norm": self._scaled(norms["weight"]),
            "log10_weight_grad_norm": self._log10(norms["weight"]),
            "bias_grad_norm": self._scaled(norms["bias"]),
            "delta_rms": self._scaled(delta),
            "log10_delta_rms": self._log10(delta),
            "float32_zero_fraction": self.zeros / counts[:, None],
            "non_finite": self.non_finite,
        }
        parts = [name for name in _PARTS[:-1] if name in self._found]
        return statistics, _over_all([self._scaled(norms[name]) for name in parts], self.layout.presence(delta))

    def _scaled(self, norms: Tensor) -> Tensor:
        half = self.exponents // 2
        return norms * power_of_two(half) * power_of_two(self.exponents - half)

    def _log10(self, norms: Tensor) -> Tensor:
        logarithms = aligned(torch.log10, norms.reshape(1, -1)).view(norms.shape)
        return logarithms + self.exponents.double() * math.log10(2)


def measure_gradients(
    stack: Snapshot, x: Tensor, y: Tensor, seen_by_float32: Sequence[LayerParameters]
) -> tuple[Statistics, Tensor]:
    """Gradient statistics of every layer on a minibatch, in float64, and the norm over all parameters, [trial].

    Each trial's signal is, on its way back, multiplied by the power of two that brings it near 1. Backpropagation is
    linear in the signal from above, so no digit is lost at any depth; what was divided out is kept.

    Args:
        x, y: the minibatch, [trial, example, ...].
        seen_by_float32: the gradients that training computed, for what float32 lost of them.
    """
    layers = stack.layers64()
    gradients = stack.layout.views(torch.empty(stack.layout.size, dtype=torch.float64, device=x.device))
    passes = Passes(stack.network, layers, gradients, exact=True)
    signal = loss_signal(stack.kind, passes.forward(x.double()), y) / x.shape[1]
    norms = GradientNorms(stack.layout, x.shape[1], signal)

    def rescale(index: int, signal: Tensor) -> None:
        norms.exponents[: index + 1, : len(signal)] += _rescale(signal)

    def done(index: int, delta: Tensor) -> None:
        norms.add(index, delta, gradients[index])
        own = index if index < len(gradients) - 1 else -1
        seen, true = seen_by_float32[own].weight, gradients[index].weight
        norms.zeros[index, : len(seen)] = ((seen == 0) & (true != 0)).sum((1, 2)).double()
        norms.non_finite[index, : len(seen)] = (~torch.isfinite(seen)).sum((1, 2)).double()

    passes.backward(signal, done, rescale)
    return norms.statistics()


def _rescale(signal: Tensor) -> Tensor:
    """Bring each trial's signal [trial, row, unit] near 1, in place; the power of two that divided it, [trial]."""
    largest = torch.linalg.vector_norm(signal, ord=math.inf, dim=(1, 2))
    usable = torch.isfinite(largest) & (largest > 0)
    exponent = torch.where(usable, torch.frexp(largest).exponent, 0).long()
    # In two steps, since the inverse of a very small number's power of two is out of range.
    half = exponent // 2
    signal *= power_of_two(-half)[:, None, None]
    signal *= power_of_two(half - exponent)[:, None, None]
    return exponent


def parameter_sizes(layout: Layout, layers: Sequence[LayerParameters]) -> Tensor:
    """The norms of each layer's float32 weights and biases as they come, [2, layer, trial], float64."""
    table = layers[0].weight.new_full((2, len(layout.blocks), len(layout.depths)), math.nan)
    for index, layer in enumerate(layers):
        norm_into(table[0, index, : len(layer.weight)], layer.weight)
        norm_into(table[1, index, : len(layer.bias)], layer.bias)
    return table.double()


def measure_weights(layout: Layout, sizes: Tensor, before: Tensor, after: Tensor, scratch: Scratch) -> Statistics:
    """`weight_norm` before the update and `update_ratio` of every layer.

    Args:
        sizes: the weights' norms before it, as they came, [layer, trial].
        before, after: flat float32 buffers.
    """
    changes = torch.full((len(layout.blocks), len(layout.depths)), math.nan, device=before.device)
    pairs = [(old.weight, new.weight) for old, new in zip(layout.views(before), layout.views(after), strict=True)]
    for index, (old, new) in enumerate(pairs):
        norm_into(changes[index, : len(old)], torch.sub(new, old, out=scratch.take("change", *old.shape)))
    size, change = sizes.clone(), changes.double()
    doubtful = ~((size > _TINY32) & (size < _HUGE32) & (change > _TINY32) & (change < _HUGE32)) & layout.presence(size)
    for index in torch.nonzero(doubtful.any(1)).flatten().tolist():
        old, new = (weight.double() for weight in pairs[index])
        own = doubtful[index, : len(old)]
        for values, weight in ((size, old), (change, new - old)):
            values[index, : len(old)] = torch.where(own, scaled_norm(weight), values[index, : len(old)])
    return {"weight_norm": size, "update_ratio": change / size}


def norm_into(out: Tensor, tensor: Tensor) -> None:
    """The Euclidean norm over all but the first dimension, [trial]: safe in float64, of float32 as it comes."""
    if tensor.dtype == torch.float64:
        out.copy_(scaled_norm(tensor))
    else:
        torch.linalg.vector_norm(tensor, dim=tuple(range(1, tensor.ndim)), out=out)


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


def _over_all(norms: Sequence[Tensor], presence: Tensor) -> Tensor:
    """The norm over all parameters, [trial], from those of the pieces, [layer, trial] each, where trials have a layer.

    Added one by one, so that layers that a trial lacks don't change how its numbers are grouped.
    """
    rows = torch.cat([piece.where(presence, 0.0) for piece in norms])
    greatest = rows.amax(0)
    unit = torch.where((greatest > 0) & torch.isfinite(greatest), greatest, 1.0)
    total = torch.zeros_like(greatest)
    for row in rows:
        total += (row / unit).square()
    return total.sqrt() * unit


def replace_trials(found: Statistics, exact: Statistics, trials: Sequence[int]) -> None:
    """Put the statistics of some trials, measured by themselves, in the place of those that were found for all."""
    for name, values in exact.items():
        hidden = len(values) - 1
        found[name][:hidden, trials] = values[:-1]
        found[name][-1, trials] = values[-1]


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
