"""Many networks as one: which trials of a stack have which layer and activation.

A hidden tensor is [trial, row, unit] with one row per example (mlp) or per example and position (cnn). The trials stand
from the deepest to the shallowest, so that hidden layer l is that of the first `counts[l - 1]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor

from gradlab.engine.activations import Activation
from gradlab.engine.kernels import Kernel, exactly
from gradlab.engine.layout import Shape
from gradlab.engine.normalisation import RunningMoments


@dataclass(frozen=True)
class Network:
    """The networks of a stack.

    Attributes:
        counts: trials that have hidden layer l, for l = 1, 2, ...
        activations: each trial's activation.
    """

    shape: Shape
    counts: tuple[int, ...]
    activations: tuple[Activation, ...]

    def of(self, trials: Sequence[int]) -> Network:
        """The network of some trials of the stack, given in its order."""
        depths = [sum(count > trial for count in self.counts) for trial in trials]
        counts = tuple(sum(depth > layer for depth in depths) for layer in range(max(depths)))
        return Network(self.shape, counts, tuple(self.activations[trial] for trial in trials))

    def running_moments(self, like: Tensor) -> list[RunningMoments]:
        """Batch normalisation's running moments at the start, empty where there is none."""
        if self.shape.norm != "batch":
            return []
        shapes = [(count, 1, self.shape.width) for count in self.counts]
        return [RunningMoments(like.new_zeros(shape), like.new_ones(shape)) for shape in shapes]

    def runs(self, count: int) -> list[tuple[slice, Activation]]:
        """The first `count` trials as runs of equal activation."""
        runs, start = [], 0
        for _label, group in groupby(self.activations[:count], key=lambda activation: activation.label):
            members = list(group)
            runs.append((slice(start, start + len(members)), members[0]))
            start += len(members)
        return runs

    def kernels(self, count: int, *, exact: bool) -> list[tuple[slice, Kernel]]:
        """How their activations are computed; exactly, from phi's input, with slopes that keep their digits."""
        return [
            (trials, exactly(activation.kernel, activation.derivative) if exact else activation.kernel)
            for trials, activation in self.runs(count)
        ]

    def rows(self, x: Tensor) -> Tensor:
        """Examples [trial, example, feature or (channel, height, width)] as [trial, row, feature or channel]."""
        if self.shape.family == "mlp":
            return x.flatten(2)
        return x.permute(0, 1, 3, 4, 2).reshape(x.shape[0], -1, self.shape.in_features)


def part(tensor: Tensor, trials: slice) -> Tensor:
    """tensor[trials], without a new view where that is all of it."""
    return tensor if trials.start == 0 and trials.stop == tensor.shape[0] else tensor[trials]
