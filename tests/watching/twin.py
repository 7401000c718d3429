"""What a training step should show, by the plainest means: a float64 copy, retain_grad, one example at a time."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

Array = Any
LossOf = Callable[[nn.Module, Any], Tensor]
"""The mean loss of a batch by the model."""


@dataclass(frozen=True)
class Part:
    """A row of the layers table that must be there.

    `weights` and `biases` are names of parameters, `activation` that of the module that follows, `channels` the
    dimension of the output that counts units. A recurrent module passes on its final states, too.
    """

    name: str
    number: int
    units: int
    weights: Sequence[str]
    biases: Sequence[str] = ()
    kind: str = "layer"
    activation: str | None = None
    channels: int = -1
    is_output: bool = False


def of_module(name: str, number: int, units: int, **more: Any) -> Part:
    """The row of a module with a `weight` and a `bias`."""
    return Part(name, number, units, [f"{name}.weight"], [f"{name}.bias"], **more)


def exact(model: nn.Module) -> nn.Module:
    """A float64 copy in which nothing works in place."""
    twin = copy.deepcopy(model).double()
    for module in twin.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    twin.zero_grad(set_to_none=True)
    return twin


def in_float64(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(in_float64, value))
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def first(output: Any) -> Tensor:
    """The first of a module's outputs, the data of a packed one."""
    value = output[0] if isinstance(output, tuple) and not isinstance(output, PackedSequence) else output
    found = value.data if isinstance(value, PackedSequence) else value
    assert isinstance(found, Tensor)
    return found


def final_states(output: Any) -> list[Tensor]:
    """What a recurrent module returns beside its output: h_n, and in an LSTM c_n."""
    return list(output[1]) if isinstance(output[1], tuple) else [output[1]]


class Seen:
    """Outputs of some modules, their gradients kept, and what some others had as their input."""

    def __init__(self, twin: nn.Module, outputs: set[str], inputs: set[str]) -> None:
        self.outputs: dict[str, list[Tensor]] = {name: [] for name in outputs | inputs}
        self.inputs: dict[str, list[Tensor]] = {name: [] for name in inputs}
        self.states: dict[str, list[Tensor]] = {name: [] for name in outputs}
        modules = dict(twin.named_modules())
        for name in outputs:
            modules[name].register_forward_hook(lambda _m, _i, out, name=name: self._keep(name, first(out)))
            if isinstance(modules[name], nn.RNNBase):
                modules[name].register_forward_hook(lambda _m, _i, out, name=name: self._keep_states(name, out))
        for name in inputs:
            modules[name].register_forward_hook(lambda _m, into, out, name=name: self._around(name, into[0], out))

    def _keep(self, name: str, output: Tensor) -> None:
        if output.requires_grad:
            output.retain_grad()  # type: ignore[no-untyped-call]
        self.outputs[name].append(output)

    def _keep_states(self, name: str, output: Any) -> None:
        for state in final_states(output):
            state.retain_grad()  # type: ignore[no-untyped-call]
            self.states[name].append(state)

    def _around(self, name: str, into: Tensor, out: Tensor) -> None:
        self.inputs[name].append(into.detach().clone())
        self.outputs[name].append(out.detach().clone())

    def gradients(self, name: str) -> list[Array]:
        return [zeros_like(z) if z.grad is None else z.grad.numpy() for z in self.outputs[name]]

    def state_gradients(self, name: str) -> list[Array]:
        return [zeros_like(h) if h.grad is None else h.grad.numpy() for h in self.states[name]]


def zeros_like(z: Tensor) -> Array:
    return np.zeros(tuple(z.shape))


def square(arrays: Sequence[Array]) -> float:
    return float(sum(np.sum(np.square(a)) for a in arrays))


def norm(arrays: Sequence[Array]) -> float:
    """The norm of several arrays together, of any size."""
    greatest = max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)
    return greatest * math.sqrt(square([a / greatest for a in arrays])) if greatest > 0 else 0.0


SLOPES: dict[str, tuple[Callable[[Array], Array], float]] = {
    "ReLU": (lambda u: (u > 0).astype(float), 1.0),
    "Tanh": (lambda u: 1 / np.cosh(u) ** 2, 1.0),
    "Sigmoid": (lambda u: 1 / (2 + np.exp(u) + np.exp(-u)), 0.25),
    "LeakyReLU": (lambda u: np.where(u > 0, 1.0, 0.01), 1.0),
    "ELU": (lambda u: np.where(u > 0, 1.0, np.exp(np.minimum(u, 0))), 1.0),
    "Hardtanh": (lambda u: (np.abs(u) < 1).astype(float), 1.0),
    "Softplus": (lambda u: 1 / (1 + np.exp(-u)), 1.0),
}
"""phi' and sup |phi'| of an activation module, as textbooks have them."""

NEVER_FLAT = {"Tanh", "Sigmoid", "LeakyReLU", "ELU", "Softplus"}
"""phi' is nowhere exactly 0, whatever float64 makes of it."""


def rows(model: nn.Module, batch: Any, loss: LossOf, parts: Sequence[Part], singles: Sequence[Any], examples: int) -> \
        dict[tuple[str, str, int], dict[str, float]]:  # fmt: skip
    """(kind, name, number) -> column -> value.

    Args:
        singles: the examples of the batch, one by one, where their losses don't depend on each other; else empty.
    """
    followed = {part.activation for part in parts if part.activation is not None}
    twin = exact(model)
    seen = Seen(twin, {part.name for part in parts}, followed)
    loss(twin, in_float64(batch)).backward()
    alone = []
    for single in singles:
        other = exact(model)
        alone.append(Seen(other, {part.name for part in parts}, set()))
        loss(other, in_float64(single)).backward()
    parameters = dict(twin.named_parameters())
    found = {}
    for part in parts:
        gradients = seen.gradients(part.name)
        if singles:
            each = [g for one in alone for g in one.gradients(part.name) + one.state_gradients(part.name)]
            delta = norm(each) / math.sqrt(len(singles))
        else:
            delta = norm(gradients + seen.state_gradients(part.name)) * math.sqrt(examples)
        z = np.concatenate([one.detach().numpy().ravel() for one in seen.outputs[part.name]])
        row: dict[str, float | None] = {
            "units": part.units,
            "weight_count": sum(parameters[name].numel() for name in part.weights),
            "delta_rms": delta,
            "weight_grad_norm": gradient_norm(parameters, part.weights),
            "bias_grad_norm": gradient_norm(parameters, part.biases),
            "preactivation_rms": float(np.sqrt(np.mean(z**2))),
            "weight_norm": norm([parameters[name].detach().numpy() for name in part.weights]),
            "non_finite": 0,
            "float32_zero_fraction": None,
        }
        if part.kind == "layer" and not part.is_output:
            flat = [np.moveaxis(g, part.channels, -1).reshape(-1, part.units) for g in gradients]
            for state in seen.state_gradients(part.name):
                directions = part.units // state.shape[-1]
                flat.append(np.moveaxis(state[-directions:], 0, 1).reshape(-1, part.units))
            row["zero_gradient_units"] = int(np.all(np.concatenate(flat) == 0, axis=0).sum())
        row |= unit_row(part, dict(twin.named_modules()), seen)
        found[part.kind, part.name, part.number] = row
    return found  # type: ignore[return-value]


def gradient_norm(parameters: Mapping[str, nn.Parameter], names: Sequence[str]) -> float | None:
    """Null without a trainable parameter; 0 of those that no gradient reaches."""
    trained = [parameters[name] for name in names if parameters[name].requires_grad]
    if not trained:
        return None
    return norm([p.grad.to_dense().numpy() for p in trained if p.grad is not None])


def unit_row(part: Part, modules: Mapping[str, nn.Module], seen: Seen) -> dict[str, float | None]:
    if part.activation is None or part.is_output:
        return dict.fromkeys(["dead_units", "saturated_fraction", "activation_mean", "activation_rms"])
    kind = type(modules[part.activation]).__name__
    slope, sup = SLOPES[kind]
    u = np.concatenate([np.moveaxis(one.numpy(), part.channels, -1).reshape(-1, part.units) for one
                        in seen.inputs[part.activation]])  # fmt: skip
    a = np.concatenate([one.numpy().ravel() for one in seen.outputs[part.activation]])
    dead = 0 if kind in NEVER_FLAT else int(np.all(slope(u) == 0, axis=0).sum())
    return {
        "dead_units": dead,
        "saturated_fraction": float(np.mean(np.abs(slope(u)) < 0.01 * sup)),
        "activation_mean": float(a.mean()),
        "activation_rms": float(np.sqrt(np.mean(a**2))),
    }
