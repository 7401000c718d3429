"""A stack as it stands before an update, for measuring it in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        own = [*self.layers[: len(network.counts)], self.layers[-1]]
        layers = [layer.of([trial for trial in trials if trial < len(layer.weight)]) for layer in own]
        moments = [moments.of([trial for trial in trials if trial < len(moments.mean)]) for moments in self.moments]
        return Snapshot(network, layout, layers, moments[: len(network.counts)], self.kind)

    def layers64(self) -> list[LayerParameters]:
        """The layers' parameters in float64."""
        return [layer.double() for layer in self.layers]

    def moments64(self) -> list[RunningMoments]:
        """The running moments in float64."""
        return [moments.double() for moments in self.moments]
