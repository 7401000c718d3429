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

    def __init__(self, network: Network, kind: str, like: Tensor) -> None:
        self._shape, self._kind = network.shape, kind
        self._passes = Passes(network, like, trains=False)

    def measure(
        self, layers: Sequence[LayerParameters], moments: Sequence[RunningMoments], x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and metric, [trial] each, float64, on x [example, ...] and y."""
        count = len(layers[-1].weight)
        rows = max(1, CHUNK // (self._shape.width * self._shape.positions))
        outputs = [
            self._passes.forward(layers, part.expand(count, *part.shape), moments).clone()
            for part in torch.split(x, rows)
        ]
        output, target = torch.cat(outputs, dim=1), y.expand(count, *y.shape)
        loss = example_losses(self._kind, output, target).double().mean(1)
        return loss, metric(self._kind, output, target)
