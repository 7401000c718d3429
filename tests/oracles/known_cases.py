"""Networks small enough to be worked out by hand, with what every measuring instrument must say of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.oracles.network import PlainData

DEAD_BIAS = -1e6
"""A bias that no standardized input and ordinary weight can lift over 0."""


@dataclass(frozen=True)
class HandCase:
    """A network, its data and its true statistics.

    Attributes:
        weights: (W_l `[unit, fan_in]`, b_l `[unit]`) of layers 1 to D+1, float32.
        settings: the config of the trial, sections as mappings.
        layers: contract column -> value, one mapping per layer, at step 0.
        step: contract column -> value of the steps table at step 0.
    """

    weights: list[tuple[Tensor, Tensor]]
    data: PlainData
    settings: dict[str, dict[str, Any]]
    layers: list[dict[str, Any]]
    step: dict[str, float]


def two_layers_by_hand() -> HandCase:
    """One sigmoid layer of two units and a linear output, squared error, both examples in the batch.

    sigma(0) = 1/2 and sigma(ln 3) = 3/4, so with W_1 = ln 3 * I, b_1 = 0 everything is a fraction:

        x_1 = (1, 0):   z = (ln 3, 0)    h = (3/4, 1/2)   phi' = (3/16, 1/4)
        x_2 = (0, -1):  z = (0, -ln 3)   h = (1/2, 1/4)   phi' = (1/4, 3/16)

    W_2 = (2, -1), b_2 = 1/2: outputs 3/2 and 5/4; targets 1 and 3/2: errors 1/2 and -1/4;
    L = (1/4 + 1/16) / 2 = 5/32; d ell_i / d z_2 = 2 x error = 1 and -1/2.

        dL/dW_2 = (1 h_1 - 1/2 h_2) / 2 = (1/4, 3/16), of norm 5/16;  dL/db_2 = 1/4
        delta_rms(2) = sqrt((1 + 1/4) / 2) = sqrt(5/8)

    d ell_i / d z_1 = d ell_i / d z_2 * W_2 * phi' = (3/8, -1/4) and (-1/4, 3/32), squared lengths 13/64 and 73/1024,
    together 281/1024:

        delta_rms(1) = sqrt(281/2048)
        dL/dW_1 = (delta_1 x_1^T + delta_2 x_2^T) / 2 has columns delta_1 / 2 and -delta_2 / 2: norm sqrt(281/4096)
        dL/db_1 = (1/8, -5/32) / 2, of norm sqrt(41)/64

    |dL/dtheta|^2 = 281/4096 + 41/4096 + 25/256 + 1/16 = 978/4096. |W_1| = sqrt(2) ln 3, |W_2| = sqrt(5); one step of
    sgd with lr 1/10 moves each by a tenth of its gradient.
    Over the four pairs of unit and example: mean z^2 = (ln 3)^2 / 2, mean h = 1/2, mean h^2 = 9/32; mean output^2 =
    (9/4 + 25/16) / 2 = 61/32.
    """
    log3 = math.log(3)
    x = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    y = torch.tensor([[1.0], [1.5]])
    hidden = {
        "units": 2,
        "weight_count": 4,
        "weight_grad_norm": math.sqrt(281 / 4096),
        "log10_weight_grad_norm": math.log10(281 / 4096) / 2,
        "bias_grad_norm": math.sqrt(41) / 64,
        "delta_rms": math.sqrt(281 / 2048),
        "log10_delta_rms": math.log10(281 / 2048) / 2,
        "float32_zero_fraction": 0.0,
        "preactivation_rms": log3 / math.sqrt(2),
        "activation_mean": 0.5,
        "activation_rms": math.sqrt(9 / 32),
        "dead_units": 0,
        "zero_gradient_units": 0,
        "saturated_fraction": 0.0,
        "weight_norm": math.sqrt(2) * log3,
        "update_ratio": 0.1 * math.sqrt(281 / 4096) / (math.sqrt(2) * log3),
        "non_finite": 0,
    }
    output = {
        "units": 1,
        "weight_count": 2,
        "weight_grad_norm": 5 / 16,
        "log10_weight_grad_norm": math.log10(5 / 16),
        "bias_grad_norm": 1 / 4,
        "delta_rms": math.sqrt(5 / 8),
        "log10_delta_rms": math.log10(5 / 8) / 2,
        "float32_zero_fraction": 0.0,
        "preactivation_rms": math.sqrt(61 / 32),
        "activation_mean": None,
        "activation_rms": None,
        "dead_units": None,
        "zero_gradient_units": None,
        "saturated_fraction": None,
        "weight_norm": math.sqrt(5),
        "update_ratio": 0.1 * (5 / 16) / math.sqrt(5),
        "non_finite": 0,
    }
    return HandCase(
        weights=[
            (log3 * torch.eye(2), torch.zeros(2)),
            (torch.tensor([[2.0, -1.0]]), torch.tensor([0.5])),
        ],
        data=PlainData(x, y, x, y, "regression"),
        settings={
            "model": {"depth": 1, "width": 2, "activation": "sigmoid"},
            "train": {"steps": 1, "batch_size": 2, "optimizer": "sgd", "lr": 0.1},
        },
        layers=[hidden, output],
        step={
            "train_loss": 5 / 32,
            "eval_loss": 5 / 32,
            "eval_metric": 1 - (5 / 16) / (1 / 8),  # R^2: squared errors 5/16, squared deviations of y 1/8
            "grad_norm": math.sqrt(978 / 4096),
        },
    )


def orthogonal_linear(depth: int, width: int) -> dict[str, dict[str, Any]]:
    """The config of a linear network with orthogonal weights: delta_rms is the same in every layer, output included.

    delta_l = W_{l+1}^T delta_{l+1}, and W^T keeps lengths where the rows of W are orthonormal: so it is as long as the
    output has no more units than `width`. gradient_ratio = gradient_decay = 1 at any depth.
    """
    return {"model": {"depth": depth, "width": width, "activation": "linear", "init": "orthogonal"}}


def zero_weights(depth: int, width: int) -> dict[str, dict[str, Any]]:
    """The config of a network whose parameters are all 0; only the output bias has a gradient.

    delta of every hidden layer is exactly 0 (it is W^T times something), so all hidden units are zero_gradient_units
    and gradient_ratio is null (0/0); the loss of k classes is ln k; with phi(0) = 0 every h, and so every dL/dW, is 0.
    """
    init = {"name": "normal", "sigma_w": 0.0, "sigma_b": 0.0}
    return {"model": {"depth": depth, "width": width, "activation": "tanh", "init": init}}


def dead_layer(layer: int, depth: int, width: int) -> list[dict[str, Any]]:
    """What hidden layers 1 to `depth` of a relu network show where all biases of `layer` are `DEAD_BIAS`.

    The layer itself is dead; it and all below get exactly no gradient (without residual connections); above it the
    signal from the output goes on, but the weight that reads the dead layer's zeros has gradient 0.
    """
    rows = []
    for number in range(1, depth + 1):
        row: dict[str, Any] = {}
        if number == layer:
            row = {"dead_units": width, "activation_mean": 0.0, "activation_rms": 0.0}
        if number <= layer:
            row |= {
                "zero_gradient_units": width,
                "delta_rms": 0.0,
                "log10_delta_rms": None,
                "bias_grad_norm": 0.0,
            }
        if number <= layer + 1:
            row |= {"weight_grad_norm": 0.0, "log10_weight_grad_norm": None, "float32_zero_fraction": 0.0}
        rows.append(row)
    return rows
