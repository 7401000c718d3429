"""Model factories as users write them, for tests of custom models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Any] = {
    "linear": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "hardtanh": nn.Hardtanh,
}


def mlp(in_features: int, out_features: int, depth: int, width: int, activation: str, norm: bool = False) -> nn.Module:
    """The twin of a built-in mlp: layers made from the input on."""
    sizes = [in_features, *[width] * depth]
    layers: list[nn.Module] = []
    for size in sizes[:-1]:
        norms = [nn.BatchNorm1d(width)] if norm else []
        layers += [nn.Linear(size, width), *norms, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(width, out_features))


class Cnn(nn.Module):
    """The twin of a built-in cnn."""

    def __init__(self, channels: int, out_features: int, depth: int, width: int, activation: str) -> None:
        super().__init__()
        sizes = [channels, *[width] * depth]
        self.convolutions = nn.ModuleList([nn.Conv2d(size, width, 3, padding=1) for size in sizes[:-1]])
        self.output = nn.Linear(width, out_features)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = self.activation(convolution(x))
        return self.output(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def cnn(out_features: int, **settings: Any) -> nn.Module:
    return Cnn(out_features=out_features, **settings)


class Twice(nn.Module):
    """One layer used twice, each time behind the same activation."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.inner, self.output = nn.Linear(5, 5), nn.Linear(5, out_features)
        self.phi = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.phi(self.inner(self.phi(self.inner(x)))))  # type: ignore[no-any-return]


def shared(out_features: int) -> nn.Module:
    return Twice(out_features)


class Unordered(nn.Module):
    """Layers made in another order than they are used in; one is never used; relu is no module."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.last = nn.Linear(4, out_features)
        self.unused = nn.Linear(3, 3)
        self.first = nn.Linear(5, 6)
        self.middle = nn.Linear(6, 4)
        self.phi = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.middle(self.phi(self.first(x)))))  # type: ignore[no-any-return]


def unordered(out_features: int) -> nn.Module:
    return Unordered(out_features)


def with_placeholder(in_features: int, out_features: int, bias: float = 0.0) -> nn.Module:
    """A norm switched off, as torch's users write it; all units of the layer dead with a bias far below 0."""
    model = nn.Sequential(nn.Linear(in_features, 4), nn.Identity(), nn.ReLU(), nn.Linear(4, out_features))
    with torch.no_grad():
        model[0].bias += bias
    return model


class Remembers(nn.Module):
    """Keeps its features on itself, as models do for later inspection."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(in_features, 4), nn.Linear(4, out_features)
        self.phi = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        self.features = self.phi(self.first(x))
        return self.last(self.features)  # type: ignore[no-any-return]


def remembers(in_features: int, out_features: int) -> nn.Module:
    return Remembers(in_features, out_features)


def dropout(in_features: int, out_features: int, p: float = 0.5) -> nn.Module:
    return nn.Sequential(
        nn.Linear(in_features, 8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, out_features)
    )


def batch_norm(in_features: int, out_features: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(in_features, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, out_features)
    )


def explodes(in_features: int, out_features: int) -> nn.Module:
    """Batch norm in front of weights so large that the loss is not finite from the first step on."""
    model = batch_norm(in_features, out_features)
    with torch.no_grad():
        model[-1].weight.fill_(3e38)  # type: ignore[index,union-attr,operator]
    return model


def lazy(out_features: int) -> nn.Module:
    return nn.Sequential(nn.LazyLinear(6), nn.ReLU(), nn.LazyLinear(out_features))


def frozen(in_features: int, out_features: int) -> nn.Module:
    """A first layer that is not trained."""
    model = mlp(in_features, out_features, 2, 4, "tanh")
    model[0].requires_grad_(False)  # type: ignore[index,operator]
    return model


def wrong_shape(in_features: int) -> nn.Module:
    return nn.Linear(in_features, 7)


def no_parameters() -> nn.Module:
    return nn.Flatten()


def all_frozen(in_features: int, out_features: int) -> nn.Module:
    return nn.Linear(in_features, out_features).requires_grad_(False)


def wrong_input(out_features: int) -> nn.Module:
    return nn.Linear(11, out_features)


def no_module() -> Any:
    return [1, 2]


def raising() -> nn.Module:
    raise RuntimeError("out of milk")


class _Tuple(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x), x


def returns_a_tuple() -> nn.Module:
    return _Tuple()


class _LateFault(nn.Module):
    """Fails in training only."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(5, out_features)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("not today")
        return self.layer(x)  # type: ignore[no-any-return]


def fails_in_training(out_features: int) -> nn.Module:
    return _LateFault(out_features)
