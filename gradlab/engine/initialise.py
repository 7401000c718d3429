"""Weights at step 0, drawn exactly as plain PyTorch draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradlab.config.choices import Choice
from gradlab.config.sweep import Trial


def draw_weights(trial: Trial, in_features: int, out_features: int) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every layer, the output layer last, in torch's own shapes, float32 on the CPU.

    `torch.manual_seed(seed)`, then `nn.Linear` (`nn.Conv2d`) layer by layer from the input on; another init than
    `pytorch_default` is then applied in the same order under the same random stream. The caller's random state
    is left as it was. `in_features` are channels for a cnn.
    """
    width = trial.model.width
    sizes = [in_features, *[width] * trial.model.depth]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        layers: list[nn.Linear | nn.Conv2d] = [
            nn.Conv2d(size, width, 3, padding=1) if trial.model.family == "cnn" else nn.Linear(size, width)
            for size in sizes[:-1]
        ]
        layers.append(nn.Linear(width, out_features))
        _apply(trial.model.init, layers)
    return [(layer.weight.detach(), layer.bias.detach()) for layer in layers if layer.bias is not None]


def _apply(init: Choice, layers: Sequence[nn.Linear | nn.Conv2d]) -> None:
    if init.name == "pytorch_default":
        return
    for layer in layers:
        draw_weight(init, layer.weight)
        if layer.bias is not None:
            draw_bias(init, layer.bias)


def draw_weight(init: Choice, weight: Tensor) -> None:
    """Draw a weight [fan_out, fan_in...] anew, under torch's random stream; not for `pytorch_default`."""
    fan_in = weight[0].numel()
    match init.name:
        case "xavier_normal":
            nn.init.xavier_normal_(weight)
        case "xavier_uniform":
            nn.init.xavier_uniform_(weight)
        case "he_normal":
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        case "he_uniform":
            nn.init.kaiming_uniform_(weight, nonlinearity="relu")
        case "lecun_normal":
            nn.init.normal_(weight, 0.0, 1 / math.sqrt(fan_in))
        case "orthogonal":
            nn.init.orthogonal_(weight)
        case "normal":
            _normal(weight, dict(init.parameters)["sigma_w"] / math.sqrt(fan_in))


def draw_bias(init: Choice, bias: Tensor) -> None:
    """Draw a bias anew, under torch's random stream: zeros but for `normal`; not for `pytorch_default`."""
    _normal(bias, dict(init.parameters).get("sigma_b", 0.0))


def _normal(tensor: Tensor, deviation: float) -> None:
    """Gaussian of mean 0; a deviation of 0 is a constant and draws nothing."""
    if deviation == 0:
        nn.init.zeros_(tensor)
    else:
        nn.init.normal_(tensor, 0.0, deviation)
