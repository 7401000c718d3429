"""Forward passes over many examples, a few of a stack's trials at a time: what they need fits the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradlab.engine.layout import LayerParameters, Shape
from gradlab.engine.network import Network
from gradlab.engine.normalisation import RunningMoments
from gradlab.engine.passes import Passes
from gradlab.engine.scratch import Scratch

GROUP = 1 << 18
"""Elements of a hidden layer of all trials that pass together: a megabyte, found to be quickest."""

CHUNK = 1 << 19
"""Elements of a hidden layer of one trial that pass in one go."""


@dataclass(frozen=True)
class Group:
    """Neighbouring trials that pass together.

    Attributes:
        trials: where they stand in the stack.
        layers: their parameters, views of the stack's.
        passes: in eval mode.
    """

    trials: slice
    network: Network
    layers: Sequence[LayerParameters]
    passes: Passes

    def moments(self, of_stack: Sequence[RunningMoments]) -> list[RunningMoments]:
        """Their own running moments."""
        return [moments.between(self.trials) for moments in of_stack[: len(self.network.counts)]]


def rows_at_once(shape: Shape) -> int:
    """Examples that pass in one go."""
    return max(1, CHUNK // (shape.width * shape.positions))


def in_groups(network: Network, layers: Sequence[LayerParameters], examples: int, scratch: Scratch) -> list[Group]:
    """The trials of a stack in groups that pass over so many examples at once, all in the same memory."""
    return [_group(network, layers, trials, scratch) for trials in group_slices(network, examples)]


def group_slices(network: Network, examples: int) -> Iterator[slice]:
    """Where the trials of each group stand."""
    shape, trials = network.shape, len(network.activations)
    together = max(1, GROUP // (shape.width * shape.positions * examples))
    for start in range(0, trials, together):
        yield slice(start, min(start + together, trials))


def _group(network: Network, layers: Sequence[LayerParameters], trials: slice, scratch: Scratch) -> Group:
    own = network.of(range(trials.start, trials.stop))
    of_own = [layer.between(trials) for layer in [*layers[: len(own.counts)], layers[-1]]]
    return Group(trials, own, of_own, Passes(own, of_own, scratch=scratch))
