"""What one look at the probe shows of the units of a stack, and how it is added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlab.engine.alignment import aligned_into
from gradlab.engine.confidence import is_usual, means_to_deviations
from gradlab.engine.layout import LayerParameters, Layout
from gradlab.engine.measure import Statistics, norm_into
from gradlab.engine.network import Network
from gradlab.engine.normalisation import Normalised, RunningMoments
from gradlab.engine.passes import Passes
from gradlab.engine.quantiles import LEVELS, examples_for, quantiles
from gradlab.engine.reach import reached_units
from gradlab.engine.regions import Region

HIDDEN_STATISTICS = (
    "activation_mean",
    "activation_rms",
    "saturated_fraction",
    "dead_units",
    "zero_gradient_units",
)
"""Statistics of units that have an activation: none in the output layer."""

UNIT_STATISTICS = ("preactivation_rms", *HIDDEN_STATISTICS)

CHUNK = 1 << 19
"""Elements of a hidden layer of one trial that are looked at in one go."""

CANCELLATION = 50.0
"""How much smaller pre-activations may be than what they are added up from: float32 then has them to about 5e-6."""


def rows_at_once(layout: Layout) -> int:
    """Examples that are looked at in one go."""
    return max(1, CHUNK // (layout.shape.width * layout.shape.positions))


@dataclass(frozen=True)
class Group:
    """Neighbouring trials of a stack that are looked at together."""

    trials: slice
    network: Network
    layers: Sequence[LayerParameters]
    passes: Passes


class Seen:
    """What the probe has shown of a stack so far, added up over its chunks.

    Attributes:
        sums: of activations and of saturated pairs, [2, layer, trial], float64.
        norms: of pre-activations and activations, likewise; of the output layer, the last, of outputs alone.
        alive, reached: whether phi' was not 0, whether a gradient surely came by, on any example; [layer, trial, unit].
        unclear: trials of which float32 doesn't tell where a gradient comes by, [trial].
        spread: quantiles of activations, [level, layer, trial], float64; None where they aren't asked for.
    """

    def __init__(self, layout: Layout, x: Tensor, precision: torch.dtype, spread: bool = False) -> None:
        self.layout, self.examples, self.precision = layout, len(x), precision
        layers, trials = len(layout.blocks), len(layout.depths)
        self.sums, self.norms = torch.zeros(2, 2, layers, trials, dtype=torch.float64, device=x.device)
        flags = torch.zeros(2, layers - 1, trials, layout.shape.width, dtype=torch.bool, device=x.device)
        self.alive, self.reached = flags
        self.unclear = torch.zeros(trials, dtype=torch.bool, device=x.device)
        self.spread = self.sums.new_zeros(len(LEVELS), layers, trials) if spread else None

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


def look_at(group: Group, moments: Sequence[RunningMoments], x: Tensor, y: Tensor, kind: str, seen: Seen) -> None:
    """Add what a group of trials shows on the probe."""
    rows = rows_at_once(seen.layout)
    for place, (part, target) in enumerate(zip(torch.split(x, rows), torch.split(y, rows), strict=True)):
        look = _Look(group, len(part), seen, first=place == 0)
        count = len(group.network.activations)
        output = group.passes.forward(part.expand(count, *part.shape), moments, look)
        look.finish(output, target, kind)


class _Look:
    """One pass of a group over a chunk of the probe."""

    def __init__(self, group: Group, examples: int, seen: Seen, first: bool) -> None:
        self._group, self._seen = group, seen
        self._spread = seen.spread if first else None
        self._follows = seen.precision == torch.float64
        layers, trials = len(group.network.counts), len(group.network.activations)
        like = seen.sums.new_empty(0, dtype=seen.precision)
        self._norms = like.new_zeros(2, layers + 1, trials)
        self._totals = like.new_zeros(2, layers + 1, trials)
        self._flat = like.new_zeros(layers, trials, seen.layout.shape.width)
        self._rows = examples * seen.layout.shape.positions
        # Where no unit of a layer has a slope, so that nothing below it gets a gradient from there.
        self._cut = like.new_zeros(0 if self._follows else layers, trials, self._rows)
        self._ones = like.new_ones(seen.layout.shape.width)
        self._active: list[Tensor | None] = []
        self._marks: Tensor = like

    def preactivation(self, layer: int, z: Tensor) -> None:
        """Note its size."""
        norm_into(self._norms[0, layer, : len(z)], z)

    def normalisation(self, layer: int, normalised: Normalised) -> None:
        """Note in which trials float32 loses digits to a mean."""
        rms = self._norms[0, layer, : len(normalised.centred)] / math.sqrt(self._rows * self._seen.layout.shape.width)
        lost = means_to_deviations(rms, normalised.least_deviation()) > CANCELLATION
        self._own_unclear(0, len(lost)).logical_or_(lost)

    def activation_input(self, layer: int, u: Tensor) -> None:
        """Note where its slope is small, or 0."""
        active = torch.ones_like(u, dtype=torch.bool) if self._follows and self._cuts(u) else None
        for start, stop, activation in self._group.network.runs(len(u)):
            piece = u[start:stop]
            zero, saturated = activation.zero_derivative, activation.saturated
            if zero is not None:
                marks = self._mark(zero, piece)
                torch.sum(marks, 1, out=self._flat[layer, start:stop])
                if active is not None:
                    torch.eq(marks, 0, out=active[start:stop])
                elif not self._seen.layout.shape.residual:
                    # A product with ones adds up a few units several times as fast as a sum does.
                    flat = (marks.view(-1, piece.shape[2]) @ self._ones).view(marks.shape[:2])
                    torch.eq(flat, piece.shape[2], out=self._cut[layer, start:stop])
            if saturated is not None and saturated is zero:
                torch.sum(self._flat[layer, start:stop], 1, out=self._totals[1, layer, start:stop])
            elif saturated is not None:
                torch.sum(self._mark(saturated, piece).flatten(1), 1, out=self._totals[1, layer, start:stop])
        self._active.append(active)

    def activation(self, layer: int, h: Tensor) -> None:
        """Note its size, its mean and, if asked for, its quantiles."""
        torch.sum(h.flatten(1), 1, out=self._totals[0, layer, : len(h)])
        norm_into(self._norms[1, layer, : len(h)], h)
        if self._spread is not None:
            shape, start = self._seen.layout.shape, self._group.trials.start
            rows = examples_for(shape.positions * shape.width) * shape.positions
            self._spread[:, layer, start : start + len(h)] = quantiles(h[:, :rows].flatten(1))

    def finish(self, output: Tensor, target: Tensor, kind: str) -> None:
        """Add all to what has been seen, after the pass."""
        network, trials, seen = self._group.network, self._group.trials, self._seen
        layers = len(network.counts)
        norm_into(self._norms[0, layers], output)
        for own, place in ((slice(layers), slice(layers)), (slice(layers, None), slice(-1, None))):
            seen.sums[:, place, trials] += self._totals[:, own]
            norms = seen.norms[:, place, trials]
            norms.copy_(_joined(norms, self._norms[:, own].double()))
        active = self._rows - self._flat
        alive = active > 0
        seen.alive[:layers, trials] |= alive
        if self._follows:
            wrong = _wrong(output, target, kind)
            known = [None if one is None else alive[index, : len(one)] for index, one in enumerate(self._active)]
            reached = reached_units(network, self._group.layers, self._active, known, wrong)
            for index, units in enumerate(reached):
                seen.reached[index, trials.start : trials.start + len(units)] |= units
            return
        if kind == "regression":
            seen.unclear[trials] |= ~_wrong(output, target, kind).any(2).all(1)
        seen.reached[:layers, trials] |= self._surely_reached(active)

    def _surely_reached(self, active: Tensor) -> Tensor:
        """Which units a gradient surely reaches that arrives at every example's outputs, [layer, trial, unit].

        A unit gets one if it has a slope in more rows than are cut off above it.

        Args:
            active: in how many rows units have a slope, [layer, trial, unit].
        """
        shape = self._seen.layout.shape
        if shape.norm != "none":
            for layer in self._group.layers[:-1]:
                if layer.gain is not None:
                    self._own_unclear(0, len(layer.gain)).logical_or_((layer.gain == 0).flatten(1).any(1))
        closed = self._cut  # and below a row that is cut off
        for upper in range(len(closed) - 1, 0, -1):
            torch.maximum(closed[upper - 1], closed[upper], out=closed[upper - 1])
        closed = closed.sum(2, keepdim=True)
        if shape.norm == "layer" and shape.width > 1:
            # Layer normalisation mixes an example's units.
            mixed: Tensor = (closed < self._rows) & (active > 0).any(2, keepdim=True)
            return mixed.expand_as(active)
        if shape.norm == "layer":
            self._seen.unclear[self._group.trials] = True
        above = torch.cat([closed[1:], torch.zeros_like(closed[:1])])
        reached: Tensor = active > above
        return reached

    def _cuts(self, u: Tensor) -> bool:
        return any(activation.zero_derivative is not None for activation in self._group.network.activations[: len(u)])

    def _mark(self, region: Region, u: Tensor) -> Tensor:
        """1 where u is in the region, 0 elsewhere; overwritten by the next."""
        if self._marks.numel() < u.numel():
            self._marks = torch.empty_like(u).flatten()
        marks: Tensor = self._marks[: u.numel()].view(u.shape)
        if region.compares:
            region.mark(u, marks)
        else:
            aligned_into(region.mark, marks, u)
        return marks

    def _own_unclear(self, start: int, stop: int) -> Tensor:
        first = self._group.trials.start
        own: Tensor = self._seen.unclear[first + start : first + stop]
        return own


def _wrong(output: Tensor, target: Tensor, kind: str) -> Tensor:
    """Which outputs have a loss with a slope: only squared error can be met exactly, no softmax or sigmoid."""
    return output != target if kind == "regression" else torch.ones_like(output, dtype=torch.bool)
