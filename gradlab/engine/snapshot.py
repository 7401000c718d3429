"""A stack as it stands before an update, for measuring it in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlab.engine.layout import LayerParameters, Layout
from gradlab.engine.network import Network
from gradlab.engine.normalisation import RunningMoments


@dataclass(frozen=True)
class Snapshot:
    """Some of a stack's networks with their weights.

    Attributes:
        layers: their parameters, float32, those of trials that have the layer.
        moments: batch normalisation's running moments, float32.
        kind: of the task.
    """

    network: Network
    layout: Layout
    layers: Sequence[LayerParameters]
    moments: Sequence[RunningMoments]
    kind: str

    def of(self, trials: Sequence[int]) -> Snapshot:
        """Of some of these trials, in this order."""
        network = self.network.of(trials)
        layout = Layout(self.layout.shape, tuple(self.layout.depths[trial] for trial in trials))
        moments = [moments.of([trial for trial in trials if trial < len(moments.mean)]) for moments in self.moments]
        return Snapshot(
            network, layout, layers_of(self.layers, trials, network), moments[: len(network.counts)], self.kind
        )

    def layers64(self) -> list[LayerParameters]:
        """The layers' parameters in float64."""
        return [layer.double() for layer in self.layers]

    def moments64(self) -> list[RunningMoments]:
        """The running moments in float64."""
        return [moments.double() for moments in self.moments]


def layers_of(layers: Sequence[LayerParameters], trials: Sequence[int], network: Network) -> list[LayerParameters]:
    """A copy of the layers of some of a stack's trials, whose own network is given."""
    own = [*layers[: len(network.counts)], layers[-1]]
    return [layer.of([trial for trial in trials if trial < len(layer.weight)]) for layer in own]


class Joining:
    """Trials of several stacks as one stack, from the deepest to the shallowest.

    Attributes:
        order: where each of its trials stood, counted through one stack after the other.

    Args:
        depths: of the trials of each stack.
    """

    def __init__(self, depths: Sequence[Sequence[int]]) -> None:
        self._depths = [depth for own in depths for depth in own]
        self.order = sorted(range(len(self._depths)), key=lambda place: -self._depths[place])

    def snapshot(self, pieces: Sequence[Snapshot]) -> Snapshot:
        """The stack of all."""
        shape, kind = pieces[0].layout.shape, pieces[0].kind
        layout = Layout(shape, tuple(self._depths[place] for place in self.order))
        activations = [activation for piece in pieces for activation in piece.network.activations]
        network = Network(shape, layout.counts, tuple(activations[place] for place in self.order))
        moments = [
            RunningMoments.joined([piece.moments[index] for piece in pieces if index < len(piece.moments)]).of(
                self._places(index)
            )
            for index in range(max(len(piece.moments) for piece in pieces))
        ]
        return Snapshot(network, layout, self.layers([piece.layers for piece in pieces]), moments, kind)

    def layers(self, pieces: Sequence[Sequence[LayerParameters]]) -> list[LayerParameters]:
        """The layers of all, from those of each stack."""
        output = LayerParameters.joined([own[-1] for own in pieces]).of(self.order)
        hidden = [
            LayerParameters.joined([own[index] for own in pieces if index < len(own) - 1]).of(self._places(index))
            for index in range(max(self._depths))
        ]
        return [*hidden, output]

    def tensor(self, pieces: Sequence[Tensor]) -> Tensor:
        """[trial, ...] of all, from those of each stack."""
        return torch.cat(list(pieces))[self.order]

    def _places(self, index: int) -> list[int]:
        """Where the trials stand among all those that have a hidden layer."""
        there = [place for place, depth in enumerate(self._depths) if depth > index]
        at = {place: found for found, place in enumerate(there)}
        return [at[place] for place in self.order if place in at]
