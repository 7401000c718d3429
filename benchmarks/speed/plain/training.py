"""The loop itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.plain.networks import Digits, Trial, build
from benchmarks.speed.plain.records import (
    evaluate,
    forward_keeping,
    layers_of,
    look_at_gradients,
    look_at_probe,
    look_at_update,
)


@dataclass(frozen=True)
class History:
    """What one trial left: the recorded steps, [record, step column], [record, layer column, layer], final values."""

    steps: list[int]
    step_values: Tensor
    layer_values: Tensor
    finals: Tensor


def train(trial: Trial, data: Digits, after_step: Callable[[], None] = lambda: None) -> History:
    """Train one network and record it; `after_step` is called when a step and its record are done."""
    data = data.read_by(trial.family)
    network = build(trial, data.x_train.shape[1], data.classes).to(data.x_train.device)
    layers = layers_of(network)
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[trial.optimizer]
    optimizer = make(network.parameters(), lr=trial.lr, fused=True)
    recorded: list[int] = []
    step_rows: list[Tensor] = []
    layer_rows: list[Tensor] = []
    batches = minibatches(len(data.x_train), trial.batch_size, trial.seed)
    for step, indices in zip(range(trial.steps), batches, strict=False):
        batch = indices.to(data.x_train.device)
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
            of_probe = look_at_probe(network, trial, data)
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
    """Indices of one full minibatch after another, each epoch a new permutation; all examples, if they are fewer."""
    generator = torch.Generator().manual_seed(seed)
    size = min(batch_size, examples)
    while True:
        pieces = torch.randperm(examples, generator=generator).split(size)
        yield from (piece for piece in pieces if len(piece) == size)
