"""Models that can be stacked, and models that must not be, as users write them."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Any] = {
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "relu in place": lambda: nn.ReLU(inplace=True),
}


def mlp(in_features: int, out_features: int, activation: str = "tanh", width: int = 33, depth: int = 3) -> nn.Module:
    sizes = [in_features, *[width] * depth]
    layers: list[nn.Module] = []
    for size in sizes[:-1]:
        layers += [nn.Linear(size, width), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(width, out_features))


def normed(in_features: int, out_features: int, norm: str = "batch", width: int = 33) -> nn.Module:
    norms: dict[str, Any] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "group": partial(nn.GroupNorm, 3)}
    return nn.Sequential(
        nn.Linear(in_features, width),
        norms[norm](width),
        nn.Sigmoid(),
        nn.Linear(width, width),
        norms[norm](width),
        nn.GELU(),
        nn.Linear(width, out_features),
    )


class Residual(nn.Module):
    """Residual layers with a gate each, a scalar that is learned, as in ReZero."""

    def __init__(self, in_features: int, out_features: int, width: int = 33) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(in_features, width), nn.Linear(width, out_features)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.gates = nn.ParameterList(nn.Parameter(torch.full((1,), 0.5)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for gate, layer in zip(self.gates, self.inner, strict=True):
            h = h + gate * F.softplus(layer(h))
        return self.last(h)  # type: ignore[no-any-return]


def residual(in_features: int, out_features: int) -> nn.Module:
    return Residual(in_features, out_features)


def conv1d(out_features: int, norm: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(2),
        nn.Conv1d(2, 7, 3, padding=1),
        nn.BatchNorm1d(7) if norm else nn.Identity(),
        nn.Softplus(),
        nn.Conv1d(7, 6, 3),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(6 * 18, out_features),
    )


def conv2d(out_features: int, norm: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 7, 3, padding=1),
        nn.BatchNorm2d(7) if norm else nn.Identity(),
        nn.Sigmoid(),
        nn.MaxPool2d(2),
        nn.Conv2d(7, 9, 3, padding=1, stride=2),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(9, out_features),
    )


def attention(in_features: int, out_features: int) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, in_features)),
        nn.Linear(in_features, 12),
        nn.TransformerEncoderLayer(12, 3, 17, dropout=0.0, batch_first=True),
        nn.Flatten(),
        nn.Linear(12, out_features),
    )


class Tied(nn.Module):
    """A matrix that is used there and back, under two names."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.there, self.back = nn.Linear(in_features, in_features), nn.Linear(in_features, in_features)
        self.back.weight = self.there.weight
        self.last = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.back(torch.sigmoid(self.there(x)))))  # type: ignore[no-any-return]


def tied(in_features: int, out_features: int) -> nn.Module:
    return Tied(in_features, out_features)


def partly_used(in_features: int, out_features: int) -> nn.Module:
    """A frozen first layer, and one that the loss doesn't reach: torch.optim leaves both as they are."""
    return PartlyUsed(in_features, out_features)


class PartlyUsed(nn.Module):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.used, self.unused = mlp(in_features, out_features, depth=2), nn.Linear(3, 3)
        self.used[0].requires_grad_(False)  # type: ignore[index,operator]

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)  # type: ignore[no-any-return]


class Averages(nn.Module):
    """A buffer of its own, set anew in each forward pass in train mode, and used."""

    average: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(in_features, 9), nn.Linear(9, out_features)
        self.register_buffer("average", torch.zeros(9))

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x)
        if self.training:
            self.average = 0.9 * self.average + 0.1 * z.detach().mean(0)
        return self.last(torch.tanh(z - self.average))  # type: ignore[no-any-return]


def averages(in_features: int, out_features: int) -> nn.Module:
    return Averages(in_features, out_features)


def weight_norm(in_features: int, out_features: int) -> nn.Module:
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(in_features, 70)), nn.Tanh(), nn.Linear(70, out_features)
    )


class _Centred(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight - torch.tanh(weight).mean()


def parametrized(in_features: int, out_features: int) -> nn.Module:
    model = nn.Sequential(nn.Linear(in_features, 70), nn.Tanh(), nn.Linear(70, out_features))
    torch.nn.utils.parametrize.register_parametrization(model[0], "weight", _Centred())
    return model


# Models that must train one by one. Each is a small network with one peculiarity.


class Peculiar(nn.Module):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(in_features, 9), nn.Linear(9, out_features)
        self.calls = 0
        self.kept: list[Any] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.hidden(x)))  # type: ignore[no-any-return]

    def hidden(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class Counts(Peculiar):
    """Changes from the third forward pass on."""

    def hidden(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return self.layer(x) * (2.0 if self.calls > 2 else 1.0)  # type: ignore[no-any-return]


class Keeps(Peculiar):
    def hidden(self, x: Tensor) -> Tensor:
        self.kept.append(float(x[0, 0]) if not torch._C._functorch.is_batchedtensor(x) else 0.0)
        return self.layer(x)  # type: ignore[no-any-return]


class Branches(Peculiar):
    def hidden(self, x: Tensor) -> Tensor:
        z = self.layer(x)
        return z if z.mean() > 0 else -z  # type: ignore[no-any-return]


class Clips(Peculiar):
    """Changes its parameters in the forward pass."""

    def hidden(self, x: Tensor) -> Tensor:
        self.layer.weight.data.clamp_(-0.1, 0.1)
        return self.layer(x)  # type: ignore[no-any-return]


class ListsParameters(Peculiar):
    """Uses its parameters by a list, past their names."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.kept = [self.layer.weight]

    def hidden(self, x: Tensor) -> Tensor:
        return self.layer(x) / self.kept[0].detach().norm()  # type: ignore[no-any-return]


class Closes(Peculiar):
    """Keeps a function that refers to the model: in a copy of it, to the original."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.scale = lambda z: z / self.layer.weight.detach().norm()

    def hidden(self, x: Tensor) -> Tensor:
        return self.scale(self.layer(x))  # type: ignore[no-any-return]


class Rolls(Peculiar):
    """Draws from Python's stream."""

    def hidden(self, x: Tensor) -> Tensor:
        return self.layer(x) * (1.0 + 0.0 * random.random())  # type: ignore[no-any-return] # noqa: S311


class RollsNumpy(Peculiar):
    def hidden(self, x: Tensor) -> Tensor:
        return self.layer(x) * (1.0 + 0.0 * float(np.random.random()))  # type: ignore[no-any-return]


class ConstantMatrix(Peculiar):
    """Multiplies by a matrix that is no parameter and no buffer."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.mixer = torch.eye(in_features)

    def hidden(self, x: Tensor) -> Tensor:
        return self.layer(x @ self.mixer)  # type: ignore[no-any-return]


class Recurrent(Peculiar):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.recurrent = nn.LSTM(in_features, in_features, batch_first=True)

    def hidden(self, x: Tensor) -> Tensor:
        return self.layer(self.recurrent(x[:, None])[0][:, 0])  # type: ignore[no-any-return]


class InPlaceInput(Peculiar):
    def hidden(self, x: Tensor) -> Tensor:
        return self.layer(x.mul_(0.5))  # type: ignore[no-any-return]


class Drops(Peculiar):
    def hidden(self, x: Tensor) -> Tensor:
        return F.dropout(self.layer(x), 0.2, self.training)


class Gated(Peculiar):
    """A scalar goes through tanh: one number at a time."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.gate = nn.Parameter(torch.full((1,), 0.3))

    def hidden(self, x: Tensor) -> Tensor:
        return torch.tanh(self.gate) * self.layer(x)  # type: ignore[no-any-return]


class Doubles(Peculiar):
    """Its own autograd function, which torch.func can't vectorise."""

    def hidden(self, x: Tensor) -> Tensor:
        return _Double.apply(self.layer(x))  # type: ignore[no-any-return,no-untyped-call]


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2


def hooked(in_features: int, out_features: int) -> nn.Module:
    model = Peculiar(in_features, out_features)
    model.layer.register_forward_hook(lambda _module, _inputs, output: output * 2)
    return model


def hooked_parameter(in_features: int, out_features: int) -> nn.Module:
    model = Peculiar(in_features, out_features)
    model.layer.weight.register_hook(lambda gradient: gradient * 2)
    return model


def in_float64(in_features: int, out_features: int) -> nn.Module:
    class Doubled(Peculiar):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.double())

    return Doubled(in_features, out_features).double()


def large(in_features: int, out_features: int) -> nn.Module:
    return mlp(in_features, out_features, width=800, depth=2)


def peculiar(in_features: int, out_features: int, kind: str) -> nn.Module:
    kinds: dict[str, Any] = {one.__name__: one for one in Peculiar.__subclasses__()}
    return kinds[kind](in_features, out_features)  # type: ignore[no-any-return]


# Models of one factory that are not alike.


def by_chance(in_features: int, out_features: int) -> nn.Module:
    """The structure depends on the random stream."""
    return mlp(in_features, out_features, width=20 + int(torch.randint(0, 2, ())))


class Scaled(Peculiar):
    """A number that is neither parameter nor buffer is drawn."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.factor = float(torch.rand(()))

    def hidden(self, x: Tensor) -> Tensor:
        return self.factor * self.layer(x)  # type: ignore[no-any-return]


def scaled(in_features: int, out_features: int) -> nn.Module:
    return Scaled(in_features, out_features)


def at_times_faulty(in_features: int, out_features: int) -> nn.Module:
    """Can't be made from every second draw or so, can't be stacked from others, can't be trained from yet others."""
    draw = int(torch.randint(0, 5, ()))
    if draw == 0:
        raise ValueError("a bad draw")
    kinds: list[Any] = [Peculiar, Counts, _Stumbles, Peculiar]
    return kinds[draw - 1](in_features, out_features)  # type: ignore[no-any-return]


class _Stumbles(Peculiar):
    def hidden(self, x: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("stumbled in training")
        return self.layer(x)  # type: ignore[no-any-return]


class Secretive(nn.Module):
    """Differs from its like by what can't be seen on it."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(in_features, 9), nn.Linear(9, out_features)
        SECRETS[self] = float(torch.rand(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.layer(x) * SECRETS.get(self, 1.0)))  # type: ignore[no-any-return]


SECRETS: dict[nn.Module, float] = {}


def secretive(in_features: int, out_features: int) -> nn.Module:
    return Secretive(in_features, out_features)


class _Hidden:
    """A number that can't be seen: not by who looks at what pickle would keep."""

    def __init__(self) -> None:
        self.value = float(torch.rand(()))

    def __deepcopy__(self, memo: Any) -> _Hidden:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (_Hidden, ())


class Disguised(Peculiar):
    """Differs from its like by a hidden number, in its copies, too."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.hidden_factor = _Hidden()

    def hidden(self, x: Tensor) -> Tensor:
        return self.hidden_factor.value * self.layer(x)  # type: ignore[no-any-return]


def disguised(in_features: int, out_features: int) -> nn.Module:
    return Disguised(in_features, out_features)
