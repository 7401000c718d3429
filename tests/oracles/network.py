"""One trial's network and data in plain PyTorch (contract, sections 2 and 4)."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradlab.config.choices import Choice
from gradlab.config.sweep import Trial
from tests.oracles import activations

TaskKind = Literal["multiclass", "binary", "multilabel", "regression"]


@dataclass(frozen=True)
class PlainData:
    """A data set as the network receives it.

    Attributes:
        x_train: float32 `[example, feature]`, or `[example, channel, height, width]` for a cnn.
        y_train: int64 `[example]` (multiclass), float `[example, 1]` or `[example]` (binary, one logit), float
            `[example, output]` (multilabel, regression).
    """

    x_train: Tensor
    y_train: Tensor
    x_eval: Tensor
    y_eval: Tensor
    task: TaskKind

    @property
    def outputs(self) -> int:
        """Units of the output layer; of a multiclass task, one more than the largest label in either split."""
        if self.task == "multiclass":
            return 1 + int(max(self.y_train.max(), self.y_eval.max()))
        return 1 if self.y_train.dim() == 1 else self.y_train.shape[1]


def loss(task: TaskKind, output: Tensor, y: Tensor) -> Tensor:
    """L, the mean of ell_i over the batch (and of squared error and multilabel losses over the outputs)."""
    if task == "multiclass":
        return functional.cross_entropy(output, y)
    if task == "regression":
        return functional.mse_loss(output, y.to(output.dtype).view_as(output))
    return functional.binary_cross_entropy_with_logits(output, y.to(output.dtype).view_as(output))


def loss_signal(task: TaskKind, output: Tensor, y: Tensor) -> Tensor:
    """d ell_i / d output_i `[example, output]`, where a backward pass begins.

    Written out, because softmax - one_hot and sigmoid - y cancel to 0 for an example that is classified well, and the
    true value is not 0.
    """
    if task == "multiclass":
        rivals = functional.softmax(output, dim=1).scatter(1, y[:, None], 0.0)
        return rivals.scatter(1, y[:, None], -rivals.sum(dim=1, keepdim=True))
    y = y.to(output.dtype).view_as(output)
    if task == "regression":
        return 2 * (output - y) / output.shape[1]
    return ((1 - y) * torch.sigmoid(output) - y * torch.sigmoid(-output)) / output.shape[1]


def metric(task: TaskKind, output: Tensor, y: Tensor) -> float:
    """Accuracy (multilabel: over all labels), or R^2, the mean over outputs; NaN where an output is NaN.

    The R^2 of an output that is constant in truth is 1 if it is met exactly and 0 if not, as in scikit-learn.
    """
    if output.isnan().any():
        return math.nan
    if task == "multiclass":
        return float((output.argmax(dim=1) == y).double().mean())
    y = y.double().view_as(output)
    if task == "regression":
        unexplained = ((output.double() - y) ** 2).sum(dim=0)
        total = ((y - y.mean(dim=0)) ** 2).sum(dim=0)
        constant = (unexplained == 0).double()
        return float(torch.where(total > 0, 1 - unexplained / total, constant).mean())
    return float(((output > 0) == (y > 0.5)).double().mean())


@dataclass(frozen=True)
class Trace:
    """Everything on the way of a batch through the network, index l - 1 for layer l.

    Attributes:
        inputs: h_0 .. h_D, what each layer reads.
        preactivations: z_1 .. z_{D+1}, before any norm.
        phi_inputs: norm(z_1) .. norm(z_D), where phi' is judged.
    """

    inputs: list[Tensor]
    preactivations: list[Tensor]
    phi_inputs: list[Tensor]

    @property
    def output(self) -> Tensor:
        """z_{D+1}."""
        return self.preactivations[-1]


class PlainNetwork(nn.Module):
    """h_0 = x, z_l = W_l h_{l-1} + b_l, h_l = phi(norm(z_l)) (+ h_{l-1} where residual and l >= 2); output z_{D+1}."""

    def __init__(self, trial: Trial, data: PlainData) -> None:
        super().__init__()
        model = trial.model
        self.depth = model.depth
        self.activation = model.activation
        self.residual = model.residual
        self.convolutional = model.family == "cnn"
        sizes = [data.x_train.shape[1], *[model.width] * model.depth]
        hidden: list[nn.Module] = [
            nn.Conv2d(fan_in, fan_out, 3, padding=1) if self.convolutional else nn.Linear(fan_in, fan_out)
            for fan_in, fan_out in itertools.pairwise(sizes)
        ]
        self.layers = nn.ModuleList([*hidden, nn.Linear(model.width, data.outputs)])
        unit_shape = [model.width, *data.x_train.shape[2:]]
        self.norms = nn.ModuleList([_norm(model.norm, unit_shape) for _ in range(model.depth)])
        self.phi = activations.module(model.activation)

    @property
    def weights_and_biases(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """(W_l, b_l) of layers 1 to D+1, the live parameters."""
        return [(layer.weight, layer.bias) for layer in self.layers]  # type: ignore[misc]

    def preactivation(self, layer: int, h: Tensor) -> Tensor:
        """z_l from h_{l-1}, l = 1 .. D+1; a cnn's output layer reads the mean over positions."""
        if self.convolutional and layer == self.depth + 1:
            h = h.mean(dim=(2, 3))
        return self.layers[layer - 1](h)  # type: ignore[no-any-return]

    def trace(self, x: Tensor) -> Trace:
        """The forward pass with all that happens on the way."""
        inputs, preactivations, phi_inputs = [x], [], []
        for layer in range(1, self.depth + 1):
            preactivations.append(self.preactivation(layer, inputs[-1]))
            phi_inputs.append(self.norms[layer - 1](preactivations[-1]))
            h = self.phi(phi_inputs[-1])
            inputs.append(inputs[-1] + h if self.residual and layer >= 2 else h)
        preactivations.append(self.preactivation(self.depth + 1, inputs[-1]))
        return Trace(inputs, preactivations, phi_inputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.trace(x).output

    def in_float64(self, rounding: torch.Generator | None = None) -> PlainNetwork:
        """A copy with the same weights in float64, and phi' in a form that loses no digits.

        With `rounding` as another float64 program might compute it: weights, biases, phi and phi' are nudged.
        """
        twin = copy.deepcopy(self).double()
        twin.phi = activations.Exact(self.activation, rounding)
        if rounding is not None:
            for parameter in twin.parameters():
                parameter.data = activations.nudged(parameter.data, 2.0**-52, rounding)
        return twin


def _norm(name: str, unit_shape: list[int]) -> nn.Module:
    if name == "layer":
        return nn.LayerNorm(unit_shape)
    if name == "batch":
        return nn.BatchNorm2d(unit_shape[0]) if len(unit_shape) == 3 else nn.BatchNorm1d(unit_shape[0])
    return nn.Identity()


def build_network(trial: Trial, data: PlainData) -> PlainNetwork:
    """The untrained network: torch.manual_seed(seed), the layers made from the input on, then `init` likewise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        network = PlainNetwork(trial, data)
        for weight, bias in network.weights_and_biases:
            initialise(trial.model.init, weight, bias)
    return network


@torch.no_grad()
def initialise(init: Choice, weight: Tensor, bias: Tensor) -> None:
    """Draw one layer's weight, then its bias, in place; what is constant draws nothing."""
    p = dict(init.parameters)
    fan_in = weight[0].numel()
    if init.name == "pytorch_default":
        return
    nn.init.zeros_(bias)
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
            nn.init.zeros_(weight)
            if p["sigma_w"] > 0:
                nn.init.normal_(weight, 0.0, p["sigma_w"] / math.sqrt(fan_in))
            if p["sigma_b"] > 0:
                nn.init.normal_(bias, 0.0, p["sigma_b"])
        case _:
            raise ValueError(f"no init {init.name}")
