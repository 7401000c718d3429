"""What forward and backward passes of a training show of a model's layers, by hooks that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradlab.engine.activations import Activation
from gradlab.engine.modules.layers import (
    ACTIVATION_MODULES,
    Call,
    activation_of,
    first_tensor,
    layers_of,
    parts_of_layers,
    unit_dimension,
)
from gradlab.watching.cycles import Cycles, backward_pass
from gradlab.watching.examples import count_examples
from gradlab.watching.hooks import Aside, Hook
from gradlab.watching.norms import norm, plain
from gradlab.watching.parts import inside_compiled, norms_of
from gradlab.watching.sights import Pass, Sight


class Passes:
    """The passes of one step.

    Args:
        model: the module whose calls make passes.
        batch_dim: the dimension of the model's input that counts examples.
        cycles: the backward passes of the step.
    """

    def __init__(self, model: nn.Module, aside: Aside, batch_dim: int, cycles: Cycles) -> None:
        self._model, self._aside, self._batch_dim, self._cycles = model, aside, batch_dim, cycles
        self.layers, self.norms = layers_of(model), norms_of(model)
        self._is_layer = set(self.layers.values())
        hidden = parts_of_layers(model) | inside_compiled(model)
        self._names = {module: name for name, module in {**self.layers, **self.norms}.items() if module not in hidden}
        self._activations = [m for m in model.modules() if isinstance(m, ACTIVATION_MODULES) and m not in hidden]
        self._known: dict[nn.Module, Activation] = {}
        self._handles: list[RemovableHandle] = []
        self.seen: list[Pass] = []
        self._current: Pass | None = None

    def install(self) -> None:
        """Begin to look."""
        model = self._model
        keep = self._handles.append
        keep(model.register_forward_pre_hook(Hook(self._begin, self._aside)))
        for module in self._names:
            keep(module.register_forward_hook(Hook(self._layer, self._aside)))
        for module in self._activations:
            keep(module.register_forward_pre_hook(Hook(self._activation_input, self._aside)))
            keep(module.register_forward_hook(Hook(self._activation_output, self._aside)))
        keep(model.register_forward_hook(Hook(self._end, self._aside), with_kwargs=True))

    def remove(self) -> None:
        """Look no more."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def forget(self) -> None:
        """Drop what was seen."""
        self.seen, self._current = [], None

    @property
    def begun(self) -> bool:
        """Whether a pass has begun."""
        return bool(self.seen)

    def trained(self) -> list[Pass]:
        """The passes that a backward pass reached, their layers' gradients complete."""
        passes = [one for one in self.seen if one.reached and one.cycle >= self._cycles.first]
        for sight in (sight for one in passes for sight in one.sights):
            if sight.held is not None:
                self._measure_delta(sight, sight.held)
        return passes

    def examples(self) -> int:
        """Examples whose losses the gradient is the mean over: batches that were added up, not parallel passes."""
        largest: dict[int, int] = {}
        for one in self.trained():
            largest[one.cycle] = max(largest.get(one.cycle, 0), one.examples or 1)
        return sum(largest.values()) or 1

    def _begin(self, *_: Any) -> None:
        if _looking():
            self._open()

    def _open(self) -> Pass:
        self._current = Pass(None, self._cycles.count)
        self.seen.append(self._current)
        return self._current

    def _end(self, _module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        if _looking() and self._current is not None:
            examples = count_examples((inputs, keywords), output, self._batch_dim)
            self._current.examples = examples or self._current.examples
            self._current = None

    def _layer(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        z = first_tensor(output)
        if z is None or not _looking():
            return
        now = self._current or self._open()
        if now.examples is None:
            now.examples = count_examples(inputs, output, self._batch_dim)
        is_layer = module in self._is_layer
        units = z.shape[unit_dimension(module, z)] if is_layer else module._parameters["weight"].numel()  # type: ignore[union-attr]
        sight = Sight(self._names[module], module, units, z.numel(), z.requires_grad, norm(z))
        now.sights.append(sight)
        if is_layer:
            now.waiting = sight
        if isinstance(module, nn.RNNBase):
            self._follow_states(now, sight, inputs, output)
        if z.requires_grad:
            _at_gradient(z, lambda gradient: self._gradient(now, sight, gradient), self._aside)

    def _follow_states(self, now: Pass, sight: Sight, inputs: tuple[Any, ...], output: Any) -> None:
        sight.call = Call(inputs, None)
        finals = output[1] if isinstance(output[1], tuple) else (output[1],)
        sight.of_final = [None] * len(finals)

        def keep(place: int, gradient: Tensor | None) -> None:
            if gradient is None or not self._cycles.notice():
                return
            now.reached = True
            known = sight.of_final[place]
            sight.of_final[place] = gradient.detach().clone() if known is None else known + gradient

        for place, state in enumerate(finals):
            if state.requires_grad:
                state.register_hook(Hook(lambda gradient, place=place: keep(place, gradient), self._aside))

    def _gradient(self, now: Pass, sight: Sight, gradient: Tensor | None) -> None:
        # None: one of several outputs of a kernel, and the loss doesn't depend on it.
        if gradient is None or not self._cycles.notice():
            return
        now.reached = True
        if sight.call is not None:
            sight.of_output = gradient.detach().clone() if sight.of_output is None else sight.of_output + gradient
        if _may_come_again() or sight.held is not None:
            # Another loss may send a second gradient to the same output, and only their sum has a meaning.
            sight.held = gradient.detach().clone() if sight.held is None else sight.held + gradient
        else:
            self._measure_delta(sight, gradient)

    def _measure_delta(self, sight: Sight, gradient: Tensor) -> None:
        sight.delta, sight.held = norm(gradient), None
        if sight.module in self._is_layer:
            values = plain(gradient)
            others = _other_dimensions(values, unit_dimension(sight.module, values))
            if others:
                sight.reached = (torch.amax(values, others) != 0) | (torch.amin(values, others) != 0)
            else:
                sight.reached = values != 0

    def _activation_input(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        sight = self._followed()
        if sight is None or not isinstance(inputs[0], Tensor):
            return
        u = plain(inputs[0])
        dimension = unit_dimension(sight.module, u)
        if u.numel() != sight.size or u.shape[dimension] != sight.units:
            return
        if module not in self._known:
            self._known[module] = activation_of(module)
        sight.activation = activation = self._known[module]
        others = _other_dimensions(u, dimension)
        zero = activation.zero_derivative
        flags = None
        if zero is None:
            sight.dead = torch.zeros(sight.units, dtype=torch.bool, device=u.device)
        elif isinstance(module, nn.ReLU) and others:
            sight.dead = torch.amax(u, others) <= 0
        else:
            flags = zero(u)
            sight.dead = flags.view(torch.uint8).amin(others).bool() if others else flags
        if activation.saturated is None:
            sight.saturated = torch.zeros((), device=u.device)
        else:
            low = flags if activation.saturated is zero and flags is not None else activation.saturated(u)
            sight.saturated = torch.count_nonzero(low)

    def _activation_output(self, module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        sight = self._followed()
        if sight is None or not isinstance(output, Tensor):
            return
        if sight.activation is not None:
            a = plain(output)
            sight.activation_sum, sight.activation_norm = a.mean().double() * a.numel(), norm(a)
        if self._current is not None and not isinstance(module, nn.Identity):
            self._current.waiting = None

    def _followed(self) -> Sight | None:
        """The layer whose output came last: what an activation belongs to."""
        return self._current.waiting if self._current is not None and _looking() else None


def _at_gradient(z: Tensor, look: Callable[[Tensor | None], None], aside: Aside) -> None:
    """Look at the gradient by a layer's output as it is now, whatever works on it in place afterwards."""
    base = z._base
    if base is None or base.numel() != z.numel():
        z.register_hook(Hook(look, aside))  # type: ignore[no-untyped-call]
        return
    # Work in place on a view rewrites the view's history, so that no gradient passes the hooks of z; its base, another
    # arrangement of the same numbers, keeps its own.
    shape, strides, base_strides = z.shape, z.stride(), base.stride()

    def look_at_view(gradient: Tensor | None) -> None:
        if gradient is not None and gradient.stride() != base_strides:
            laid = torch.empty_strided(gradient.shape, base_strides, dtype=gradient.dtype, device=gradient.device)
            gradient = laid.copy_(gradient)
        look(None if gradient is None else gradient.as_strided(shape, strides))

    base.register_hook(Hook(look_at_view, aside))  # type: ignore[no-untyped-call]


def _other_dimensions(tensor: Tensor, dimension: int) -> list[int]:
    return [other for other in range(tensor.ndim) if other != dimension]


def _looking() -> bool:
    """Whether this forward pass is part of a training: no evaluation, and no repetition for a checkpoint's sake."""
    return torch.is_grad_enabled() and backward_pass() == -1


def _may_come_again() -> bool:
    """Whether the backward pass under way keeps its graph, so that another can follow."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else bool(ask())
