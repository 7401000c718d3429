"""Loss and metric of all networks of a stack on examples that they share, in eval mode."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.engine.layout import LayerParameters
from gradlab.engine.network import Network
from gradlab.engine.normalisation import RunningMoments
from gradlab.engine.passes import Passes
from gradlab.engine.tasks import example_losses, metric

CHUNK = 1 << 19
"""Elements of a hidden layer of one trial that are evaluated in one go."""


class Evaluation:
    """Evaluates a stack again and again, in the same buffers."""

    def __init__(self, network: Network, layers: Sequence[LayerParameters], kind: str) -> None:
        self._shape, self._kind, self._trials = network.shape, kind, len(network.activations)
        self._passes = Passes(network, layers)

    def measure(self, moments: Sequence[RunningMoments], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and metric, [trial] each, float64, on x [example, ...] and y."""
        output, target = self.outputs(moments, x), y.expand(self._trials, *y.shape)
        loss = example_losses(self._kind, output, target).double().mean(1)
        return loss, metric(self._kind, output, target)

    def outputs(self, moments: Sequence[RunningMoments], x: Tensor) -> Tensor:
        """Outputs [trial, example, output] for x [example, ...]."""
        rows = max(1, CHUNK // (self._shape.width * self._shape.positions))
        pieces = [
            self._passes.forward(part.expand(self._trials, *part.shape), moments).clone()
            for part in torch.split(x, rows)
        ]
        return torch.cat(pieces, dim=1)
