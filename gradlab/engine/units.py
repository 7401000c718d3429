"""What looks at the probe show of the units of a stack, and how it is added up."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.engine.confidence import is_usual
from gradlab.engine.layout import Layout
from gradlab.engine.measure import Statistics
from gradlab.engine.quantiles import LEVELS

HIDDEN_STATISTICS = (
    "activation_mean",
    "activation_rms",
    "saturated_fraction",
    "dead_units",
    "zero_gradient_units",
)
"""Statistics of units that have an activation: none in the output layer."""

UNIT_STATISTICS = ("preactivation_rms", *HIDDEN_STATISTICS)

CANCELLATION = 50.0
"""How much smaller pre-activations may be than what they are added up from: float32 then has them to about 5e-6."""


class Chunk:
    """What one look at some examples of the probe shows of a stack, or of some of its trials.

    Attributes:
        rows: of a hidden layer.
        sums: of activations, and how many pairs are saturated, [2, layer, trial].
        norms: of pre-activations and activations, [2, layer, trial]; of the output layer, the last, of outputs alone.
        flat: in how many rows units have no slope, [layer, trial, unit].
        none_passes: in float32, in how many rows no gradient goes on down from a layer, as no unit has a slope there or
            none arrives, [layer, trial].
        none_arrives: in how many rows none arrives.
        reached: in float64: whether a gradient comes by in some row, [layer, trial, unit].
        unclear: trials of which float32 doesn't tell where a gradient comes by, [trial].
    """

    def __init__(self, layout: Layout, examples: int, like: Tensor) -> None:
        self.layout, self.rows = layout, examples * layout.shape.positions
        layers, trials = len(layout.counts), len(layout.depths)
        self.sums, self.norms = like.new_zeros(2, 2, layers + 1, trials)
        self.flat = like.new_zeros(layers, trials, layout.shape.width)
        self.none_passes, self.none_arrives = like.new_zeros(2, layers, trials)
        self.reached = torch.zeros_like(self.flat, dtype=torch.bool)
        self.unclear = torch.zeros(trials, dtype=torch.bool, device=like.device)

    @property
    def is_exact(self) -> bool:
        """Whether zeros of the gradient are followed, in float64."""
        return self.flat.dtype == torch.float64

    def units(self) -> tuple[Tensor, Tensor]:
        """Which units have a slope in some row, and which a gradient surely reaches, [layer, trial, unit]."""
        active = self.rows - self.flat
        return active > 0, self.reached if self.is_exact else self._surely_reached(active)

    def _surely_reached(self, active: Tensor) -> Tensor:
        """Which units a gradient surely reaches that arrives at every example's outputs, [layer, trial, unit].

        A unit gets one if it has a slope in more rows than those in which none arrives.

        Args:
            active: in how many rows units have a slope, [layer, trial, unit].
        """
        shape = self.layout.shape
        if shape.norm == "layer" and shape.width > 1:
            # Layer normalisation mixes an example's units.
            mixed: Tensor = (self.none_passes[:, :, None] < self.rows) & (active > 0).any(2, keepdim=True)
            return mixed.expand_as(active)
        if shape.norm == "layer":
            self.unclear[:] = True
        reached: Tensor = active > self.none_arrives[:, :, None]
        return reached


class Seen:
    """What the probe has shown of a stack so far, added up over its chunks.

    Attributes:
        sums: of activations and of saturated pairs, [2, layer, trial], float64.
        norms: of pre-activations and activations, likewise; of the output layer, the last, of outputs alone.
        alive, reached: whether phi' was not 0, whether a gradient surely came by, on any example; [layer, trial, unit].
        unclear: trials of which float32 doesn't tell where a gradient comes by, [trial].
        spread: quantiles of activations, [level, layer, trial], float64; None where they aren't asked for.
    """

    def __init__(self, layout: Layout, x: Tensor, spread: bool = False) -> None:
        self.layout, self.examples = layout, len(x)
        layers, trials = len(layout.blocks), len(layout.depths)
        self.sums, self.norms = torch.zeros(2, 2, layers, trials, dtype=torch.float64, device=x.device)
        flags = torch.zeros(2, layers - 1, trials, layout.shape.width, dtype=torch.bool, device=x.device)
        self.alive, self.reached = flags
        self.unclear = torch.zeros(trials, dtype=torch.bool, device=x.device)
        self.spread = self.sums.new_zeros(len(LEVELS), layers, trials) if spread else None

    def add(self, chunk: Chunk, trials: slice) -> None:
        """Add what a chunk has shown of some neighbouring trials, and forget it there."""
        layers = len(chunk.flat)
        alive, reached = chunk.units()
        self.alive[:layers, trials] |= alive
        self.reached[:layers, trials] |= reached
        self.unclear[trials] |= chunk.unclear
        chunk.unclear.zero_()
        for own, place in ((slice(layers), slice(layers)), (slice(layers, None), slice(-1, None))):
            self.sums[:, place, trials] += chunk.sums[:, own]
            norms = self.norms[:, place, trials]
            norms.copy_(_joined(norms, chunk.norms[:, own].double()))

    def statistics(self) -> tuple[Statistics, Tensor]:
        """The statistics, [layer, trial], and of which trials float32 can't tell them, [trial]."""
        shape, presence = self.layout.shape, self.layout.presence(self.sums)
        pairs = self.examples * shape.positions * shape.width
        (z_norm, h_norm), (h, saturated) = self.norms, self.sums
        preactivation = z_norm / math.sqrt(pairs)
        preactivation[-1] = z_norm[-1] / math.sqrt(self.examples * shape.out_features)
        values = {
            "preactivation_rms": preactivation,
            "activation_mean": h / pairs,
            "activation_rms": h_norm / math.sqrt(pairs),
            "saturated_fraction": saturated / pairs,
            "dead_units": _per_layer(~self.alive),
            "zero_gradient_units": _per_layer(~self.reached),
        }
        if self.spread is not None:
            values |= dict(zip(LEVELS, self.spread, strict=True))
        for name, table in values.items():
            table.masked_fill_(~presence, math.nan)
            if name != "preactivation_rms":
                table[-1] = math.nan
        sizes = torch.stack([preactivation, values["activation_rms"]])
        usual = (is_usual(sizes) | ~presence)[:, :-1].all(1).all(0) & is_usual(preactivation[-1])
        missed = (self.alive & ~self.reached).any(2).any(0)
        return values, self.unclear | missed | ~usual


def _joined(one: Tensor, other: Tensor) -> Tensor:
    """The norm of two pieces together, from theirs."""
    if not bool(one.any()):
        return other
    greater = torch.maximum(one, other)
    unit = torch.where((greater > 0) & torch.isfinite(greater), greater, 1.0)
    joined: Tensor = ((one / unit).square() + (other / unit).square()).sqrt() * unit
    return joined


def _per_layer(flags: Tensor) -> Tensor:
    """How many units of [layer, trial, unit] are flagged, [layer, trial], with a row for the output layer."""
    counts = flags.sum(2).double()
    return torch.cat([counts, counts.new_zeros(1, counts.shape[1])])
