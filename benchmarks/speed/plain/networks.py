"""Trials, the data, and the networks in plain `torch.nn`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Trial:
    """One network to train, initialised by `he_normal`; `width` is a cnn's channels."""

    seed: int
    depth: int
    width: int
    activation: str
    optimizer: str
    lr: float
    batch_size: int
    steps: int
    every: int
    probe: int
    family: str = "mlp"


@dataclass(frozen=True)
class Digits:
    """The data: standardised images [example, 1, 8, 8], classes [example]."""

    x_train: Tensor
    y_train: Tensor
    x_eval: Tensor
    y_eval: Tensor

    @property
    def classes(self) -> int:
        """How many there are."""
        return int(self.y_train.max()) + 1

    def to(self, device: torch.device) -> Digits:
        """The same data on a device."""
        return Digits(*(part.to(device) for part in (self.x_train, self.y_train, self.x_eval, self.y_eval)))

    def read_by(self, family: str) -> Digits:
        """As a family reads them: an mlp sees features [example, feature]."""
        if family == "cnn":
            return self
        return replace(self, x_train=self.x_train.flatten(1), x_eval=self.x_eval.flatten(1))


@dataclass(frozen=True)
class Nonlinearity:
    """An activation's module, its derivative from z and h, and the derivative's supremum."""

    module: type[nn.Module]
    slope: Callable[[Tensor, Tensor], Tensor]
    steepest: float


def _gelu_slope(z: Tensor, h: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(z * math.sqrt(0.5))) + z * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


NONLINEARITIES = {
    "relu": Nonlinearity(nn.ReLU, lambda z, h: h.sign(), 1.0),
    "leaky_relu": Nonlinearity(nn.LeakyReLU, lambda z, h: z.sign().clamp_(min=0.01), 1.0),
    "sigmoid": Nonlinearity(nn.Sigmoid, lambda z, h: h * (1 - h), 0.25),
    "tanh": Nonlinearity(nn.Tanh, lambda z, h: 1 - h * h, 1.0),
    "gelu": Nonlinearity(nn.GELU, _gelu_slope, 1.1289),
}


class MeanOverPositions(nn.Module):
    """[example, channel, height, width] -> [example, channel]."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean."""
        return x.mean((2, 3))


def load_digits() -> Digits:
    """The 8 x 8 digits, a fifth of them held out, standardised by the training split."""
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    x, y = load(return_X_y=True)
    x_train, x_eval, y_train, y_eval = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    mean, deviation = x_train.mean(axis=0), x_train.std(axis=0)
    deviation[deviation == 0] = math.inf  # constant features become 0

    def standardised(x: Any) -> Tensor:
        return torch.tensor((x - mean) / deviation, dtype=torch.float32).view(-1, 1, 8, 8)

    return Digits(standardised(x_train), torch.tensor(y_train), standardised(x_eval), torch.tensor(y_eval))


def build(trial: Trial, features: int, classes: int) -> nn.Sequential:
    """The network at step 0; `features` are an image's channels for a cnn."""
    torch.manual_seed(trial.seed)
    convolutional = trial.family == "cnn"
    sizes = [features, *[trial.width] * trial.depth]
    layers: list[nn.Linear | nn.Conv2d] = [
        nn.Conv2d(fan_in, fan_out, 3, padding=1) if convolutional else nn.Linear(fan_in, fan_out)
        for fan_in, fan_out in pairwise(sizes)
    ]
    layers.append(nn.Linear(trial.width, classes))
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    module = NONLINEARITIES[trial.activation].module
    hidden: list[nn.Module] = [part for layer in layers[:-1] for part in (layer, module())]
    if convolutional:
        hidden.append(MeanOverPositions())
    network = nn.Sequential(*hidden, layers[-1])
    if convolutional:
        # With channels last, convolutions take two thirds of the time where no gradient is needed.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
