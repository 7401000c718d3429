"""Loss and metric of all networks of a stack on examples that they share, in eval mode."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.engine.groups import Group, in_groups, rows_at_once
from gradlab.engine.layout import LayerParameters
from gradlab.engine.network import Network
from gradlab.engine.normalisation import RunningMoments
from gradlab.engine.scratch import Scratch
from gradlab.engine.tasks import example_losses, metric


class Evaluation:
    """Evaluates a stack again and again, in the same buffers."""

    def __init__(self, network: Network, layers: Sequence[LayerParameters], kind: str, scratch: Scratch) -> None:
        self._network, self._layers, self._kind, self._scratch = network, layers, kind, scratch
        self._groups: dict[int, list[Group]] = {}

    def measure(self, moments: Sequence[RunningMoments], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and metric, [trial] each, float64, on x [example, ...] and y."""
        output, target = self.outputs(moments, x), y.expand(len(self._network.activations), *y.shape)
        loss = example_losses(self._kind, output, target).double().mean(1)
        return loss, metric(self._kind, output, target)

    def outputs(self, moments: Sequence[RunningMoments], x: Tensor) -> Tensor:
        """Outputs [trial, example, output] for x [example, ...]."""
        shape, trials = self._network.shape, len(self._network.activations)
        rows = min(len(x), rows_at_once(shape))
        if rows not in self._groups:
            self._groups[rows] = in_groups(self._network, self._layers, rows, self._scratch)
        outputs = self._layers[-1].weight.new_empty(trials, shape.out_features, len(x)).mT
        for group in self._groups[rows]:
            own, count = group.moments(moments), len(group.network.activations)
            for part, into in zip(torch.split(x, rows), torch.split(outputs[group.trials], rows, dim=1), strict=True):
                into.copy_(group.passes.forward(part.expand(count, *part.shape), own))
        return outputs
