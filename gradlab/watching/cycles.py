"""Which backward passes a step is made of: those that were added up in the gradients that its update uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from gradlab.watching.norms import norm


class Cycles:
    """Counts the backward passes of one step.

    Gradients that are thrown away between two of them, as after an overflow that a GradScaler found, or before a
    second look at the same batch, don't count. Inside the optimizer's step it is the other way round: of the passes
    that a closure makes there, the first is about the weights before the update.

    Args:
        parameters: whose gradients tell; without any, every pass counts.

    Attributes:
        count: backward passes so far.
        first: those before this one don't count.
        updating: whether the optimizer's step is under way.
    """

    def __init__(self, parameters: Sequence[nn.Parameter] = ()) -> None:
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._task = -1
        self.reset()

    def reset(self) -> None:
        """Begin a step."""
        self.count = self.first = 0
        self.updating = self._over = False

    def notice(self, reached: nn.Parameter | None = None) -> bool:
        """A gradient has come, perhaps into that of a parameter; returns whether it counts."""
        task = backward_pass()
        if task > self._task:
            self._task = task
            if self.count and self._gradients_were_thrown_away(reached):
                if self.updating:
                    self._over = True
                else:
                    self.first = self.count
            self.count += 1
        return not self._over

    def _gradients_were_thrown_away(self, reached: nn.Parameter | None) -> bool:
        """Whether nothing is left of earlier passes; `reached` has its gradient from this one already."""
        gradients = [parameter.grad for parameter in self._parameters if parameter is not reached]
        return bool(gradients) and all(gradient is None or float(norm(gradient)) == 0 for gradient in gradients)


def backward_pass() -> int:
    """The number of the backward pass that is under way, -1 for none."""
    return torch._C._current_graph_task_id()
