"""Compiled models: their passes gone through again, uncompiled, on a copy.

Compiled code runs no hooks of the modules inside, and running these uncompiled for a step would change the training's
last digits. So the inputs of a recorded step and the gradient by its outputs are kept, and a copy goes through both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradlab.engine.modules.first_step import forked_streams
from gradlab.engine.modules.layers import tensors_in
from gradlab.watching.cycles import Cycles
from gradlab.watching.hooks import Aside, Hook
from gradlab.watching.passes import Passes


@dataclass
class _Call:
    """One call of the compiled model: what went in, random streams and autocast then, the gradient by its outputs.

    `cycle` is how many backward passes had begun before; `inner` are the outputs that others are computed from.
    """

    inputs: tuple[Any, ...]
    keywords: dict[str, Any]
    streams: list[Tensor]
    autocast: tuple[str, torch.dtype] | None
    cycle: int
    gradients: dict[int, Tensor] = field(default_factory=dict)
    inner: set[int] = field(default_factory=set)


class Replay:
    """The calls of a compiled model in one step.

    Args:
        compiled: what `torch.compile` returned, or a module that was compiled in place.
        cycles: the backward passes of the step.
    """

    def __init__(self, compiled: nn.Module, aside: Aside, cycles: Cycles) -> None:
        self._compiled, self._aside, self._cycles = compiled, aside, cycles
        self._calls: list[_Call] = []
        self._handles: list[RemovableHandle] = []
        self._in_place = getattr(compiled, "_compiled_call_impl", None)

    def install(self) -> None:
        """Begin to look."""
        begin, end = Hook(self._begin, self._aside), Hook(self._end, self._aside)
        if self._in_place is not None:
            # Hooks of such a module are compiled with it, so what it was compiled to is called from outside.
            self._compiled._compiled_call_impl = _around(self._compiled, self._in_place, begin, end)
            return
        self._handles = [
            self._compiled.register_forward_pre_hook(begin, with_kwargs=True),
            self._compiled.register_forward_hook(end),
        ]

    def remove(self) -> None:
        """Look no more."""
        if self._in_place is not None:
            self._compiled._compiled_call_impl = self._in_place
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def forget(self) -> None:
        """Drop what was seen."""
        self._calls.clear()

    @property
    def begun(self) -> bool:
        """Whether a pass has begun."""
        return bool(self._calls)

    def passes(self, copy: nn.Module, batch_dim: int) -> Passes:
        """The passes of this step, gone through again by a copy of the module inside, as it was before the update."""
        passes = Passes(copy, self._aside, batch_dim, Cycles())
        passes.install()
        for call in self._calls:
            if call.gradients and call.cycle >= self._cycles.first:
                with forked_streams(), torch.enable_grad(), _cast(call.autocast):
                    _set_streams(call.streams)
                    outputs = list(tensors_in(copy(*call.inputs, **call.keywords)))
                    passes.seen[-1].cycle = call.cycle
                    _backward(outputs, call)
        passes.remove()
        return passes

    def _begin(self, _module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            tensor = next(tensors_in((inputs, keywords)), None)
            device = "cpu" if tensor is None else tensor.device.type
            cast = (device, torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None
            self._calls.append(_Call(inputs, keywords, _streams(), cast, self._cycles.count))

    def _end(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if not torch.is_grad_enabled() or not self._calls:
            return
        call = self._calls[-1]

        def keep(place: int, gradient: Tensor | None) -> None:
            if gradient is None or not self._cycles.notice():
                return
            known = call.gradients.get(place)
            call.gradients[place] = gradient.detach().clone() if known is None else known + gradient

        outputs = list(tensors_in(output))
        places = _places(outputs)
        call.inner = _inner(outputs, places)
        for place in places.values():
            look = Hook(lambda gradient, place=place: keep(place, gradient), self._aside)
            outputs[place].register_hook(look)  # type: ignore[no-untyped-call]


def _places(outputs: list[Tensor]) -> dict[tuple[Any, int], int]:
    """Where each output stands that has a gradient, by its place in autograd's graph; the first, if it comes twice."""
    places: dict[tuple[Any, int], int] = {}
    for place, output in enumerate(outputs):
        if output.requires_grad:
            places.setdefault((output.grad_fn or id(output), output.output_nr), place)
    return places


def _inner(outputs: list[Tensor], places: dict[tuple[Any, int], int]) -> set[int]:
    """The outputs that others are computed from, as scores are that a returned loss is of.

    So it is where compiled code ends between the two. Where both come from the same compiled code, neither depends on
    the other.
    """
    found, known = set(), set()
    waiting = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node in known:
            continue
        known.add(node)
        found |= {places[edge] for edge in node.next_functions if edge in places}
        waiting += [before for before, _ in node.next_functions if before is not None]
    return found


def _backward(outputs: list[Tensor], call: _Call) -> None:
    """Send the gradients that came to a call's outputs into a copy's."""
    sent = dict(call.gradients)
    for place in call.inner & sent.keys():
        # What came there is already the sum of what the other outputs and the rest of the training sent. It replaces
        # what the copy's other outputs send, before any other hook of the tensor looks.
        hooks = outputs[place]._backward_hooks
        others = dict(hooks or {})
        if hooks:
            hooks.clear()
        outputs[place].register_hook(lambda _, whole=sent[place]: whole)  # type: ignore[no-untyped-call]
        if hooks:
            hooks.update(others)
        sent[place] = torch.zeros_like(sent[place])
    torch.autograd.backward([outputs[place] for place in sent], list(sent.values()))


def _around(module: nn.Module, call: Callable[..., Any], begin: Hook, end: Hook) -> Callable[..., Any]:
    def around(*inputs: Any, **keywords: Any) -> Any:
        begin(module, inputs, keywords)
        output = call(*inputs, **keywords)
        end(module, inputs, output)
        return output

    return around


def _streams() -> list[Tensor]:
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return [torch.random.get_rng_state(), *on_gpus]


def _set_streams(states: list[Tensor]) -> None:
    torch.random.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state_all(states[1:])


@contextlib.contextmanager
def _cast(autocast: tuple[str, torch.dtype] | None) -> Iterator[None]:
    if autocast is None:
        yield
    else:
        with torch.autocast(autocast[0], dtype=autocast[1]):
            yield
