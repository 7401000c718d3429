"""A stack as it stands before an update, for measuring it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gradlab.engine.layout import LayerParameters, Layout
from gradlab.engine.network import Network, RunningMoments


@dataclass(frozen=True)
class Snapshot:
    """A stack's networks with their weights.

    Attributes:
        flat: the float32 parameters, laid out by `layout`.
        moments: batch normalisation's running moments, float32.
        kind: of the task.
    """

    network: Network
    layout: Layout
    flat: Tensor
    moments: Sequence[RunningMoments]
    kind: str

    def layers64(self) -> list[LayerParameters]:
        """The layers' parameters in float64."""
        return self.layout.views(self.flat.double())

    def moments64(self) -> list[RunningMoments]:
        """The running moments in float64, as copies."""
        return [RunningMoments(moments.mean.double(), moments.variance.double()) for moments in self.moments]
