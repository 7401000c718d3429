"""The gradients of parameters as a backward pass leaves them: before clipping, before the optimizer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradlab.watching.cycles import Cycles
from gradlab.watching.hooks import Aside, Hook
from gradlab.watching.norms import norm, not_finite


@dataclass(frozen=True)
class GradientSeen:
    """The norm of a parameter's gradient, and how many of its entries are no finite numbers; float64 scalars."""

    norm: Tensor
    not_finite: Tensor


class GradientNorms:
    """The gradients of a model's trainable parameters, each as the last backward pass that counts left it."""

    def __init__(self, model: nn.Module, aside: Aside, cycles: Cycles) -> None:
        self._model, self._aside, self._cycles = model, aside, cycles
        self._handles: list[RemovableHandle] = []
        self._seen: dict[nn.Parameter, tuple[int, GradientSeen]] = {}

    @property
    def seen(self) -> dict[nn.Parameter, GradientSeen]:
        """What was seen of this step."""
        return {parameter: seen for parameter, (cycle, seen) in self._seen.items() if cycle > self._cycles.first}

    def install(self) -> None:
        """Begin to look."""
        for parameter in self._model.parameters():
            if parameter.requires_grad:
                look = Hook(self._look, self._aside)
                self._handles.append(parameter.register_post_accumulate_grad_hook(look))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Look no more."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def forget(self) -> None:
        """Drop what was seen."""
        self._seen.clear()

    def _look(self, parameter: nn.Parameter) -> None:
        if self._cycles.notice(parameter) and parameter.grad is not None:
            its_norm = norm(parameter.grad)
            seen = GradientSeen(its_norm, not_finite(parameter.grad, its_norm))
            self._seen[parameter] = self._cycles.count, seen
