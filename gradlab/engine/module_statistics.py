"""What is measured of any `nn.Module`, by the definitions of docs/reference.md, on a copy in float64."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from gradlab.engine.measure import scaled_norm
from gradlab.engine.modules import LayerUse, copied, has_weight_matrix, watched, weight_of

Rows: TypeAlias = dict[str, dict[str, float]]
"""Layer name -> statistic -> value, in the order in which the forward pass first uses the layers."""

Loss: TypeAlias = Callable[[nn.Module, Any], Tensor]
"""A model and a batch -> the scalar whose gradients are measured; the batch is whatever the function makes of it."""


def float64_twin(model: nn.Module, batch: Any, loss: Loss) -> tuple[nn.Module, Any]:
    """A copy of `model` in float64 and a batch to match; in their own precision where they can't run in float64."""
    try:
        twin, exact = copied(model).double(), in_float64(batch)
        with torch.random.fork_rng(devices=[]):
            loss(copied(twin), exact)
    except (RuntimeError, TypeError, ValueError):
        return copied(model), batch
    return twin, exact


def in_float64(value: Any) -> Any:
    """Tensors of real numbers in float64, in modules, tuples, lists and mappings, too; the rest as it is."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, nn.Module):
        return copied(value).double()
    if isinstance(value, Mapping):
        return {key: in_float64(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return getattr(value, "_make", type(value))(map(in_float64, value))
    return value


def gradient_statistics(
    twin: nn.Module, batch: Any, loss: Loss, examples: int, seen_by_float32: Mapping[str, Tensor | None]
) -> tuple[Rows, float]:
    """Statistics of gradients on a minibatch; and the norm over all parameters.

    Args:
        loss: its mean over the batch.
        examples: how many the batch has.
        seen_by_float32: the gradient of each layer's weight that training computed; None where it computed none.
    """
    trainable = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    uses, value = _run(twin, batch, loss)
    biases = [use.module._parameters.get("bias") for use in uses]
    wanted: list[Tensor] = [*(weight_of(use.module) for use in uses)]
    wanted += [bias for bias in biases if bias is not None]
    wanted += trainable + [z for use in uses for z in use.preactivations]
    found = _gradients(value, wanted)

    def norm(tensors: Sequence[Tensor | None]) -> float:
        gradients = [found.get(id(tensor)) for tensor in tensors]
        parts = [scaled_norm(gradient.double()[None]) for gradient in gradients if gradient is not None]
        return scaled_norm(torch.stack(parts, dim=1)).item() if parts else 0.0

    result: Rows = {}
    for use, bias in zip(uses, biases, strict=True):
        weight_norm, delta = norm([weight_of(use.module)]), norm(use.preactivations) * math.sqrt(examples)
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


def unit_statistics(twin: nn.Module, batch: Any, loss: Loss) -> Rows:
    """Statistics of units on the probe, in eval mode; the last layer is the output."""
    twin.eval()
    uses, value = _run(twin, batch, loss)
    gradients = _gradients(value, [z for use in uses for z in use.preactivations])
    rows = {use.name: _unit_row(use, gradients) for use in uses}
    rows[uses[-1].name] = {"preactivation_rms": rows[uses[-1].name]["preactivation_rms"]}
    return rows


def trainable_parameters(model: nn.Module) -> dict[str, int]:
    """How many trainable parameters there are of each type, such as float32."""
    counts: Counter[str] = Counter()
    for parameter in model.parameters():
        if parameter.requires_grad:
            counts[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return dict(counts)


def weight_statistics(before: nn.Module, after: nn.Module | None) -> Rows:
    """Norms of the weights and, where there was an update, how far it took them."""
    new = {} if after is None else dict(after.named_modules())
    result: Rows = {}
    for name, module in before.named_modules():
        if has_weight_matrix(module):
            weight = weight_of(module).detach().double()[None]
            norm = scaled_norm(weight)
            result[name] = {"weight_norm": norm.item()}
            if name in new:
                change = weight_of(new[name]).detach().double()[None] - weight
                result[name]["update_ratio"] = (scaled_norm(change) / norm).item()
    return result


def _run(twin: nn.Module, batch: Any, loss: Loss) -> tuple[list[LayerUse], Tensor]:
    """The layers that a forward pass uses, and the loss; layers that are not trained are measured, too."""
    for module in twin.modules():
        if has_weight_matrix(module):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_()
    with watched(twin) as uses:
        value = loss(twin, batch)
    return uses, value


def _gradients(value: Tensor, wanted: Sequence[Tensor]) -> dict[int, Tensor | None]:
    """id of a tensor -> the gradient by it; None or absent where the loss doesn't reach it."""
    reachable = [tensor for tensor in wanted if tensor.requires_grad] if value.requires_grad else []
    found = torch.autograd.grad(value, reachable, allow_unused=True) if reachable else ()
    return dict(zip(map(id, reachable), found, strict=True))


def _unit_row(use: LayerUse, gradients: Mapping[int, Tensor | None]) -> dict[str, float]:
    z = torch.cat([use.by_unit(tensor.detach()).flatten(0, 1) for tensor in use.preactivations])
    reached = torch.zeros(use.units, dtype=torch.bool, device=z.device)
    for tensor in use.preactivations:
        gradient = gradients.get(id(tensor))
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


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else (-math.inf if value == 0 else math.nan)
