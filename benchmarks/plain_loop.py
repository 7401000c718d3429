"""The loop that gradlab is measured against: one network after another, written with care in plain PyTorch.

It is what a competent engineer has after an afternoon: one `nn.Sequential` per trial, the fused optimizers of
`torch.optim`, minibatches gathered by one index, every column of a record taken in as few operators as plain code
allows, and one transfer per record. Norms are float32, as people's own monitors are: what float32 loses is lost here.

As a command, `python plain_loop.py TRIALS.json OUT.npz` trains the trials that a JSON list of `Trial` fields names, on
the digits of scikit-learn, and writes what it recorded.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


@dataclass(frozen=True)
class Trial:
    """One network to train, initialised by `he_normal`."""

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


@dataclass(frozen=True)
class Digits:
    """The data: standardised features [example, feature], classes [example]."""

    x_train: Tensor
    y_train: Tensor
    x_eval: Tensor
    y_eval: Tensor


@dataclass(frozen=True)
class History:
    """What one trial left: the recorded steps, [record, step column], [record, layer column, layer], final values."""

    steps: list[int]
    step_values: Tensor
    layer_values: Tensor
    finals: Tensor


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


def load_digits() -> Digits:
    """The 8 x 8 digits, a fifth of them held out, standardised by the training split."""
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    x, y = load(return_X_y=True)
    x_train, x_eval, y_train, y_eval = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    mean, deviation = x_train.mean(axis=0), x_train.std(axis=0)
    deviation[deviation == 0] = math.inf  # constant features become 0

    def standardised(x: Any) -> Tensor:
        return torch.tensor((x - mean) / deviation, dtype=torch.float32)

    return Digits(standardised(x_train), torch.tensor(y_train), standardised(x_eval), torch.tensor(y_eval))


def build(trial: Trial, features: int, classes: int) -> nn.Sequential:
    """The network at step 0."""
    torch.manual_seed(trial.seed)
    sizes = [features, *[trial.width] * trial.depth, classes]
    linears = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(sizes)]
    for linear in linears:
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
    module = NONLINEARITIES[trial.activation].module
    hidden = [layer for linear in linears[:-1] for layer in (linear, module())]
    return nn.Sequential(*hidden, linears[-1])


def train(trial: Trial, data: Digits, after_step: Callable[[], None] = lambda: None) -> History:
    """Train one network and record it; `after_step` is called when a step and its record are done."""
    network = build(trial, data.x_train.shape[1], int(data.y_train.max()) + 1)
    layers = [module for module in network if isinstance(module, nn.Linear)]
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[trial.optimizer]
    optimizer = make(network.parameters(), lr=trial.lr, fused=True)
    recorded: list[int] = []
    step_rows: list[Tensor] = []
    layer_rows: list[Tensor] = []
    batches = minibatches(len(data.x_train), trial.batch_size, trial.seed)
    for step, batch in zip(range(trial.steps), batches, strict=False):
        x, y = data.x_train[batch], data.y_train[batch]
        optimizer.zero_grad()
        if step % trial.every and step != trial.steps - 1:
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
        else:
            preactivations, output = forward_keeping(network, x)
            loss = F.cross_entropy(output, y)
            loss.backward()
            step_row, of_gradients = look_at_gradients(layers, preactivations, loss)
            of_probe = look_at_probe(network, layers, trial, data)
            of_evaluation = evaluate(network, data.x_eval, data.y_eval)
            before = [layer.weight.detach().clone() for layer in layers]
            optimizer.step()
            of_update = look_at_update(layers, before)
            recorded.append(step)
            step_rows.append(torch.cat([step_row[:1], of_evaluation, step_row[1:]]).cpu())
            layer_rows.append(torch.cat([of_gradients, of_update, of_probe]).cpu())
        after_step()
        if not math.isfinite(loss.item()):
            break
    final_train = evaluate(network, data.x_train[: trial.probe], data.y_train[: trial.probe])
    finals = torch.cat([final_train[:1], evaluate(network, data.x_eval, data.y_eval)])
    return History(recorded, torch.stack(step_rows), torch.stack(layer_rows), finals)


def minibatches(examples: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Indices of one full minibatch after another, each epoch a new permutation."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from (
            piece
            for piece in torch.randperm(examples, generator=generator).split(batch_size)
            if len(piece) == batch_size
        )


def forward_keeping(network: nn.Sequential, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The network's output, and every layer's pre-activations, which will keep their gradients."""
    preactivations = []
    for module in network:
        x = module(x)
        if isinstance(module, nn.Linear):
            x.retain_grad()
            preactivations.append(x)
    return preactivations, x


@torch.no_grad()
def look_at_gradients(
    layers: Sequence[nn.Linear], preactivations: Sequence[Tensor], loss: Tensor
) -> tuple[Tensor, Tensor]:
    """Training loss and norm of the whole gradient, [2]; the columns about gradients, [column, layer]."""
    weights = [layer.weight.grad for layer in layers if layer.weight.grad is not None]
    weight, bias = norms(weights), norms([layer.bias.grad for layer in layers if layer.bias.grad is not None])
    # The loss is a mean: the gradient of one example's own loss is batch size times larger.
    delta = norms([z.grad for z in preactivations if z.grad is not None]) * math.sqrt(len(preactivations[0]))
    zeros = torch.stack([1 - torch.count_nonzero(gradient) / gradient.numel() for gradient in weights])
    non_finite = torch.stack([gradient.isfinite().logical_not().sum() for gradient in weights])
    whole = torch.linalg.vector_norm(torch.stack([weight, bias]))
    columns = [weight, weight.log10(), bias, delta, delta.log10(), zeros, non_finite]
    return torch.stack([loss.detach(), whole]), torch.stack(columns)


@torch.no_grad()
def look_at_update(layers: Sequence[nn.Linear], before: Sequence[Tensor]) -> Tensor:
    """Norm of the weights before the step, and the step's size relative to it, [column, layer]."""
    size = norms(before)
    change = norms([layer.weight - old for layer, old in zip(layers, before, strict=True)])
    return torch.stack([size, change / size])


@torch.no_grad()
def look_at_probe(network: nn.Sequential, layers: Sequence[nn.Linear], trial: Trial, data: Digits) -> Tensor:
    """The columns about units on the probe, [column, layer]; NaN where the output layer has none.

    The gradient is taken back through the layers by hand: only which of it is 0 is wanted, and no graph is built.
    """
    nonlinearity = NONLINEARITIES[trial.activation]
    h, y = data.x_train[: trial.probe], data.y_train[: trial.probe]
    slopes, rows = [], []
    for linear, module in zip(layers[:-1], list(network)[1::2], strict=True):
        z = linear(h)
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
    output = layers[-1](h)
    signal = torch.softmax(output, 1) - F.one_hot(y, output.shape[1])
    unreached = []
    for linear, slope in zip(reversed(layers[1:]), reversed(slopes), strict=True):
        signal = (signal @ linear.weight) * slope
        unreached.append(all_zero(signal.abs()))
    nothing = torch.tensor(math.nan)
    rows.append([root_mean_square(output), *[nothing] * 4])
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    return torch.stack([*columns, torch.stack([*reversed(unreached), nothing])])


@torch.no_grad()
def evaluate(network: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Loss and accuracy, [2]."""
    output = network(x)
    return torch.stack([F.cross_entropy(output, y), (output.argmax(1) == y).float().mean()])


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of each."""
    return torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors])


def all_zero(sizes: Tensor) -> Tensor:
    """How many columns of non-negative numbers hold nothing but 0; a sum is several times quicker than `all`."""
    return (sizes.sum(0) == 0).sum()


def root_mean_square(values: Tensor) -> Tensor:
    """Over all elements."""
    return torch.linalg.vector_norm(values) / math.sqrt(values.numel())


def main() -> None:
    """Train the trials of a file, one after another, on one thread."""
    torch.set_num_threads(1)
    trials = [Trial(**fields) for fields in json.loads(Path(sys.argv[1]).read_text())]
    data = load_digits()
    arrays = {}
    for index, trial in enumerate(trials):
        history = train(trial, data)
        arrays[f"steps_{index}"] = history.step_values.numpy()
        arrays[f"layers_{index}"] = history.layer_values.numpy()
        arrays[f"finals_{index}"] = history.finals.numpy()

    import numpy as np

    np.savez(sys.argv[2], **arrays)


if __name__ == "__main__":
    main()
