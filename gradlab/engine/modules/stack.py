"""Modules of one structure as one function of all their parameters: torch.func's functional_call under vmap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from gradlab.engine.alignment import padded
from gradlab.engine.modules.layers import as_outputs, copied
from gradlab.engine.tasks import example_losses

Group = TypeVar("Group")


class ModuleStack:
    """Trials' modules in train mode, side by side.

    The parameters that are trained lie in one flat buffer, a slab for each trial, padded so that every trial starts
    on a vector's boundary (see `gradlab.engine.alignment`).

    Args:
        modules: at least two, all alike but for the numbers in their parameters and buffers; they are copied.
        trained: the names of the parameters that are trained, of one type; the others stay as they are.

    Attributes:
        flat, gradient: the buffer of the trained parameters and that of their gradients, laid out alike.
        buffers: name -> [trial, ...]; each forward pass makes new ones.
    """

    def __init__(self, modules: Sequence[nn.Module], trained: Sequence[str]) -> None:
        own = [dict(module.named_parameters()) for module in modules]
        self._trials = len(modules)
        self._shapes = {name: own[0][name].shape for name in trained}
        self._slab = padded(sum(map(prod, self._shapes.values())))
        self.flat = own[0][trained[0]].new_zeros(self._trials * self._slab, requires_grad=False).detach()
        self.gradient = torch.zeros_like(self.flat)
        for name, view in self.views(self.flat).items():
            torch.stack([parameters[name].detach() for parameters in own], out=view)
        # Leaves of their own over the same memory, so that updates of the buffer show in them.
        self._leaves = {name: view.detach().requires_grad_() for name, view in self.views(self.flat).items()}
        self._gradient_views = self.views(self.gradient)
        self._constants = {
            name: torch.stack([parameters[name].detach() for parameters in own])
            for name in own[0]
            if name not in self._shapes
        }
        named = [dict(module.named_buffers()) for module in modules]
        self.buffers = {name: torch.stack([buffers[name] for buffers in named]) for name in named[0]}
        self._base = _emptied(modules[0]).train()
        self._forward = vmap(self._call, randomness="error")

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Name -> [trial, *shape], as views into a buffer that is laid out like `flat`."""
        rows = flat.view(self._trials, self._slab)
        start, found = 0, {}
        for name, shape in self._shapes.items():
            found[name] = rows[:, start : start + prod(shape)].view(self._trials, *shape)
            start += prod(shape)
        return found

    def segments(self, groups: Sequence[Group]) -> list[dict[Group, list[tuple[int, int]]]]:
        """Where the parameters of each group of trials lie in the flat buffer, as if all of them were one layer."""
        pieces: dict[Group, list[tuple[int, int]]] = {}
        start = 0
        for group, run in groupby(groups):
            stop = start + len(list(run)) * self._slab
            pieces.setdefault(group, []).append((start, stop))
            start = stop
        return [pieces]

    def differentiate(self, kind: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """One forward and backward pass of every trial on its own minibatch; fills `gradient`, moves `buffers`.

        Args:
            kind: of the task.
            x, y: [trial, example, ...].

        Returns:
            Outputs [trial, example, output] and losses [trial].
        """
        buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}
        with _vectorised():
            output, moved = self._forward({**self._leaves, **self._constants}, buffers, x)
        losses = example_losses(kind, output, y)
        gradients = torch.autograd.grad(losses.sum() / losses.shape[1], list(self._leaves.values()))
        for target, gradient in zip(self._gradient_views.values(), gradients, strict=True):
            target.copy_(gradient)
        self.buffers = {name: buffer.detach() for name, buffer in moved.items()}
        return output.detach(), losses.detach().mean(1)

    def load(self, module: nn.Module, trial: int, flat: Tensor, buffers: Mapping[str, Tensor]) -> nn.Module:
        """`module` with the trained parameters and the buffers of a trial."""
        views = self.views(flat)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in views:
                    parameter.copy_(views[name][trial])
            for name, buffer in module.named_buffers():
                buffer.copy_(buffers[name][trial])
        return module

    def load_gradients(self, module: nn.Module, trial: int) -> nn.Module:
        """`module` with the gradients of a trial, as a backward pass of its own would have left them."""
        for name, parameter in module.named_parameters():
            parameter.grad = self._gradient_views[name][trial].clone() if name in self._gradient_views else None
        return module

    def bits(self, trial: int, output: Tensor) -> bytes:
        """A trial's outputs, gradients and buffers after a pass, byte by byte."""
        tensors = [output, *self._gradient_views.values(), *self.buffers.values()]
        return b"".join(tensor[trial].contiguous().view(-1).view(torch.uint8).numpy().tobytes() for tensor in tensors)

    def _call(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        state = {**parameters, **buffers}
        output = as_outputs(functional_call(self._base, state, (x,)))
        # functional_call notes in `state` what the forward pass made of the buffers, in place or not.
        return output, {name: state[name] for name in buffers}


def _emptied(module: nn.Module) -> nn.Module:
    """A copy whose own numbers must not be used: NaN, so that a use of them is seen."""
    base = copied(module)
    with torch.no_grad():
        for tensor in (*base.parameters(), *base.buffers()):
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
    return base


@contextmanager
def _vectorised() -> Iterator[None]:
    """Only what vmap computes for all trials at once.

    Operators that it can but loop over are errors: they gain nothing, and some of them miss changes in place. The
    fused attention is one of them; without it, torch multiplies matrices instead.
    """
    functorch: Any = torch._C._functorch
    attention: Any = torch.backends.cuda
    fallback, fused = functorch._is_vmap_fallback_enabled(), attention.flash_sdp_enabled()
    functorch._set_vmap_fallback_enabled(False)
    attention.enable_flash_sdp(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(fallback)
        attention.enable_flash_sdp(fused)
