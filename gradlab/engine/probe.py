"""The statistics of units on the probe, by the definitions of docs/statistics.md.

They are measured in float32, as training computes; and once more in float64 for trials of which float32 may be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.engine.confidence import cancellation
from gradlab.engine.layout import LayerParameters, Layout
from gradlab.engine.measure import Statistics, replace_trials
from gradlab.engine.network import Network
from gradlab.engine.passes import Passes
from gradlab.engine.snapshot import Snapshot
from gradlab.engine.units import CANCELLATION, Group, Seen, look_at, rows_at_once

GROUP = 1 << 17
"""Elements of a hidden layer of all trials that are looked at together: half a megabyte, found to be quickest."""


class UnitProbe:
    """Looks at the units of a stack's networks on the probe, again and again, in the same buffers.

    Args:
        layers: the parameters, views of a buffer in which training updates them.
        x, y: the probe, [example, ...].
    """

    def __init__(
        self, network: Network, layout: Layout, layers: Sequence[LayerParameters], x: Tensor, y: Tensor, kind: str
    ) -> None:
        self._layout, self._x, self._y, self._kind = layout, x, y, kind
        self._groups = []
        trials = len(layout.depths)
        together = _together(layout, x)
        for start in range(0, trials, together):
            own = slice(start, min(start + together, trials))
            part = network.of(range(own.start, own.stop))
            of_part = [layer.between(own) for layer in [*layers[: len(part.counts)], layers[-1]]]
            self._groups.append(Group(own, part, of_part, Passes(part, of_part)))
        # A weight that is 0 lets no gradient through; none becomes 0 by training, but for those of dead units.
        sparse = [layout.across((layer.weight == 0).flatten(1).any(1)) for layer in layers]
        self._sparse = torch.stack(sparse).any(0)

    def measure(
        self, stack: Snapshot, sizes: Tensor, wanted: Tensor, doubtful: Tensor, spread: bool = False
    ) -> Statistics:
        """The statistics of every hidden layer on the probe, the networks in eval mode, [layer, trial].

        Args:
            stack: all the networks with their weights as they are now.
            sizes: the norms of each layer's weights and biases, [2, layer, trial].
            wanted: those whose statistics matter, flags [trial].
            doubtful: those that float32 doesn't tell well, likewise.
            spread: whether quantiles of activations are among the statistics.
        """
        seen = Seen(self._layout, self._x, torch.float32, spread)
        for group in self._groups:
            moments = [moments.between(group.trials) for moments in stack.moments[: len(group.network.counts)]]
            look_at(group, moments, self._x, self._y, self._kind, seen)
        found, unclear = seen.statistics()
        unclear = unclear | self._cancels(found, sizes)
        again = torch.nonzero(wanted & (doubtful | unclear | self._sparse)).flatten().tolist()
        if again:
            replace_trials(found, measure_units(stack.of(again), self._x, self._y, spread), again)
        return found

    def _cancels(self, found: Statistics, sizes: Tensor) -> Tensor:
        """In which trials pre-activations are so small beside what they are added up from that float32 loses them."""
        shape = self._layout.shape
        rows = len(self._x) * shape.positions
        z, h = (found[name][:-1] * math.sqrt(rows * shape.width) for name in ("preactivation_rms", "activation_rms"))
        first = torch.linalg.vector_norm(self._x).double().expand(1, z.shape[1])
        inputs = (3.0 if shape.family == "cnn" else 1.0) * torch.cat([first, h[:-1]])
        kept = cancellation(self._layout, inputs, sizes[:, :-1], z, rows) < CANCELLATION
        return ~(kept | ~self._layout.presence(z)[:-1]).all(0)


def measure_units(stack: Snapshot, x: Tensor, y: Tensor, spread: bool = False) -> Statistics:
    """What `UnitProbe.measure` finds, in float64, with every zero of the gradient followed."""
    seen = Seen(stack.layout, x, torch.float64, spread)
    together = _together(stack.layout, x)
    for start in range(0, len(stack.layout.depths), together):
        trials = slice(start, min(start + together, len(stack.layout.depths)))
        own = stack.of(range(trials.start, trials.stop))
        layers = own.layers64()
        group = Group(trials, own.network, layers, Passes(own.network, layers, exact=True))
        look_at(group, own.moments64(), x.double(), y, stack.kind, seen)
    return seen.statistics()[0]


def _together(layout: Layout, x: Tensor) -> int:
    """Trials that are looked at together."""
    return max(1, GROUP // (layout.shape.width * layout.shape.positions * min(rows_at_once(layout), len(x))))
