"""What is measured of any `nn.Module`, by the definitions of docs/statistics.md, on a copy in float64."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from gradlab.engine.draws import weight_print
from gradlab.engine.history import LAYER, TIME, LayerInfo
from gradlab.engine.measure import scaled_norm
from gradlab.engine.modules.layers import (
    LayerUse,
    all_weights,
    biases_of,
    copied,
    last_states,
    layers_of,
    watched,
    weights_of,
)
from gradlab.engine.quantiles import LEVELS, examples_for, quantiles
from gradlab.engine.recurrence.along_time import TimeSeries, Unsupported, along_time

Rows: TypeAlias = dict[str, dict[str, float]]
"""Layer name -> statistic -> value, in the order in which the forward pass first uses the layers."""

Loss: TypeAlias = Callable[[nn.Module, Any], Tensor]
"""A model and a batch -> the scalar whose gradients are measured; the batch is whatever the function makes of it."""


def float64_twin(model: nn.Module, batch: Any, loss: Loss) -> tuple[nn.Module, Any]:
    """A copy of `model` in float64 and a batch to match; in their own precision where they can't run in float64."""
    try:
        twin = copied(model).double()
        with torch.random.fork_rng(devices=[]):
            loss(copied(twin), copy_of(batch, torch.float64))
    except (RuntimeError, TypeError, ValueError):
        return copied(model), copy_of(batch)
    return twin, copy_of(batch, torch.float64)


def copy_of(value: Any, dtype: torch.dtype | None = None) -> Any:
    """A batch whose tensors can be worked on in place: copies, those of real numbers in `dtype` if one is given.

    Tensors are found in tuples, lists and mappings; modules (a loss with weights of its own) are copied, too.
    """
    if isinstance(value, Tensor):
        return value.to(dtype, copy=True) if dtype is not None and value.is_floating_point() else value.clone()
    if isinstance(value, nn.Module):
        return copied(value) if dtype is None else copied(value).to(dtype)
    if isinstance(value, Mapping):
        return {key: copy_of(one, dtype) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return getattr(value, "_make", type(value))(copy_of(one, dtype) for one in value)
    return value


def gradient_statistics(
    twin: nn.Module, batch: Any, loss: Loss, examples: int, seen_by_float32: Mapping[str, Sequence[Tensor | None]]
) -> tuple[Rows, float]:
    """Statistics of gradients on a minibatch; and the norm over all parameters.

    Args:
        loss: its mean over the batch.
        examples: how many the batch has.
        seen_by_float32: the gradient of each of a layer's matrices that training computed; None where it computed none.
    """
    trainable = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    uses, value = _run(twin, batch, loss)
    wanted: list[Tensor] = [tensor for use in uses for tensor in (*weights_of(use.module), *biases_of(use.module))]
    wanted += trainable + [tensor for use in uses for tensor in (*use.preactivations, *use.final_states)]
    found = _gradients(value, wanted)

    def norm(tensors: Sequence[Tensor]) -> float:
        gradients = [found.get(id(tensor)) for tensor in tensors]
        parts = [scaled_norm(gradient.double()[None]) for gradient in gradients if gradient is not None]
        return scaled_norm(torch.stack(parts, dim=1)).item() if parts else 0.0

    result: Rows = {}
    for use in uses:
        weights, biases = weights_of(use.module), biases_of(use.module)
        weight_norm, delta = norm(weights), norm([*use.preactivations, *use.final_states]) * math.sqrt(examples)
        row = {
            "weight_grad_norm": weight_norm,
            "log10_weight_grad_norm": log10(weight_norm),
            "delta_rms": delta,
            "log10_delta_rms": log10(delta),
        }
        if biases:
            row["bias_grad_norm"] = norm(biases)
        exact = [found.get(id(weight)) for weight in weights]
        result[use.name] = row | _in_float32(exact, seen_by_float32.get(use.name, ()))
        result |= _along_time(use, found, examples)
    return result, norm(trainable)


def _in_float32(exact: Sequence[Tensor | None], float32: Sequence[Tensor | None]) -> dict[str, float]:
    """What training's own gradient of a layer's matrices lost: entries that are no numbers, and false zeros."""
    pairs = [(true, own) for true, own in zip(exact, float32, strict=False) if own is not None]
    broken = sum(int((~torch.isfinite(own)).sum()) for _, own in pairs)
    if not pairs:
        return {"non_finite": 0.0}
    lost = sum(0 if true is None else int(((own == 0) & (true != 0)).sum()) for true, own in pairs)
    return {"non_finite": float(broken), "float32_zero_fraction": lost / sum(own.numel() for _, own in pairs)}


def _along_time(use: LayerUse, found: Mapping[int, Tensor | None], examples: int) -> Rows:
    """The rows of the time steps of a recurrent layer."""
    rows = ((name, step, row) for name, one in _series(use, found, examples) for step, row in enumerate(one.rows, 1))
    return {_time_key(name, step): row for name, step, row in rows}


def _series(use: LayerUse, found: Mapping[int, Tensor | None], examples: int) -> list[tuple[str, TimeSeries]]:
    """The hidden states of a recurrent layer by name; none of another layer, or where steps can't be told apart."""
    if not isinstance(use.module, nn.RNNBase) or len(use.calls) != 1:
        return []
    of_final = tuple(found.get(id(state)) for state in use.final_states)
    try:
        series = along_time(use.module, use.calls[0].inputs, found.get(id(use.preactivations[0])), of_final, examples)
    except Unsupported:
        return []
    return [(series_name(use.name, one), one) for one in series]


def layer_infos(uses: Sequence[LayerUse]) -> list[LayerInfo]:
    """The layers that a forward pass used, and after them the time steps of those that are recurrent."""
    layers = [LayerInfo(use.name, use.units, all_weights(use.module).numel()) for use in uses]
    for use in uses:
        for name, one in _series(use, {}, 1):
            layers += time_steps(name, use.module, one)
    return layers


def time_steps(name: str, module: nn.Module, series: TimeSeries) -> list[LayerInfo]:
    """The time steps of one series of a recurrent module; their weights are the hidden-to-hidden ones."""
    weights = getattr(module, f"weight_hh_{series.suffix or 'l0'}").numel()
    return [LayerInfo(name, series.units, weights, TIME, step) for step in range(1, len(series.rows) + 1)]


def series_name(module_name: str, series: TimeSeries) -> str:
    """How a series of a recurrent module is called in tables, such as `lstm.l1_reverse`."""
    return f"{module_name}.{series.suffix}".strip(".")


def row_key(info: LayerInfo) -> str:
    """How the row of a layer, or of a time step, is called among `Rows`."""
    return info.name if info.kind == LAYER else _time_key(info.name, info.number or 0)


def _time_key(name: str, step: int) -> str:
    return f"{name}[{step}]"


def weight_prints(uses: Sequence[LayerUse]) -> list[float]:
    """What identifies the draws of each layer's weights."""
    return [weight_print(all_weights(use.module)).item() for use in uses]


def unit_statistics(twin: nn.Module, batch: Any, loss: Loss, spread: bool = True) -> Rows:
    """Statistics of units on the probe, in eval mode, with `spread` quantiles, too; the last layer is the output."""
    twin.eval()
    uses, value = _run(twin, batch, loss)
    gradients = _gradients(value, [z for use in uses for z in (*use.preactivations, *use.final_states)])
    rows = {use.name: _unit_row(use, gradients, spread) for use in uses}
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
    new = {} if after is None else layers_of(after)
    result: Rows = {}
    for name, module in layers_of(before).items():
        weights = all_weights(module).double()
        norm = scaled_norm(weights)
        result[name] = {"weight_norm": norm.item()}
        if name in new:
            change = all_weights(new[name]).double() - weights
            result[name]["update_ratio"] = (scaled_norm(change) / norm).item()
    return result


def own_gradients(model: nn.Module) -> dict[str, list[Tensor | None]]:
    """The gradients of each layer's matrices as training left them."""
    return {name: [weight.grad for weight in weights_of(module)] for name, module in layers_of(model).items()}


def _run(twin: nn.Module, batch: Any, loss: Loss) -> tuple[list[LayerUse], Tensor]:
    """The layers that a forward pass uses, and the loss; layers that are not trained are measured, too."""
    for module in layers_of(twin).values():
        for parameter in (*weights_of(module), *biases_of(module)):
            parameter.requires_grad_()
    with watched(twin) as uses:
        value = loss(twin, batch)
    return uses, value


def _gradients(value: Tensor, wanted: Sequence[Tensor]) -> dict[int, Tensor | None]:
    """id of a tensor -> the gradient by it; None or absent where the loss doesn't reach it."""
    reachable = [tensor for tensor in wanted if tensor.requires_grad] if value.requires_grad else []
    found = torch.autograd.grad(value, reachable, allow_unused=True) if reachable else ()
    return dict(zip(map(id, reachable), found, strict=True))


def _unit_row(use: LayerUse, gradients: Mapping[int, Tensor | None], spread: bool) -> dict[str, float]:
    z = torch.cat([use.by_unit(tensor.detach()).flatten(0, 1) for tensor in use.preactivations])
    reached = torch.zeros(use.units, dtype=torch.bool, device=z.device)
    for tensor in use.preactivations:
        gradient = gradients.get(id(tensor))
        if gradient is not None:
            reached |= (use.by_unit(gradient) != 0).flatten(0, 1).any(0)
    for state in last_states(use.module, [gradients.get(id(state)) for state in use.final_states]):
        reached |= (state != 0).any(0)
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
    row |= {"activation_mean": a.mean().item(), "activation_rms": a.square().mean().sqrt().item()}
    if spread:
        first = use.activation_outputs[0]
        few = first[: examples_for(first[0].numel())].detach().reshape(1, -1)
        row |= dict(zip(LEVELS, quantiles(few).flatten().tolist(), strict=True))
    return row


def log10(value: float) -> float:
    """log10 of a norm: -inf for 0, NaN for what is no number."""
    return math.log10(value) if value > 0 else (-math.inf if value == 0 else math.nan)
