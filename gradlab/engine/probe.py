"""The statistics of units on the probe, by the definitions of docs/statistics.md.

They are measured in float32, as training computes; and once more in float64 for trials of which float32 may be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from gradlab.engine.confidence import cancellation
from gradlab.engine.doubts import Doubt, Doubts
from gradlab.engine.groups import Group, group_slices, in_groups, rows_at_once
from gradlab.engine.layout import LayerParameters, Layout
from gradlab.engine.look import Look
from gradlab.engine.measure import Statistics, replace_trials
from gradlab.engine.network import Network
from gradlab.engine.passes import Passes
from gradlab.engine.scratch import Scratch
from gradlab.engine.snapshot import Joining, Snapshot
from gradlab.engine.units import CANCELLATION, Chunk, Seen


class UnitProbe:
    """Looks at the units of a stack's networks on the probe, again and again, in the same buffers.

    Args:
        layers: the parameters, views of a buffer in which training updates them.
        x, y: the probe, [example, ...].
        at_once: whether what is measured is complete at once.

    Attributes:
        doubts: what waits to be measured in float64.
    """

    def __init__(
        self,
        network: Network,
        layout: Layout,
        layers: Sequence[LayerParameters],
        x: Tensor,
        y: Tensor,
        kind: str,
        scratch: Scratch,
        at_once: bool = False,
    ) -> None:
        self._layout, self._x, self._y, self._kind = layout, x, y, kind
        self.doubts = Doubts(partial(_exactly, x, y), layout, len(x), at_once)
        self._looks: dict[int, tuple[Chunk, list[Look]]] = {}
        for examples in (len(part) for part, _ in _chunks(layout, x, y)):
            if examples not in self._looks:
                chunk = Chunk(layout, examples, layers[0].weight)
                groups = in_groups(network, layers, examples, scratch)
                self._looks[examples] = chunk, [Look(group, chunk, scratch) for group in groups]
        # A weight that is 0 lets no gradient through; none becomes 0 by training, but for those of dead units.
        sparse = [layout.across((layer.weight == 0).flatten(1).any(1)) for layer in layers]
        self._sparse = torch.stack(sparse).any(0)

    def measure(
        self, stack: Snapshot, sizes: Tensor, wanted: Tensor, doubtful: Tensor, spread: bool = False
    ) -> Statistics:
        """The statistics of every hidden layer on the probe, the networks in eval mode, [layer, trial].

        Those of trials in doubt are put right when `doubts` are settled, unless quantiles are asked for.

        Args:
            stack: all the networks with their weights as they are now.
            sizes: the norms of each layer's weights and biases, [2, layer, trial].
            wanted: those whose statistics matter, flags [trial].
            doubtful: those that float32 doesn't tell well, likewise.
            spread: whether quantiles of activations are among the statistics.
        """
        seen = Seen(self._layout, self._x, spread)
        for place, (x, y) in enumerate(_chunks(self._layout, self._x, self._y)):
            chunk, looks = self._looks[len(x)]
            for look in looks:
                look.take(x, y, self._kind, stack.moments, seen.spread if place == 0 else None)
            seen.add(chunk, slice(None))
        found, unclear = seen.statistics()
        unclear = unclear | self._cancels(found, sizes)
        again = torch.nonzero(wanted & (doubtful | unclear | self._sparse)).flatten().tolist()
        if again and spread:
            replace_trials(found, measure_units(stack.of(again), self._x, self._y, spread), again)
        elif again:
            self.doubts.add(Doubt(again, stack.of(again), found))
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


def _exactly(x: Tensor, y: Tensor, joining: Joining, doubts: Sequence[Doubt]) -> Statistics:
    return measure_units(joining.snapshot([doubt.stack for doubt in doubts]), x, y)


def measure_units(stack: Snapshot, x: Tensor, y: Tensor, spread: bool = False) -> Statistics:
    """What `UnitProbe.measure` finds, in float64, with every zero of the gradient followed."""
    seen = Seen(stack.layout, x, spread)
    scratch, chunks = Scratch(torch.float64, x.device), _chunks(stack.layout, x.double(), y)
    for trials in group_slices(stack.network, min(rows_at_once(stack.layout.shape), len(x))):
        own = stack.of(range(trials.start, trials.stop))
        everything = slice(0, len(own.layout.depths))
        layers, moments = own.layers64(), own.moments64()
        passes = Passes(own.network, layers, exact=True, scratch=scratch)
        group = Group(everything, own.network, layers, passes)
        for place, (part, target) in enumerate(chunks):
            chunk = Chunk(own.layout, len(part), layers[0].weight)
            of_group = None if place > 0 or seen.spread is None else seen.spread[:, :, trials]
            Look(group, chunk, scratch).take(part, target, stack.kind, moments, of_group)
            seen.add(chunk, trials)
    return seen.statistics()[0]


def _chunks(layout: Layout, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The probe in pieces that are looked at in one go."""
    rows = rows_at_once(layout.shape)
    return list(zip(torch.split(x, rows), torch.split(y, rows), strict=True))
