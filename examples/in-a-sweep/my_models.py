"""Models of your own, in plain PyTorch: nothing in here knows gradlab."""

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """A convolution and its activation, beside a shortcut where one is asked for."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.ReLU()
        self.shortcut = shortcut

    def forward(self, h: Tensor) -> Tensor:
        branch = self.act(self.conv(h))
        return h + branch if self.shortcut else branch


class Images(nn.Module):
    """A convolutional classifier of `depth` blocks."""

    def __init__(self, depth: int, channels: int, shortcut: bool, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(channels, shortcut) for _ in range(depth)])
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        h = self.blocks(torch.relu(self.stem(images)))
        return self.head(h.mean((2, 3)))


def build(out_features: int, depth: int = 8, channels: int = 16, shortcut: bool = False) -> nn.Module:
    """What `model.factory` names: gradlab calls it right after `torch.manual_seed(seed)`."""
    return Images(depth, channels, shortcut, out_features)
