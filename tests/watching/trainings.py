"""Trainings that are run with and without a recorder, and everything that must not differ between the two."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradlab
from gradlab.watching import Recorder

STEPS, EXAMPLES, CLASSES = 50, 8, 3

Step = Callable[["Training", Tensor, Tensor], None]


class Residual(nn.Module):
    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Any:
        return x + self.inner(x)


class Sequences(nn.Module):
    """Embedding, an LSTM with dropout, attention; of whole numbers [example, time]."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 8, num_layers=2, dropout=0.1, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Any:
        hidden, _ = self.lstm(self.words((x.abs() * 10).long() % 11))
        attended, _ = self.attention(hidden, hidden, hidden, need_weights=False)
        return self.head(self.norm(hidden + attended).mean(1))


def perceptron() -> nn.Module:
    hidden = [nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(16, 16)]
    return nn.Sequential(*hidden, nn.Tanh(), nn.Linear(16, CLASSES))


def convolutions() -> nn.Module:
    block = Residual(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout2d(0.1))
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), block, nn.Flatten(),
        nn.Linear(24, CLASSES),
    )  # fmt: skip


def transformer() -> nn.Module:
    block = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.1, batch_first=True, norm_first=True)
    return nn.Sequential(nn.Unflatten(1, (1, 6)), block, nn.Flatten(), nn.Linear(6, CLASSES))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "convolutions": convolutions,
    "transformer": transformer,
    "sequences": Sequences,
}

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=1e-3, fused=True),
    "adam foreach": lambda p: torch.optim.Adam(p, lr=1e-3, foreach=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=4),
}


@dataclass
class Training:
    """What a step works with; `called` is what the loop calls, the model itself unless it was compiled."""

    model: nn.Module
    called: nn.Module
    optimizer: torch.optim.Optimizer
    number: int = 0
    recorder: Recorder | None = None

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.called(x).float(), y)


def plain_step(training: Training, x: Tensor, y: Tensor) -> None:
    training.optimizer.zero_grad()
    training.loss(x, y).backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()


def train(
    make: Callable[[], nn.Module],
    optimizer: Callable[[Any], torch.optim.Optimizer],
    step: Step = plain_step,
    *,
    out: Path | None,
    every: int = 1,
    steps: int = STEPS,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    **watched: Any,
) -> dict[str, Any]:
    """All that a training leaves behind; recorded if `out` is given."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    model = make()
    training = Training(model, wrap(model), optimizer(model.parameters()))
    data = torch.Generator().manual_seed(5)
    with recording(training, out, every, **watched):
        for training.number in range(steps):
            x = torch.randn(EXAMPLES, 6, generator=data)
            step(training, x, torch.randint(CLASSES, (EXAMPLES,), generator=data))
    return left_behind(training)


@contextmanager
def recording(training: Training, out: Path | None, every: int, **watched: Any) -> Iterator[None]:
    if out is None:
        yield
    else:
        with gradlab.watch(training.called, training.optimizer, every=every, out=out, seed=0, **watched) as recorder:
            training.recorder = recorder
            yield


def left_behind(training: Training) -> dict[str, Any]:
    """Parameters, buffers, gradients, the optimizer's state and all random streams, as comparable values."""
    found: dict[str, Any] = {f"state {name}": value for name, value in training.model.state_dict().items()}
    found |= {f"gradient {name}": parameter.grad for name, parameter in training.model.named_parameters()}
    states = training.optimizer.state_dict()
    for place, state in states["state"].items():
        found |= {f"optimizer {place} {name}": value for name, value in state.items()}
    found["random torch"] = torch.get_rng_state()
    found["random numpy"] = str(np.random.get_state())
    found["random python"] = random.getstate()
    found["training"] = [module.training for module in training.model.modules()]
    return found


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """To the last bit."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert bits(value) == bits(other[name]), name


def bits(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape), str(value.dtype), value.detach().contiguous().view(-1).view(torch.uint8).tolist()
    if isinstance(value, list | tuple):
        return [bits(one) for one in value]
    return value
