"""The statistics of units on the probe, by the definitions of docs/reference.md, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlab.engine.alignment import aligned
from gradlab.engine.layout import LayerParameters
from gradlab.engine.measure import Statistics, empty, fill, named
from gradlab.engine.network import Network
from gradlab.engine.passes import Passes
from gradlab.engine.reach import any_along, reached_units
from gradlab.engine.snapshot import Snapshot

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

GROUP = 1 << 17
"""Elements of a hidden layer of all trials that are looked at together: a megabyte of float64, which caches hold."""


@dataclass
class _Seen:
    """What the probe has shown of one hidden layer so far: sums [trial], flags [trial, unit]."""

    squared_preactivation: Tensor
    activation: Tensor
    squared_activation: Tensor
    saturated: Tensor
    alive: Tensor
    reached: Tensor

    @staticmethod
    def nothing(like: Tensor) -> _Seen:
        """No example seen yet, for pre-activations [trial, row, unit] such as `like`."""
        sums = [like.new_zeros(like.shape[0]) for _ in range(4)]
        flags = [torch.zeros_like(like[:, 0], dtype=torch.bool) for _ in range(2)]
        return _Seen(*sums, *flags)

    def statistics(self, rows: int) -> Statistics:
        """The statistics, [trial], of so many rows (examples times positions)."""
        pairs = rows * self.alive.shape[1]
        return {
            "preactivation_rms": (self.squared_preactivation / pairs).sqrt(),
            "activation_mean": self.activation / pairs,
            "activation_rms": (self.squared_activation / pairs).sqrt(),
            "saturated_fraction": self.saturated / pairs,
            "dead_units": (~self.alive).sum(1).double(),
            "zero_gradient_units": (~self.reached).sum(1).double(),
        }


def measure_units(stack: Snapshot, x: Tensor, y: Tensor) -> Statistics:
    """Activation statistics of every hidden layer on the probe x [example, ...], y, the networks in eval mode."""
    layout, shape, count = stack.layout, stack.network.shape, len(stack.layout.depths)
    table = empty(layout, UNIT_STATISTICS, x.device)
    per_trial = shape.width * shape.positions
    rows = max(1, CHUNK // per_trial)
    together = max(1, GROUP // (per_trial * min(rows, len(x))))
    for start in range(0, count, together):
        trials = range(start, min(start + together, count))
        group = stack.of(trials)
        layers, moments = group.layers64(), group.moments64()
        passes = Passes(group.network, layers[0].weight, trains=False, exact=True)
        seen: list[_Seen] = []
        of_output = torch.zeros(len(trials), dtype=torch.float64, device=x.device)
        for part, target in zip(torch.split(x, rows), torch.split(y, rows), strict=True):
            look = _Look(group.network, seen)
            output = passes.forward(layers, part.double().expand(len(trials), *part.shape), moments, look)
            look.reach(layers, output, target, stack.kind)
            norms: Tensor = torch.linalg.vector_norm(output, dim=(1, 2))
            of_output += norms.square()
        table[0, -1, trials.start : trials.stop] = (of_output / (len(x) * shape.out_features)).sqrt()
        for index, layer in enumerate(seen):
            fill(table, UNIT_STATISTICS, index, start, layer.statistics(len(x) * shape.positions))
    return named(table, UNIT_STATISTICS)


class _Look:
    """Adds one chunk of the probe to what has been seen so far."""

    def __init__(self, network: Network, seen: list[_Seen]) -> None:
        self._network, self._seen = network, seen
        self._active: list[Tensor | None] = []
        self._alive: list[Tensor | None] = []

    def preactivation(self, layer: int, z: Tensor) -> None:
        """Note its size."""
        if len(self._seen) == layer:
            self._seen.append(_Seen.nothing(z))
        self._seen[layer].squared_preactivation += torch.linalg.vector_norm(z, dim=(1, 2)).square()

    def activation_input(self, layer: int, u: Tensor) -> None:
        """Note where its slope is small, or 0."""
        so_far = self._seen[layer]
        active = _look_at_slopes(self._network, u, so_far)
        alive = None if active is None else any_along(active, 1)
        self._active.append(active)
        self._alive.append(alive)
        so_far.alive |= True if alive is None else alive

    def activation(self, layer: int, h: Tensor) -> None:
        """Note its size and mean."""
        so_far = self._seen[layer]
        so_far.activation += h.sum((1, 2))
        so_far.squared_activation += torch.linalg.vector_norm(h, dim=(1, 2)).square()

    def reach(self, layers: Sequence[LayerParameters], output: Tensor, target: Tensor, kind: str) -> None:
        """Note which units a gradient reaches, after the pass."""
        # Only squared error can be met exactly; a softmax or sigmoid never reaches its target.
        wrong = output != target if kind == "regression" else torch.ones_like(output, dtype=torch.bool)
        reached = reached_units(self._network, layers, self._active, self._alive, wrong)
        for so_far, units in zip(self._seen, reached, strict=True):
            so_far.reached |= units


def _look_at_slopes(network: Network, u: Tensor, so_far: _Seen) -> Tensor | None:
    """Count saturation; where phi' is not exactly 0, [trial, row, unit], or None for everywhere."""
    runs = network.runs(u.shape[0])
    active = None
    if any(activation.zero_derivative is not None for _, _, activation in runs):
        active = torch.ones_like(u, dtype=torch.bool)
    for start, stop, activation in runs:
        zero = None
        if active is not None and activation.zero_derivative is not None:
            zero = aligned(activation.zero_derivative, u[start:stop])
            torch.logical_not(zero, out=active[start:stop])
        if activation.saturated is activation.zero_derivative:
            saturated = zero
        else:
            saturated = None if activation.saturated is None else aligned(activation.saturated, u[start:stop])
        if saturated is not None:
            so_far.saturated[start:stop] += _count(saturated)
    return active


def _count(flags: Tensor) -> Tensor:
    """How many flags are set, [trial]; bytes are summed more quickly than flags."""
    return flags.view(torch.uint8).flatten(1).sum(1, dtype=torch.int32)
