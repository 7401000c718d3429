"""The layers of any `nn.Module`, found by running it: pre-activations, activations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

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
_CHANNELS_SECOND = (nn.modules.conv._ConvNd,)


@dataclass
class LayerUse:
    """A layer in one forward pass: its outputs, and what the activation after it saw, one tensor per use."""

    name: str
    module: nn.Module
    preactivations: list[Tensor] = field(default_factory=list)
    activation_module: nn.Module | None = None
    activation_inputs: list[Tensor] = field(default_factory=list)
    activation_outputs: list[Tensor] = field(default_factory=list)

    def by_unit(self, tensor: Tensor) -> Tensor:
        """[example, position, unit] of an output of this layer; a vector is that of one example."""
        if tensor.ndim == 1:
            tensor = tensor[None]
        if isinstance(self.module, _CHANNELS_SECOND):
            tensor = tensor.movedim(1, -1)
        return tensor.reshape(tensor.shape[0], -1, tensor.shape[-1])

    @property
    def units(self) -> int:
        """Outputs of the layer, positions apart."""
        return self.by_unit(self.preactivations[0]).shape[2]

    @property
    def activation(self) -> Activation | None:
        """The activation that follows every use of the layer, if one does."""
        if self.activation_module is None or len(self.activation_inputs) < len(self.preactivations):
            return None
        return _activation(self.activation_module)


def has_weight_matrix(module: nn.Module) -> bool:
    """Whether `module` is a layer in gradlab's sense: it has a weight of two or more dimensions of its own."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.ndim >= 2


def weight_of(module: nn.Module) -> Tensor:
    """The weight of a module that `has_weight_matrix`."""
    weight = module._parameters["weight"]
    if weight is None:
        raise ValueError("the module has no weight")
    return weight


@contextmanager
def watched(model: nn.Module) -> Iterator[list[LayerUse]]:
    """The layers that a forward pass uses, in the order of their first use; filled while the pass runs."""
    names = {module: name for name, module in model.named_modules()}
    uses: dict[nn.Module, LayerUse] = {}
    order: list[LayerUse] = []
    waiting: list[LayerUse] = []

    def layer_hook(module: nn.Module, _inputs: object, output: object) -> object:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        if module not in uses:
            uses[module] = LayerUse(names[module], module)
            order.append(uses[module])
        uses[module].preactivations.append(output)
        waiting[:] = [uses[module]]
        # A copy goes on, so that an activation in place leaves the pre-activation as it was.
        return output.clone()

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
    for module in model.modules():
        if isinstance(module, (*_NAMED, *_OTHERS)):
            handles.append(module.register_forward_pre_hook(activation_pre_hook))
            handles.append(module.register_forward_hook(activation_hook))
        elif has_weight_matrix(module):
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


def as_outputs(output: object) -> Tensor:
    """A model's output as [example, output]."""
    if not isinstance(output, Tensor):
        raise TypeError(f"the model must return one tensor, not {type(output).__name__}")
    return output[:, None] if output.ndim == 1 else output


def _activation(module: nn.Module) -> Activation:
    if type(module) in _NAMED and getattr(module, "approximate", "none") == "none":
        name, attributes = _NAMED[type(module)]
        parameters = tuple((key, float(getattr(module, attribute))) for key, attribute in attributes.items())
        return make_activation(Choice(name, parameters, tuple(ACTIVATIONS[name].items())))
    module = copy.deepcopy(module)
    if getattr(module, "inplace", False):
        module.inplace = False  # type: ignore[assignment]
    return make_activation(Choice(type(module).__name__), module)
