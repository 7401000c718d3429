"""From what a step showed to rows of the layers table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.rnn import RNNCellBase

from gradlab.engine.history import LAYER, NORM, TIME, LayerInfo
from gradlab.engine.modules.layers import biases_of, copied, last_states, weights_of
from gradlab.engine.modules.statistics import log10, series_name, time_steps
from gradlab.engine.recurrence.along_time import TimeSeries, Unsupported, along_time
from gradlab.watching.gradients import GradientSeen
from gradlab.watching.norms import norm, plain, total
from gradlab.watching.sights import Pass, Sight

Values = dict[str, Tensor | float]
"""Column of the layers table -> value; one that is absent is null."""


@dataclass(frozen=True)
class Row:
    """One row: what it is of, and its values."""

    info: LayerInfo
    values: Values


@dataclass
class Weights:
    """A layer's matrices, or a normalisation's vector, before and after an update."""

    parameters: list[nn.Parameter]
    before: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.before = [parameter.detach().clone() for parameter in self.parameters]

    def values(self) -> Values:
        """`weight_norm` before the update, and `update_ratio`: call it after the update."""
        size = total([norm(before) for before in self.before])
        pairs = zip(self.parameters, self.before, strict=True)
        change = total([norm(plain(parameter) - plain(before)) for parameter, before in pairs])
        return {} if size is None or change is None else {"weight_norm": size, "update_ratio": change / size}


@dataclass(frozen=True)
class Step:
    """All that is known of one recorded step.

    Attributes:
        layers, norms: name -> module, in the order of `named_modules()`.
        passes: those that the gradient came back through.
        examples: examples that the loss is the mean over.
        scale: what the loss was multiplied with (`torch.amp.GradScaler`).
        gradients: of the parameters, still times `scale`.
    """

    layers: Mapping[str, nn.Module]
    norms: Mapping[str, nn.Module]
    passes: Sequence[Pass]
    examples: int
    scale: float
    gradients: Mapping[nn.Parameter, GradientSeen]

    def sights(self) -> Iterator[Sight]:
        """Every call of a layer or normalisation, in order."""
        return (sight for one in self.passes for sight in one.sights)


def weights_before(layers: Mapping[str, nn.Module], norms: Mapping[str, nn.Module]) -> dict[str, Weights]:
    """The weights as they are now, by the name of their module."""
    of_layers = {name: Weights(weights_of(module)) for name, module in layers.items()}
    return of_layers | {name: Weights(_own(module, "weight")) for name, module in norms.items()}


def layer_rows(step: Step, weights: Mapping[str, Values]) -> list[Row]:
    """The rows of layers and normalisations.

    Layers are numbered in the order in which the forward pass first used them; one whose call was not seen, though a
    gradient reached its weights, stands after the one that precedes it in the model.
    """
    sights: dict[str, list[Sight]] = {}
    for sight in step.sights():
        sights.setdefault(sight.name, []).append(sight)
    names = _in_order(step, list(sights))
    layers = [name for name in names if name in step.layers]
    rows, number = [], 0
    for name in names:
        own, module = sights.get(name, []), step.layers.get(name) or step.norms[name]
        is_layer = name in step.layers
        number += is_layer
        matrices = weights_of(module) if is_layer else _own(module, "weight")
        biases = biases_of(module) if is_layer else _own(module, "bias")
        values = _of_weights(step, matrices, biases) | weights.get(name, {})
        if own:
            values |= _of_delta(step, own)
            values["preactivation_rms"] = _rms([sight.preactivation for sight in own], sum(s.size for s in own))
        if own and is_layer and name != layers[-1]:
            values |= _of_units(own)
        units = own[0].units if own else None
        count = sum(parameter.numel() for parameter in matrices)
        rows.append(Row(LayerInfo(name, units, count, LAYER if is_layer else NORM, number), values))
    return rows


def time_rows(step: Step, recurrent: Mapping[str, nn.Module]) -> tuple[list[Row], list[str]]:
    """The rows of time steps, and what can't be had of them.

    Args:
        recurrent: name -> the recurrent module with the weights of this step.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for name in step.layers:
        rows += _cell_rows(step, name)
    for name, module in recurrent.items():
        sights = [sight for sight in step.sights() if sight.name == name and sight.call is not None]
        try:
            found = [_series(step, module, sight) for sight in sights]
        except Unsupported as reason:
            notes.append(f"{name}: no rows along time, {reason}")
            continue
        if len({tuple(len(one.rows) for one in series) for series in found}) > 1:
            notes.append(f"{name}: no rows along time, its sequences differ in length from call to call")
            continue
        for same in zip(*found, strict=True):
            infos = time_steps(series_name(name, same[0]), module, same[0])
            values = zip(*(one.rows for one in same), strict=True)
            rows += [Row(info, _together(step_values)) for info, step_values in zip(infos, values, strict=True)]
    return rows, notes


def recurrent_copies(layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The recurrent modules with their weights as they are now."""
    return {name: copied(module) for name, module in layers.items() if isinstance(module, nn.RNNBase)}


def on_host(
    rows: Sequence[Row], further: Mapping[str, Tensor | float]
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """The values of rows, and further ones, as numbers, in one transfer from an accelerator; logarithms are added."""
    tables: list[Mapping[str, Tensor | float]] = [*(row.values for row in rows), further]
    tensors = [value.double().reshape(()) for table in tables for value in table.values() if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else torch.device("cpu")
    numbers = iter(torch.stack([tensor.to(device) for tensor in tensors]).tolist() if tensors else [])
    plain_tables = [
        {name: next(numbers) if isinstance(value, Tensor) else value for name, value in table.items()}
        for table in tables
    ]
    for table in plain_tables[:-1]:
        for name in ("weight_grad_norm", "delta_rms"):
            if name in table and f"log10_{name}" not in table:
                table[f"log10_{name}"] = log10(table[name])
    return plain_tables[:-1], plain_tables[-1]


def grad_norm(step: Step) -> Tensor | float:
    """The norm of the gradient by all parameters."""
    whole = total([seen.norm for seen in step.gradients.values()])
    return 0.0 if whole is None else whole / step.scale


def _in_order(step: Step, seen: list[str]) -> list[str]:
    names = list(seen)
    before = ""
    for name, module in step.layers.items():
        if name not in seen and any(parameter in step.gradients for parameter in weights_of(module)):
            names.insert(names.index(before) + 1 if before in names else 0, name)
        if name in names:
            before = name
    return names


def _own(module: nn.Module, name: str) -> list[nn.Parameter]:
    parameter = module._parameters.get(name)
    return [] if parameter is None else [parameter]


def _of_weights(step: Step, matrices: list[nn.Parameter], biases: list[nn.Parameter]) -> Values:
    """Null where nothing is trained, 0 where no gradient came."""
    values: Values = {}
    if any(parameter.requires_grad for parameter in matrices):
        seen = [step.gradients[parameter] for parameter in matrices if parameter in step.gradients]
        whole = total([one.norm for one in seen])
        values["weight_grad_norm"] = 0.0 if whole is None else whole / step.scale
        values["non_finite"] = sum((one.not_finite for one in seen), torch.zeros((), dtype=torch.float64))
    if any(parameter.requires_grad for parameter in biases):
        whole = total([step.gradients[parameter].norm for parameter in biases if parameter in step.gradients])
        values["bias_grad_norm"] = 0.0 if whole is None else whole / step.scale
    return values


def _of_delta(step: Step, sights: list[Sight]) -> Values:
    if not any(sight.differentiable for sight in sights):
        return {}
    norms = [sight.delta for sight in sights if sight.delta is not None]
    whole = total(norms + [norm(gradient) for sight in sights for gradient in sight.of_final if gradient is not None])
    return {"delta_rms": 0.0 if whole is None else whole * (math.sqrt(step.examples) / step.scale)}


def _of_units(sights: list[Sight]) -> Values:
    values: Values = {}
    units = sights[0].units
    reached = [sight.reached for sight in sights if sight.reached is not None]
    reached += [(plain(g) != 0).any(0) for sight in sights for g in last_states(sight.module, sight.of_final)]
    if any(sight.differentiable for sight in sights) and all(len(one) == units for one in reached):
        alive = torch.stack(reached).any(0).sum() if reached else 0.0
        values["zero_gradient_units"] = units - alive
    followed = [sight for sight in sights if sight.activation is not None and sight.activation_norm is not None]
    if len(followed) < len(sights):
        return values
    size = sum(sight.size for sight in followed)
    values["activation_mean"] = _sum([sight.activation_sum for sight in followed]) / size
    values["activation_rms"] = _rms([s.activation_norm for s in followed if s.activation_norm is not None], size)
    values["saturated_fraction"] = _sum([sight.saturated for sight in followed]) / size
    dead = [sight.dead for sight in followed if sight.dead is not None]
    values["dead_units"] = torch.stack(dead).all(0).sum()
    return values


def _sum(tensors: list[Tensor | None]) -> Tensor:
    return torch.stack([tensor.double() for tensor in tensors if tensor is not None]).sum()


def _rms(norms: list[Tensor], size: int) -> Tensor | float:
    whole = total(norms)
    return math.nan if whole is None else whole / math.sqrt(size)


def _series(step: Step, module: nn.Module, sight: Sight) -> list[TimeSeries]:
    if sight.call is None or not isinstance(module, nn.RNNBase):
        return []
    of_output, *of_final = (
        None if gradient is None else gradient.double() / step.scale for gradient in (sight.of_output, *sight.of_final)
    )
    return along_time(module, sight.call.inputs, of_output, tuple(of_final), step.examples)


def _cell_rows(step: Step, name: str) -> list[Row]:
    """The time steps of a recurrent cell that the model calls one after the other, in a single pass."""
    sights = [sight for sight in step.sights() if sight.name == name]
    if not isinstance(step.layers[name], RNNCellBase) or len(sights) < 2 or len(step.passes) > 1:
        return []
    count = sum(parameter.numel() for parameter in weights_of(step.layers[name]))
    infos = [LayerInfo(name, sight.units, count, TIME, number) for number, sight in enumerate(sights, 1)]
    return [Row(info, _of_delta(step, [sight])) for info, sight in zip(infos, sights, strict=True)]


def _together(values: Sequence[Mapping[str, float]]) -> Values:
    """One row of several calls' rows of the same time step: norms over all of them, the rest of a single call only."""
    if len(values) == 1:
        return dict(values[0])
    logs = [one["log10_delta_rms"] for one in values]
    greatest = max(logs)
    if greatest == -math.inf:
        return {"delta_rms": 0.0, "log10_delta_rms": -math.inf}
    log10 = greatest + math.log10(sum(10 ** (2 * (one - greatest)) for one in logs)) / 2
    return {"delta_rms": 10**log10 if log10 > -320 else 0.0, "log10_delta_rms": log10}
