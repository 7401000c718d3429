"""The layers of any `nn.Module`, found by running it: pre-activations, activations."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from gradlab.config.choices import ACTIVATIONS, Choice
from gradlab.engine.activations import Activation, make_activation

_NAMED: dict[type[nn.Module], tuple[str, dict[str, str]]] = {
    nn.Identity: ("linear", {}),
    nn.Sigmoid: ("sigmoid", {}),
    nn.Tanh: ("tanh", {}),
    nn.ReLU: ("relu", {}),
    nn.LeakyReLU: ("leaky_relu", {"negative_slope": "negative_slope"}),
    nn.ELU: ("elu", {"alpha": "alpha"}),
    nn.SELU: ("selu", {}),
    nn.GELU: ("gelu", {}),
    nn.SiLU: ("silu", {}),
    nn.Softplus: ("softplus", {"beta": "beta"}),
    nn.Hardtanh: ("hardtanh", {"min_val": "min_val", "max_val": "max_val"}),
    nn.ReLU6: ("hardtanh", {"min_val": "min_val", "max_val": "max_val"}),
}
"""torch's activation modules that are activations of the config, too, with their attributes."""

_OTHERS = (
    nn.CELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.LogSigmoid,
    nn.Mish,
    nn.Softsign,
    nn.Tanhshrink,
    nn.Softshrink,
    nn.Hardshrink,
    nn.Threshold,
)
ACTIVATION_MODULES = (*_NAMED, *_OTHERS)
"""torch's elementwise activations."""

_CHANNELS_SECOND = (nn.modules.conv._ConvNd,)


class Composite(nn.Module):
    """A module that counts as one layer with all the matrices inside it, such as a block of a transformer."""


_WHOLE = (Composite, nn.RNNBase, RNNCellBase, nn.MultiheadAttention)
"""Modules that are one layer however many matrices they hold; the modules inside them don't count apart."""


@dataclass(frozen=True)
class Call:
    """What a module was called with, and all that it returned."""

    inputs: tuple[Any, ...]
    output: Any


@dataclass
class LayerUse:
    """A layer in one forward pass: its outputs, and what the activation after it saw, one tensor per use."""

    name: str
    module: nn.Module
    preactivations: list[Tensor] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    activation_module: nn.Module | None = None
    activation_inputs: list[Tensor] = field(default_factory=list)
    activation_outputs: list[Tensor] = field(default_factory=list)

    def by_unit(self, tensor: Tensor) -> Tensor:
        """[example, position, unit] of an output of this layer; a vector is that of one example."""
        if tensor.ndim == 1:
            tensor = tensor[None]
        tensor = tensor.movedim(unit_dimension(self.module, tensor), -1)
        return tensor.reshape(tensor.shape[0], -1, tensor.shape[-1])

    @property
    def final_states(self) -> list[Tensor]:
        """What a recurrent layer returned beside its output: its last hidden states (and cells)."""
        if not isinstance(self.module, nn.RNNBase):
            return []
        states = [call.output[1] for call in self.calls]
        return [tensor for state in states for tensor in (state if isinstance(state, tuple) else (state,))]

    @property
    def units(self) -> int:
        """Outputs of the layer, positions apart."""
        return self.by_unit(self.preactivations[0]).shape[2]

    @property
    def activation(self) -> Activation | None:
        """The activation that follows every use of the layer, if one does."""
        if self.activation_module is None or len(self.activation_inputs) < len(self.preactivations):
            return None
        return activation_of(self.activation_module)


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a model by their names in `named_modules()`; a shared one once, by its first name.

    A layer is a module with a weight of two or more dimensions of its own, or one that holds several such as one:
    recurrent modules and cells, `nn.MultiheadAttention`, a `Composite`.
    """
    inside = parts_of_layers(model)
    return {name: module for name, module in model.named_modules() if module not in inside and weights_of(module)}


def parts_of_layers(model: nn.Module) -> set[nn.Module]:
    """The modules inside a layer that holds several matrices."""
    return {
        part for whole in model.modules() if isinstance(whole, _WHOLE) for part in whole.modules() if part is not whole
    }


def weights_of(module: nn.Module) -> list[nn.Parameter]:
    """The matrices (parameters of two or more dimensions) of a layer, none for a module that is no layer.

    Of a weight under a parametrization they are the parameters that it is computed from.
    """
    if isinstance(module, _WHOLE):
        named = module.named_parameters()
        return [parameter for name, parameter in named if parameter.ndim >= 2 and not _is_bias(name)]
    weight = module._parameters.get("weight")
    if weight is not None:
        return [weight] if weight.ndim >= 2 else []
    return [original for original in _originals(module, "weight") if original.ndim >= 2]


def biases_of(module: nn.Module) -> list[nn.Parameter]:
    """The biases of a layer."""
    if isinstance(module, _WHOLE):
        return [parameter for name, parameter in module.named_parameters() if _is_bias(name)]
    bias = module._parameters.get("bias")
    return [bias] if bias is not None else _originals(module, "bias")


def unit_dimension(module: nn.Module, output: Tensor) -> int:
    """The dimension of a layer's output that counts its units: channels, before the positions, else the last."""
    if isinstance(module, _CHANNELS_SECOND):
        return max(0, output.ndim - 1 - len(module.kernel_size))
    return output.ndim - 1


def last_states(module: nn.Module, states: Iterable[Tensor | None]) -> list[Tensor]:
    """Final states of a recurrent module's last layer, or gradients by them, [example, unit], units as in its output.

    Args:
        states: as the module returns them; those of another size than the output (cells of a projected LSTM) and
            None are left out.
    """
    if not isinstance(module, nn.RNNBase):
        return []
    sides = 2 if module.bidirectional else 1
    last = [state[-sides:] for state in states if state is not None]
    rows = [state.reshape(sides, -1, state.shape[-1]).transpose(0, 1).flatten(1) for state in last]
    return [row for row in rows if row.shape[1] == sides * (module.proj_size or module.hidden_size)]


def _is_bias(name: str) -> bool:
    return "bias" in name.rpartition(".")[2]


def _originals(module: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters from which the one called `name` is computed: by a parametrization (`torch.nn.utils.parametrize`),
    or by the older hooks of weight and spectral normalisation."""
    older = [module._parameters.get(f"{name}{suffix}") for suffix in ("_g", "_v", "_orig")]
    if any(parameter is not None for parameter in older):
        return [parameter for parameter in older if parameter is not None]
    parametrizations = module._modules.get("parametrizations")
    own = parametrizations._modules.get(name) if parametrizations is not None else None
    return [] if own is None else list(own.parameters())


def all_weights(module: nn.Module) -> Tensor:
    """The entries of all matrices of a layer, [1, weight], detached."""
    return torch.cat([weight.detach().flatten() for weight in weights_of(module)])[None]


def first_tensor(output: object) -> Tensor | None:
    """What a layer passes on: its output, or the first of them, where that is a tensor of real numbers."""
    value = output[0] if isinstance(output, tuple) and output else output
    value = value.data if isinstance(value, PackedSequence) else value
    return value if isinstance(value, Tensor) and value.is_floating_point() else None


def _with_first(output: Any, tensor: Tensor) -> Any:
    """What a layer returned with another tensor in the place of `first_tensor`."""
    if not isinstance(output, tuple):
        return tensor
    first = output[0]
    return (first._replace(data=tensor) if isinstance(first, PackedSequence) else tensor, *output[1:])


@contextmanager
def watched(model: nn.Module) -> Iterator[list[LayerUse]]:
    """The layers that a forward pass uses, in the order of their first use; filled while the pass runs."""
    names = {module: name for name, module in layers_of(model).items()}
    uses: dict[nn.Module, LayerUse] = {}
    order: list[LayerUse] = []
    waiting: list[LayerUse] = []

    def layer_hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> object:
        z = first_tensor(output)
        if z is None:
            return None
        if module not in uses:
            uses[module] = LayerUse(names[module], module)
            order.append(uses[module])
        uses[module].preactivations.append(z)
        uses[module].calls.append(Call(inputs, output))
        waiting[:] = [uses[module]]
        # A copy goes on, so that an activation in place leaves the pre-activation as it was.
        return _with_first(output, z.clone())

    def activation_pre_hook(module: nn.Module, inputs: tuple[object, ...]) -> None:
        if waiting and isinstance(inputs[0], Tensor):
            use = waiting[0]
            if len(use.activation_inputs) == len(use.preactivations):
                # What came before was an nn.Identity, the placeholder of a norm or the like that is switched off.
                use.activation_inputs.pop()
                use.activation_outputs.pop()
            use.activation_module = module
            use.activation_inputs.append(inputs[0].detach().clone())

    def activation_hook(module: nn.Module, _inputs: object, output: object) -> None:
        if waiting and waiting[0].activation_module is module and isinstance(output, Tensor):
            waiting[0].activation_outputs.append(output.detach().clone())
            if not isinstance(module, nn.Identity):
                waiting.clear()

    handles = []
    inside = parts_of_layers(model)
    for module in model.modules():
        if module in inside:
            continue
        if isinstance(module, ACTIVATION_MODULES):
            handles.append(module.register_forward_pre_hook(activation_pre_hook))
            handles.append(module.register_forward_hook(activation_hook))
        elif module in names:
            handles.append(module.register_forward_hook(layer_hook))
    try:
        yield order
    finally:
        for handle in handles:
            handle.remove()


def copied(model: nn.Module) -> nn.Module:
    """A deep copy; tensors that the model keeps from a forward pass are copied without their history."""
    memo: dict[int, object] = {}
    for module in model.modules():
        for value in vars(module).values():
            held = value if isinstance(value, list | tuple) else value.values() if isinstance(value, dict) else [value]
            memo |= {id(one): one.detach().clone() for one in held if isinstance(one, Tensor) and not one.is_leaf}
    return copy.deepcopy(model, memo)


def tensors_in(value: object) -> Iterator[Tensor]:
    """The tensors in a tensor, tuple, list or mapping, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | tuple | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(one)


def as_outputs(output: object) -> Tensor:
    """A model's output as [example, output]."""
    if not isinstance(output, Tensor):
        raise TypeError(f"the model must return one tensor, not {type(output).__name__}")
    return output[:, None] if output.ndim == 1 else output


def activation_of(module: nn.Module) -> Activation:
    """What one of torch's activation modules computes."""
    if type(module) in _NAMED and getattr(module, "approximate", "none") == "none":
        name, attributes = _NAMED[type(module)]
        parameters = tuple((key, float(getattr(module, attribute))) for key, attribute in attributes.items())
        return make_activation(Choice(name, parameters, tuple(ACTIVATIONS[name].items())))
    module = copy.deepcopy(module)
    if getattr(module, "inplace", False):
        module.inplace = False  # type: ignore[assignment]
    return make_activation(Choice(type(module).__name__), module)
