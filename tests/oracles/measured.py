"""The contract's columns in float64, with what their reader must know of float64's own limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from gradlab.config.sweep import Trial
from tests.oracles import activations
from tests.oracles.deep import ScaledGradient, norm
from tests.oracles.network import PlainData, PlainNetwork, loss, loss_signal
from tests.oracles.plain import SATURATED_BELOW, gradient_columns, probe_columns

SMALLEST = 1e-300
"""Down to where the contract promises norms."""

STRAIGHT = ("linear", "relu", "leaky_relu", "hardtanh")
"""Activations of straight pieces: others have no derivative of exactly 0, whatever a number format makes of it."""

Values: TypeAlias = dict[tuple[int, str], float | None]
"""Layer (0: the steps table) and column -> value, None for null."""


@dataclass(frozen=True)
class Measured:
    """One float64 measurement of a network.

    Attributes:
        values: of the columns that are measured in float64.
        train_loss: the minibatch's.
        gradients: for each layer, dL/dW times the batch size.
        saturated: layer -> shares of saturated pairs, with z as it is and changed in its last float32 digits.
        lost: layer -> whether a derivative is so small that float64 may have made it 0, there or above.
    """

    values: Values
    train_loss: float
    gradients: list[ScaledGradient]
    saturated: dict[int, tuple[float, ...]]
    lost: dict[int, bool]


def measure(
    network: PlainNetwork, data: PlainData, batch: Tensor, trial: Trial, rounding: torch.Generator | None = None
) -> Measured:
    """Measure a network as it stands; `rounding` as in `in_float64`."""
    choice, depth = trial.model.activation, trial.model.depth
    twin = network.in_float64(rounding)
    x, y = data.x_train[batch].double(), data.y_train[batch]
    probe, probe_y = data.x_train[: trial.record.probe].double(), data.y_train[: trial.record.probe]
    # The probe first: a forward pass in train mode moves the running moments of batch norm.
    looked = probe_columns(twin, trial, data)
    with torch.no_grad():
        in_probe, in_batch = twin.eval().trace(probe), twin.train().trace(x)
    rows, grad_norm = gradient_columns(twin, x, y, data)

    smooth = choice.name not in STRAIGHT
    passes = ((in_probe, probe_y), (in_batch, y))
    certain = data.task != "regression" and any(
        bool((loss_signal(data.task, trace.output, targets) == 0).any()) for trace, targets in passes
    )
    lost = {depth + 1: certain}
    for layer in range(depth, 0, -1):
        slopes = [activations.derivative(choice, trace.phi_inputs[layer - 1]).abs() for trace, _ in passes]
        lost[layer] = lost[layer + 1] or (smooth and any(bool((slope < 1e-290).any()) for slope in slopes))
    # The output layer reads activations which may be as small as their slopes.
    lost[depth + 1] = lost[depth]

    values: Values = {(0, "grad_norm"): grad_norm}
    for layer, (row, probed) in enumerate(zip(rows, looked, strict=True), start=1):
        for column in ("log10_weight_grad_norm", "log10_delta_rms"):
            values[layer, column] = row[column]
            values[layer, column.removeprefix("log10_")] = _power_of_ten(row[column])
        values[layer, "bias_grad_norm"] = row["bias_grad_norm"]
        values[layer, "weight_norm"] = norm(network.weights_and_biases[layer - 1][0].detach())
        values |= {(layer, column): value for column, value in probed.items()}
        if smooth and layer <= depth and lost[layer]:
            values[layer, "dead_units"] = 0
    saturated = {layer: _saturation(network, z) for layer, z in enumerate(in_probe.phi_inputs, start=1)}
    train_loss = float(loss(data.task, in_batch.output, y))
    return Measured(values, train_loss, [row["weight_gradient"] for row in rows], saturated, lost)


def clearly_not_0(gradient: ScaledGradient) -> Tensor:
    """Which entries are in float64's range, or not far below the largest."""
    size = gradient.weight.abs()
    exponent = size.log2() + float(gradient.exponent[0])
    return (exponent > math.log2(SMALLEST)) | (size > 1e-100 * size.max())


def _saturation(network: PlainNetwork, z: Tensor) -> tuple[float, ...]:
    """The least, the true and the greatest share of saturated pairs."""
    threshold = SATURATED_BELOW * activations.steepest(network.activation)
    change = torch.where(z == 0, torch.zeros_like(z), 1e-5 * z.abs() + 1e-6 * z.square().mean().sqrt())
    beside = (z - change, z, z + change)
    below = torch.stack([activations.derivative(network.activation, one).abs() < threshold for one in beside])
    return tuple(float(one.double().mean()) for one in (below.all(0), below[1], below.any(0)))


def _power_of_ten(logarithm: float | None) -> float:
    if logarithm is None:
        return 0.0
    if math.isnan(logarithm):
        return math.nan
    return math.inf if logarithm > 308.25 else math.pow(10, logarithm)
