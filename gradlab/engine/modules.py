"""The layers of any `nn.Module`, found by running it: pre-activations, activations, and what is measured of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gradlab.config.choices import ACTIVATIONS, Choice
from gradlab.engine.activations import Activation, make_activation
from gradlab.engine.measure import scaled_norm
from gradlab.engine.tasks import loss_signal

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
        """[example, position, unit] of an output of this layer."""
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


def float64_twin(model: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """A copy of `model` in float64 with `x` to match; in its own precision where it can't run in float64."""
    twin = copied(model).double()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            copied(twin)(x.double())
    except (RuntimeError, TypeError, ValueError):
        return copied(model), x
    return twin, x.double()


def gradient_statistics(
    twin: nn.Module, x: Tensor, y: Tensor, kind: str, seen_by_float32: dict[str, Tensor | None]
) -> tuple[dict[str, dict[str, float]], float]:
    """Per layer name, the statistics of gradients on the minibatch x, y; and the norm over all parameters.

    Args:
        seen_by_float32: the gradient of each layer's weight that training computed; None where it computed none.
    """
    trainable = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    uses, pulled = _run(twin, x, y, kind, len(x))
    biases = [use.module._parameters.get("bias") for use in uses]
    wanted: list[Tensor] = [*(weight_of(use.module) for use in uses)]
    wanted += [bias for bias in biases if bias is not None]
    wanted += trainable + [z for use in uses for z in use.preactivations]
    found = dict(zip(map(id, wanted), torch.autograd.grad(pulled, wanted, allow_unused=True), strict=True))

    def norm(tensors: Sequence[Tensor | None]) -> float:
        gradients = [found.get(id(tensor)) for tensor in tensors]
        parts = [scaled_norm(gradient.double()[None]) for gradient in gradients if gradient is not None]
        return scaled_norm(torch.stack(parts, dim=1)).item() if parts else 0.0

    result: dict[str, dict[str, float]] = {}
    for use, bias in zip(uses, biases, strict=True):
        weight_norm, delta = norm([weight_of(use.module)]), norm(use.preactivations) * math.sqrt(len(x))
        exact, float32 = found.get(id(weight_of(use.module))), seen_by_float32.get(use.name)
        row = {
            "weight_grad_norm": weight_norm,
            "log10_weight_grad_norm": _log10(weight_norm),
            "delta_rms": delta,
            "log10_delta_rms": _log10(delta),
            "non_finite": 0.0 if float32 is None else float((~torch.isfinite(float32)).sum().item()),
        }
        if bias is not None:
            row["bias_grad_norm"] = norm([bias])
        if float32 is not None:
            lost = torch.zeros_like(float32, dtype=torch.bool) if exact is None else (float32 == 0) & (exact != 0)
            row["float32_zero_fraction"] = lost.double().mean().item()
        result[use.name] = row
    return result, norm(trainable)


def unit_statistics(twin: nn.Module, x: Tensor, y: Tensor, kind: str) -> dict[str, dict[str, float]]:
    """Per layer name, the statistics of units on the probe x, y, in eval mode; the last layer is the output."""
    twin.eval()
    uses, pulled = _run(twin, x, y, kind, 1)
    tensors = [z for use in uses for z in use.preactivations]
    gradients = dict(zip(map(id, tensors), torch.autograd.grad(pulled, tensors, allow_unused=True), strict=True))
    rows = {use.name: _unit_row(use, gradients) for use in uses}
    rows[uses[-1].name] = {"preactivation_rms": rows[uses[-1].name]["preactivation_rms"]}
    return rows


def _run(twin: nn.Module, x: Tensor, y: Tensor, kind: str, divisor: int) -> tuple[list[LayerUse], Tensor]:
    """The layers that a forward pass uses, and a scalar whose gradients are those of the losses' sum over `divisor`."""
    for module in twin.modules():
        if has_weight_matrix(module):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_()
    with watched(twin) as uses:
        output = twin(x)
    outputs = as_outputs(output)
    signal = (loss_signal(kind, outputs.detach()[None], y[None])[0] / divisor).to(outputs.dtype)
    return uses, (outputs * signal).sum()


def _unit_row(use: LayerUse, gradients: Mapping[int, Tensor | None]) -> dict[str, float]:
    z = torch.cat([use.by_unit(tensor.detach()).flatten(0, 1) for tensor in use.preactivations])
    reached = torch.zeros(use.units, dtype=torch.bool, device=z.device)
    for tensor in use.preactivations:
        gradient = gradients[id(tensor)]
        if gradient is not None:
            reached |= (use.by_unit(gradient) != 0).flatten(0, 1).any(0)
    row = {
        "preactivation_rms": z.double().square().mean().sqrt().item(),
        "zero_gradient_units": float((~reached).sum().item()),
    }
    activation = use.activation
    if activation is None:
        return row
    u = torch.cat([use.by_unit(tensor).flatten(0, 1) for tensor in use.activation_inputs])
    a = torch.cat([tensor.flatten() for tensor in use.activation_outputs]).double()
    zero = activation.zero_derivative
    row["dead_units"] = 0.0 if zero is None else float(zero(u).all(0).sum().item())
    row["saturated_fraction"] = 0.0 if activation.saturated is None else activation.saturated(u).double().mean().item()
    return row | {"activation_mean": a.mean().item(), "activation_rms": a.square().mean().sqrt().item()}


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


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else (-math.inf if value == 0 else math.nan)
