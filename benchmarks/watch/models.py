"""The trainings that are watched: a ResNet-18 for images of 32 x 32 pixels, two small transformers, and a tiny MLP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CLASSES = 10
BATCHES = 4
"""Minibatches that take turns."""


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a way around them (He et al. 2016, figure 2)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.around = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels_in, height, width]` -> `[batch, channels, height / stride, width / stride]`."""
        h = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(h)) + self.around(x))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """A ResNet for small images: a 3 x 3 stem without pooling, four stages, the mean over positions.

    Args:
        channels: of the first stage; each further stage has twice as many.
        blocks: of each stage.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        stages, before = [], channels
        for stage in range(4):
            wide = channels * 2**stage
            parts = [
                BasicBlock(before if n == 0 else wide, wide, 2 if stage > 0 and n == 0 else 1) for n in range(blocks)
            ]
            stages.append(nn.Sequential(*parts))
            before = wide
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(before, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 3, height, width]` -> `[batch, class]`."""
        h = self.stages(self.relu(self.bn1(self.conv1(x))))
        return self.fc(h.mean((2, 3)))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A pre-norm encoder over tokens, the mean over positions, a linear output.

    Args:
        width: d_model; heads are 32 wide, feed-forward layers four times as wide as the model.
        vocabulary: how many tokens there are.
        length: of a sequence.
    """

    def __init__(self, width: int, blocks: int, vocabulary: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(length, width) / width**0.5)
        heads = max(1, width // 32)
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(blocks)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[batch, position]` -> `[batch, class]`."""
        h = self.blocks(self.embedding(tokens) + self.positions)
        return self.output(self.norm(h).mean(1))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Case:
    """A model and its minibatches.

    Attributes:
        name: as the tables say it.
        build: the model, its weights drawn from torch's stream.
        inputs: a minibatch of so many examples.
        batch: examples of a minibatch.
        steps: of a timed run, one more than a multiple of ten.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    batch: int
    steps: int

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Made-up minibatches, always the same."""
        torch.manual_seed(1)
        return [(self.inputs(self.batch), torch.randint(CLASSES, (self.batch,))) for _ in range(BATCHES)]


VOCABULARY, LENGTH = 1000, 64


def images(size: int) -> Callable[[int], Tensor]:
    """Images `[batch, 3, size, size]` of normal noise."""
    return lambda batch: torch.randn(batch, 3, size, size)


def sequences(length: int) -> Callable[[int], Tensor]:
    """Tokens `[batch, length]`, each as likely."""
    return lambda batch: torch.randint(VOCABULARY, (batch, length))


def perceptron() -> nn.Module:
    """Eight layers of 32 tanh units: steps so short that only the cost of calling operators is left."""
    hidden = [part for _ in range(8) for part in (nn.Linear(32, 32), nn.Tanh())]
    return nn.Sequential(*hidden, nn.Linear(32, CLASSES))


MLP = Case("MLP, 8 x 32", perceptron, lambda batch: torch.randn(batch, 32), 32, 2000)

CASES: Mapping[str, Case] = {
    "resnet": Case("ResNet-18, 32 x 32", lambda: ResNet(64, 2), images(32), 32, 21),
    "transformer128": Case(
        "transformer, d_model 128", lambda: Transformer(128, 4, VOCABULARY, LENGTH), sequences(LENGTH), 32, 101
    ),
    "transformer64": Case(
        "transformer, d_model 64", lambda: Transformer(64, 4, VOCABULARY, LENGTH), sequences(LENGTH), 32, 201
    ),
}

OPTIMIZERS: Mapping[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.01),
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=1e-3, fused=True),
}
