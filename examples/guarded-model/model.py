"""The model that this project guards: a residual MLP."""

import math

from torch import Tensor, nn


class Block(nn.Module):
    """A residual block of two layers: h + scale W2 relu(W1 norm(h))."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width)
        self.activation = nn.ReLU()
        self.down = nn.Linear(width, width)
        self.scale = scale

    def forward(self, h: Tensor) -> Tensor:
        """The residual stream after this block."""
        branch = self.down(self.activation(self.up(self.norm(h))))
        return h + self.scale * branch


class Classifier(nn.Module):
    """A stem, residual blocks, a norm and a linear head."""

    def __init__(self, in_features: int, out_features: int, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Linear(in_features, width)
        self.activation = nn.ReLU()
        self.blocks = nn.ModuleList(Block(width, 1 / math.sqrt(blocks)) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        h = self.activation(self.stem(x.flatten(1)))
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


def initialise(model: Classifier) -> None:
    """Weights that keep the variance of the signal from layer to layer; biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)


def make_model(in_features: int, out_features: int, width: int = 64, blocks: int = 4) -> Classifier:
    """The model as training and `gradlab check` use it."""
    model = Classifier(in_features, out_features, width, blocks)
    initialise(model)
    return model
