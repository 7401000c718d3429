"""The family transformer: a small encoder (Vaswani et al. 2017), with the normalisation before or after each part."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gradlab.config.choices import Choice
from gradlab.config.schema import Model
from gradlab.engine.activations import Elementwise
from gradlab.engine.initialise import draw_bias, draw_weight
from gradlab.engine.modules.layers import Composite

FEED_FORWARD = 4
"""Hidden units of a block's feed-forward part, in widths."""

_PERIOD = 10_000.0
"""Time steps, over 2 pi, of the slowest wave of the positions (Vaswani et al. 2017, section 3.5)."""


class Embedding(nn.Module):
    """A linear map of every time step to the width, plus its position as sines and cosines.

    It counts as no layer, so that layer l is block l: its matrix is called `projection`, where layers have a `weight`.
    The gradient's norm over all parameters has it.
    """

    positions: Tensor

    def __init__(self, in_features: int, width: int, steps: int) -> None:
        super().__init__()
        linear = nn.Linear(in_features, width)
        self.projection, self.shift = linear.weight, linear.bias
        self.register_buffer("positions", sinusoids(steps, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[example, time, feature] -> [example, time, unit]."""
        return nn.functional.linear(x, self.projection, self.shift) + self.positions


class Block(Composite):
    """Self-attention and two linear maps around the activation, each added to its own input.

    pre: h + f(LN(h)); post: LN(h + f(h)); none: h + f(h). One layer of gradlab's, with all its matrices.
    """

    def __init__(self, width: int, heads: int, norm: str, activation: Elementwise) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.linear1 = nn.Linear(width, FEED_FORWARD * width)
        self.linear2 = nn.Linear(FEED_FORWARD * width, width)
        if norm != "none":
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self._norm, self._activation = norm, activation

    def forward(self, h: Tensor) -> Tensor:
        """[example, time, unit] -> the same shape."""
        if self._norm == "pre":
            h = h + self._attend(self.norm1(h))
            return h + self._feed_forward(self.norm2(h))
        if self._norm == "post":
            h = self.norm1(h + self._attend(h))
            normed: Tensor = self.norm2(h + self._feed_forward(h))
            return normed
        h = h + self._attend(h)
        return h + self._feed_forward(h)

    def draw(self, init: Choice) -> None:
        """Draw queries', keys', values' and the attention's output matrix, then the linear maps, each with its bias."""
        for matrix in self.attention.in_proj_weight.detach().chunk(3):
            draw_weight(init, matrix)
        draw_bias(init, self.attention.in_proj_bias)
        for linear in (self.attention.out_proj, self.linear1, self.linear2):
            draw_weight(init, linear.weight)
            draw_bias(init, linear.bias)

    def _attend(self, h: Tensor) -> Tensor:
        attended: Tensor = self.attention(h, h, h, need_weights=False)[0]
        return attended

    def _feed_forward(self, h: Tensor) -> Tensor:
        mapped: Tensor = self.linear2(self._activation(self.linear1(h)))
        return mapped


class Transformer(nn.Module):
    """From sequences [example, time, feature] to outputs [example, output]; without dropout.

    Attributes:
        embedding, blocks, output: drawn in this order. The output reads the mean over time.
        norm: after the last block, with `norm: pre` only, which leaves the sum of all blocks unnormalised.
    """

    def __init__(self, model: Model, in_features: int, out_features: int, steps: int, activation: Elementwise) -> None:
        super().__init__()
        heads = int(model.heads or 1)
        self.embedding = Embedding(in_features, model.width, steps)
        self.blocks = nn.ModuleList(Block(model.width, heads, model.norm, activation) for _ in range(model.depth))
        self.norm = nn.LayerNorm(model.width) if model.norm == "pre" else None
        self.output = nn.Linear(model.width, out_features)
        if model.init.name != "pytorch_default":
            self._draw(model.init)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, [example, output]."""
        h = self.embedding(x)
        for block in self.blocks:
            h = block(h)
        outputs: Tensor = self.output((h if self.norm is None else self.norm(h)).mean(dim=1))
        return outputs

    def _draw(self, init: Choice) -> None:
        draw_weight(init, self.embedding.projection)
        draw_bias(init, self.embedding.shift)
        for block in self.blocks:
            if isinstance(block, Block):
                block.draw(init)
        draw_weight(init, self.output.weight)
        draw_bias(init, self.output.bias)


def sinusoids(steps: int, width: int) -> Tensor:
    """Positions [time, unit]: sines in even and cosines in odd units, of periods from 2 pi to 10,000 times that."""
    time = torch.arange(steps, dtype=torch.float64)[:, None]
    waves = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(_PERIOD) / width))
    positions = torch.empty(steps, width, dtype=torch.float64)
    positions[:, 0::2] = torch.sin(time * waves)
    positions[:, 1::2] = torch.cos(time * waves[: width // 2])
    return positions.float()
