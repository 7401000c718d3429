"""One look at the probe: a forward pass of some trials over a chunk of it, and what it shows of their units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlab.engine.alignment import aligned_into
from gradlab.engine.confidence import means_to_deviations
from gradlab.engine.groups import Group
from gradlab.engine.measure import norm_into
from gradlab.engine.network import part
from gradlab.engine.normalisation import Normalised, RunningMoments
from gradlab.engine.observer import Observer
from gradlab.engine.quantiles import examples_for, quantiles
from gradlab.engine.reach import nothing_from, reached_units
from gradlab.engine.regions import Region
from gradlab.engine.scratch import Scratch
from gradlab.engine.units import CANCELLATION, Chunk


@dataclass(frozen=True)
class _Run:
    """Neighbouring trials of one activation in a hidden layer, and where it is noted what is seen of them.

    Attributes:
        trials: where they stand in the group.
        zero, saturated: where phi' is 0, and small; None for nowhere.
        flat: examples without a slope, by unit, [trial, unit].
        few: units that are saturated, added up, [trial].
        without: units without a slope, by row, [trial * row]; None where that is not followed.
    """

    trials: slice
    zero: Region | None
    saturated: Region | None
    flat: Tensor
    few: Tensor
    without: Tensor | None


class Look(Observer):
    """Looks at a group again and again, in the same buffers.

    Args:
        group: of the chunk's trials.
        chunk: whose tables it fills in.
    """

    def __init__(self, group: Group, chunk: Chunk, scratch: Scratch) -> None:
        self._group, self._chunk, self._scratch = group, chunk, scratch
        network, own = group.network, group.trials
        shape, counts = network.shape, network.counts
        self._ones = chunk.flat.new_ones(shape.width)
        # Where no unit of a layer has a slope, nothing below it gets a gradient from there, past residual connections
        # apart.
        cuts = any(activation.zero_derivative is not None for activation in network.activations)
        rows = chunk.rows if cuts and not (chunk.is_exact or shape.residual) else 0
        self._without = scratch.take("units without a slope", len(counts), len(network.activations), rows)
        places = [slice(own.start, own.start + count) for count in counts]
        self._z_norms = [chunk.norms[0, layer, place] for layer, place in enumerate(places)]
        self._h_norms = [chunk.norms[1, layer, place] for layer, place in enumerate(places)]
        self._h_sums = [chunk.sums[0, layer, place] for layer, place in enumerate(places)]
        self._runs = [self._runs_of(layer, place) for layer, place in enumerate(places)]
        self._active: list[Tensor | None] = []
        self._spread: Tensor | None = None

    def take(
        self, x: Tensor, target: Tensor, kind: str, moments: Sequence[RunningMoments], spread: Tensor | None
    ) -> None:
        """Look at examples x [example, ...].

        Args:
            moments: of all trials of the chunk.
            spread: where quantiles of activations go, [level, layer, trial]; None where they aren't asked for.
        """
        group, chunk = self._group, self._chunk
        count = len(group.network.activations)
        self._active, self._spread = [], spread
        self._without.zero_()
        output = group.passes.forward(x.expand(count, *x.shape), group.moments(moments), self)
        norm_into(chunk.norms[0, -1, group.trials], output)
        wrong = _wrong(output, target, kind)
        if chunk.is_exact:
            self._follow(wrong)
            return
        if kind == "regression":
            self._own_unclear(count).logical_or_(~wrong.any(2).all(1))
        if group.network.shape.norm != "none":
            for layer in group.layers[:-1]:
                if layer.gain is not None:
                    self._own_unclear(len(layer.gain)).logical_or_((layer.gain == 0).flatten(1).any(1))
        if self._without.numel():
            self._count_cut_off()

    def preactivation(self, layer: int, z: Tensor) -> None:
        """Note its size."""
        norm_into(self._z_norms[layer], z)

    def normalisation(self, layer: int, normalised: Normalised) -> None:
        """Note in which trials float32 loses digits to a mean."""
        rms = self._z_norms[layer] / math.sqrt(self._chunk.rows * self._group.network.shape.width)
        lost = means_to_deviations(rms, normalised.least_deviation()) > CANCELLATION
        self._own_unclear(len(lost)).logical_or_(lost)

    def activation_input(self, layer: int, u: Tensor) -> None:
        """Note where its slope is small, or 0."""
        runs = self._runs[layer]
        cuts = self._chunk.is_exact and any(run.zero is not None for run in runs)
        active = torch.ones_like(u, dtype=torch.bool) if cuts else None
        for run in runs:
            piece = part(u, run.trials)
            if run.zero is not None:
                marks = self._mark(run.zero, piece)
                torch.sum(marks, 1, out=run.flat)
                if active is not None:
                    torch.eq(marks, 0, out=active[run.trials])
                elif run.without is not None:
                    # A product with ones adds up a few units several times as fast as a sum does.
                    torch.mv(marks.view(-1, piece.shape[2]), self._ones, out=run.without)
            if run.saturated is not None and run.saturated is run.zero:
                torch.sum(run.flat, 1, out=run.few)
            elif run.saturated is not None:
                torch.sum(self._mark(run.saturated, piece).flatten(1), 1, out=run.few)
        self._active.append(active)

    def activation(self, layer: int, h: Tensor) -> None:
        """Note its size, its mean and, if asked for, its quantiles."""
        torch.sum(h.flatten(1), 1, out=self._h_sums[layer])
        norm_into(self._h_norms[layer], h)
        if self._spread is not None:
            shape, start = self._group.network.shape, self._group.trials.start
            rows = examples_for(shape.positions * shape.width) * shape.positions
            self._spread[:, layer, start : start + len(h)] = quantiles(h[:, :rows].flatten(1))

    def _runs_of(self, layer: int, place: slice) -> list[_Run]:
        """The runs of a layer, whose trials stand at `place` in the chunk."""
        found = []
        for trials, activation in self._group.network.runs(place.stop - place.start):
            own = slice(place.start + trials.start, place.start + trials.stop)
            found.append(
                _Run(
                    trials=trials,
                    zero=activation.zero_derivative,
                    saturated=activation.saturated,
                    flat=self._chunk.flat[layer, own],
                    few=self._chunk.sums[1, layer, own],
                    without=self._without[layer, trials].view(-1) if self._without.numel() else None,
                )
            )
        return found

    def _follow(self, wrong: Tensor) -> None:
        """Note which units a gradient reaches, followed from the outputs that have one."""
        group, chunk = self._group, self._chunk
        alive = chunk.rows - chunk.flat[:, group.trials] > 0
        known = [None if one is None else alive[index, : len(one)] for index, one in enumerate(self._active)]
        reached = reached_units(group.network, group.layers, self._active, known, wrong)
        for index, units in enumerate(reached):
            chunk.reached[index, group.trials.start : group.trials.start + len(units)] = units

    def _count_cut_off(self) -> None:
        """Note in how many rows of each layer no gradient goes on down, and in how many none arrives."""
        chunk, own = self._chunk, self._group.trials
        closed = torch.eq(self._without, self._group.network.shape.width, out=self._without)
        for upper in range(len(closed) - 1, 0, -1):
            above = nothing_from(closed[upper], self._group.network.shape)
            torch.sum(above, 1, out=chunk.none_arrives[upper - 1, own])
            torch.maximum(closed[upper - 1], above, out=closed[upper - 1])
        torch.sum(closed, 2, out=chunk.none_passes[: len(closed), own])

    def _mark(self, region: Region, u: Tensor) -> Tensor:
        """1 where u is in the region, 0 elsewhere; overwritten by the next."""
        marks = self._scratch.take("marks", *u.shape)
        if region.compares:
            region.mark(u, marks)
        else:
            aligned_into(region.mark, marks, u)
        return marks

    def _own_unclear(self, count: int) -> Tensor:
        """The flags of the group's first `count` trials."""
        first = self._group.trials.start
        return self._chunk.unclear[first : first + count]


def _wrong(output: Tensor, target: Tensor, kind: str) -> Tensor:
    """Which outputs have a loss with a slope: only squared error can be met exactly, no softmax or sigmoid."""
    return output != target if kind == "regression" else torch.ones_like(output, dtype=torch.bool)
