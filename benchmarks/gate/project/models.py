# ruff: noqa: D102
"""The project's networks."""

from itertools import pairwise

import torch
from torch import nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


class DeepMLP(nn.Module):
    """Many linear layers, each but the last followed by an activation."""

    def __init__(self, in_features, out_features, width, depth, activation):
        super().__init__()
        sizes = [in_features, *[width] * depth]
        self.hidden = nn.ModuleList([nn.Linear(before, after) for before, after in pairwise(sizes)])
        self.output = nn.Linear(width, out_features)
        self.activation = ACTIVATIONS[activation]()
        for layer in [*self.hidden, self.output]:
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity=activation)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        h = torch.flatten(x, 1)
        for layer in self.hidden:
            h = self.activation(layer(h))
        return self.output(h)


class Block(nn.Module):
    """Linear, layer norm, activation: what a residual step adds."""

    def __init__(self, in_features, width):
        super().__init__()
        self.linear = nn.Linear(in_features, width)
        self.norm = nn.LayerNorm(width)
        self.activation = nn.ReLU()

    def forward(self, x):
        return self.activation(self.norm(self.linear(x)))


class ResidualMLP(nn.Module):
    """A stem, then blocks that add to what they get."""

    def __init__(self, in_features, out_features, width, depth):
        super().__init__()
        self.stem = Block(in_features, width)
        self.blocks = nn.ModuleList([Block(width, width) for _ in range(depth - 1)])
        self.output = nn.Linear(width, out_features)

    def forward(self, x):
        h = self.stem(torch.flatten(x, 1))
        for block in self.blocks:
            h = h + block(h)
        return self.output(h)


class SmallCNN(nn.Module):
    """Convolutions with batch norm, the mean over positions, a linear output."""

    def __init__(self, out_features, channels, depth):
        super().__init__()
        sizes = [1, *[channels] * depth]
        self.convs = nn.ModuleList(
            [nn.Conv2d(before, after, kernel_size=3, padding=1) for before, after in pairwise(sizes)]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels) for _ in range(depth)])
        self.relu = nn.ReLU()
        self.output = nn.Linear(channels, out_features)
        for layer in [*self.convs, self.output]:
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        h = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = self.relu(norm(conv(h)))
        return self.output(h.mean(dim=(2, 3)))
