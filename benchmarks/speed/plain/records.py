"""What the plain loop looks at in a step that it records."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.speed.plain.networks import NONLINEARITIES, Digits, Trial

STEP_COLUMNS = ("train_loss", "eval_loss", "eval_metric", "grad_norm")
LAYER_COLUMNS = (
    "weight_grad_norm",
    "log10_weight_grad_norm",
    "bias_grad_norm",
    "delta_rms",
    "log10_delta_rms",
    "float32_zero_fraction",
    "non_finite",
    "weight_norm",
    "update_ratio",
    "preactivation_rms",
    "activation_mean",
    "activation_rms",
    "saturated_fraction",
    "dead_units",
    "zero_gradient_units",
)
SATURATED_BELOW = 0.01

Layer = nn.Linear | nn.Conv2d


def layers_of(network: nn.Sequential) -> list[Layer]:
    """The modules with weights, the output layer last."""
    return [module for module in network if isinstance(module, nn.Linear | nn.Conv2d)]


def forward_keeping(network: nn.Sequential, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The network's output, and every layer's pre-activations, which will keep their gradients."""
    preactivations = []
    for module in network:
        x = module(x)
        if isinstance(module, nn.Linear | nn.Conv2d):
            x.retain_grad()
            preactivations.append(x)
    return preactivations, x


@torch.no_grad()
def look_at_gradients(layers: Sequence[Layer], preactivations: Sequence[Tensor], loss: Tensor) -> tuple[Tensor, Tensor]:
    """Training loss and norm of the whole gradient, [2]; the columns about gradients, [column, layer]."""
    weights = [layer.weight.grad for layer in layers if layer.weight.grad is not None]
    weight = norms(weights)
    bias = norms([layer.bias.grad for layer in layers if layer.bias is not None and layer.bias.grad is not None])
    # The loss is a mean: the gradient of one example's own loss is batch size times larger.
    delta = norms([z.grad for z in preactivations if z.grad is not None]) * math.sqrt(len(preactivations[0]))
    zeros = torch.stack([1 - torch.count_nonzero(gradient) / gradient.numel() for gradient in weights])
    non_finite = torch.stack([gradient.isfinite().logical_not().sum() for gradient in weights])
    whole = torch.linalg.vector_norm(torch.stack([weight, bias]))
    columns = [weight, weight.log10(), bias, delta, delta.log10(), zeros, non_finite]
    return torch.stack([loss.detach(), whole]), torch.stack(columns)


@torch.no_grad()
def look_at_update(layers: Sequence[Layer], before: Sequence[Tensor]) -> Tensor:
    """Norm of the weights before the step, and the step's size relative to it, [column, layer]."""
    size = norms(before)
    change = norms([layer.weight - old for layer, old in zip(layers, before, strict=True)])
    return torch.stack([size, change / size])


@torch.no_grad()
def look_at_probe(network: nn.Sequential, trial: Trial, data: Digits) -> Tensor:
    """The columns about units on the probe, [column, layer]; NaN where the output layer has none.

    The gradient is taken back through the layers by hand: only which of it is 0 is wanted, and no graph is built.
    """
    nonlinearity = NONLINEARITIES[trial.activation]
    layers = layers_of(network)
    h, y = data.x_train[: trial.probe], data.y_train[: trial.probe]
    slopes, rows = [], []
    for layer, module in zip(layers[:-1], list(network)[1::2], strict=False):
        z = layer(h)
        h = module(z)
        slope = nonlinearity.slope(z, h)
        steepness = slope.abs()
        slopes.append(slope)
        rows.append(
            [
                root_mean_square(z),
                h.mean(),
                root_mean_square(h),
                torch.count_nonzero(steepness < SATURATED_BELOW * nonlinearity.steepest) / slope.numel(),
                all_zero(steepness),
            ]
        )
    output = network[2 * trial.depth :](h)
    signal = torch.softmax(output, 1) - F.one_hot(y, output.shape[1])
    unreached = []
    for layer, slope in zip(reversed(layers[1:]), reversed(slopes), strict=True):
        signal = back_through(layer, signal, slope.shape) * slope
        unreached.append(all_zero(signal.abs()))
    nothing = output.new_tensor(math.nan)
    rows.append([root_mean_square(output), *[nothing] * 4])
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    return torch.stack([*columns, torch.stack([*reversed(unreached), nothing])])


def back_through(layer: Layer, signal: Tensor, shape: torch.Size) -> Tensor:
    """The signal that reaches a layer's input of that shape."""
    if isinstance(layer, nn.Conv2d):
        return F.conv_transpose2d(signal, layer.weight, padding=1)
    back = signal @ layer.weight
    positions = math.prod(shape[2:])
    return back if positions == 1 else (back / positions)[:, :, None, None]


@torch.no_grad()
def evaluate(network: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Loss and accuracy, [2]."""
    output = network(x)
    return torch.stack([F.cross_entropy(output, y), (output.argmax(1) == y).float().mean()])


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of each, [tensor]; what `clip_grad_norm_` calls."""
    return torch.stack(torch._foreach_norm(list(tensors)))


def all_zero(sizes: Tensor) -> Tensor:
    """How many units' non-negative numbers are nothing but 0; a sum is several times quicker than `all`."""
    return (sizes.sum((0, *range(2, sizes.ndim))) == 0).sum()


def root_mean_square(values: Tensor) -> Tensor:
    """Over all elements."""
    return torch.linalg.vector_norm(values) / math.sqrt(values.numel())
