"""Weights at step 0, drawn exactly as plain PyTorch draws them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gradlab.config.choices import Choice
from gradlab.config.sweep import Trial


def draw_weights(trial: Trial, in_features: int, out_features: int) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every layer, the output layer last, in torch's own shapes, float32 on the CPU.

    What `torch.manual_seed(seed)`, then `nn.Linear` (`nn.Conv2d`) layer by layer from the input on would draw; another
    init than `pytorch_default` is then applied in the same order under the same random stream. The stream is the
    trial's own, and making no modules is ten times quicker. `in_features` are channels for a cnn.
    """
    model = trial.model
    kernel = (3, 3) if model.family == "cnn" else ()
    fans_in = [in_features, *[model.width] * (model.depth - 1)]
    shapes = [*((model.width, fan_in, *kernel) for fan_in in fans_in), (out_features, model.width)]
    layers = [(torch.empty(shape), torch.empty(shape[0])) for shape in shapes]
    stream = torch.Generator().manual_seed(trial.seed)
    for weight, bias in layers:
        _draw_default(weight, bias, stream)
    if model.init.name != "pytorch_default":
        for weight, bias in layers:
            draw_weight(model.init, weight, stream)
            draw_bias(model.init, bias, stream)
    return layers


def _draw_default(weight: Tensor, bias: Tensor, stream: torch.Generator) -> None:
    """The draws of a new `nn.Linear` or `nn.Conv2d`."""
    fan_in = weight[0].numel()
    # The steps of kaiming_uniform_ with a = sqrt(5): their result may differ from 1 / sqrt(fan_in) in the last bit.
    deviation = math.sqrt(2.0 / (1 + math.sqrt(5) ** 2)) / math.sqrt(fan_in)
    bound = math.sqrt(3.0) * deviation
    weight.uniform_(-bound, bound, generator=stream)
    bound = 1 / math.sqrt(fan_in)
    bias.uniform_(-bound, bound, generator=stream)


def draw_weight(init: Choice, weight: Tensor, stream: torch.Generator | None = None) -> None:
    """Draw a weight [fan_out, fan_in...] anew; not for `pytorch_default`.

    Args:
        stream: random stream; torch's own if None.
    """
    fan_in = weight[0].numel()
    match init.name:
        case "xavier_normal":
            nn.init.xavier_normal_(weight, generator=stream)
        case "xavier_uniform":
            nn.init.xavier_uniform_(weight, generator=stream)
        case "he_normal":
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=stream)
        case "he_uniform":
            nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=stream)
        case "lecun_normal":
            nn.init.normal_(weight, 0.0, 1 / math.sqrt(fan_in), stream)
        case "orthogonal":
            nn.init.orthogonal_(weight, generator=stream)
        case "normal":
            _normal(weight, dict(init.parameters)["sigma_w"] / math.sqrt(fan_in), stream)


def draw_bias(init: Choice, bias: Tensor, stream: torch.Generator | None = None) -> None:
    """Draw a bias anew: zeros but for `normal`; not for `pytorch_default`."""
    _normal(bias, dict(init.parameters).get("sigma_b", 0.0), stream)


def _normal(tensor: Tensor, deviation: float, stream: torch.Generator | None) -> None:
    """Gaussian of mean 0; a deviation of 0 is a constant and draws nothing."""
    if deviation == 0:
        nn.init.zeros_(tensor)
    else:
        nn.init.normal_(tensor, 0.0, deviation, stream)
