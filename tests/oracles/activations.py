"""Every activation phi as torch has it, its derivative in a form that loses no digits, and the supremum of that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gradlab.config.choices import Choice

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
SILU_STEEPEST = 2.3993572805154675  # the root of z tanh(z/2) = 2, where silu'' = 0
SOFTPLUS_THRESHOLD = 20.0  # torch's softplus is the identity where beta z is above this


def module(choice: Choice) -> nn.Module:
    """phi itself.

    Raises:
        ValueError: the user's own function, of which this oracle knows no derivative.
    """
    p = dict(choice.parameters)
    makers: dict[str, Callable[[], nn.Module]] = {
        "linear": nn.Identity,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(p["negative_slope"]),
        "elu": lambda: nn.ELU(p["alpha"]),
        "selu": nn.SELU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "softplus": lambda: nn.Softplus(p["beta"], SOFTPLUS_THRESHOLD),
        "hardtanh": lambda: nn.Hardtanh(p["min_val"], p["max_val"]),
    }
    if choice.name not in makers:
        raise ValueError(f"the plain twin knows the named activations only, not {choice.name}")
    return makers[choice.name]()


def derivative(choice: Choice, z: Tensor) -> Tensor:
    """phi'(z), elementwise; NaN where z is NaN.

    torch computes tanh' as 1 - tanh^2, which in float64 is 0 from |z| = 19 on and wrong in the third digit from 15 on.
    The forms here keep every digit until exp(-|z|) itself is 0. In the kinks they agree with torch.
    """
    return torch.where(z.isnan(), z, _slope(choice, z))


def _slope(choice: Choice, z: Tensor) -> Tensor:
    p = dict(choice.parameters)
    one = torch.ones_like(z)
    match choice.name:
        case "linear":
            return one
        case "sigmoid":
            return torch.sigmoid(z) * torch.sigmoid(-z)
        case "tanh":
            return 4 * torch.sigmoid(2 * z) * torch.sigmoid(-2 * z)
        case "relu":
            return torch.where(z > 0, one, 0 * one)
        case "leaky_relu":
            return torch.where(z > 0, one, p["negative_slope"] * one)
        case "elu":
            return torch.where(z > 0, one, p["alpha"] * torch.exp(z.clamp(max=0)))
        case "selu":
            return SELU_SCALE * torch.where(z > 0, one, SELU_ALPHA * torch.exp(z.clamp(max=0)))
        case "gelu":
            density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
            return torch.special.erfc(-z / math.sqrt(2)) / 2 + z * density
        case "silu":
            return torch.sigmoid(z) * (1 + z * torch.sigmoid(-z))
        case "softplus":
            return torch.where(p["beta"] * z > SOFTPLUS_THRESHOLD, one, torch.sigmoid(p["beta"] * z))
        case "hardtanh":
            return torch.where((z > p["min_val"]) & (z < p["max_val"]), one, 0 * one)
    raise ValueError(f"no derivative of {choice.name}")


def steepest(choice: Choice) -> float:
    """max |phi'| over all z."""
    p = dict(choice.parameters)
    bends_at = {"sigmoid": 0.0, "gelu": math.sqrt(2), "silu": SILU_STEEPEST}
    if choice.name in bends_at:
        return float(derivative(choice, torch.tensor(bends_at[choice.name], dtype=torch.float64)))
    slopes = {
        "leaky_relu": abs(p.get("negative_slope", 0.0)),
        "elu": abs(p.get("alpha", 0.0)),
        "selu": SELU_SCALE * SELU_ALPHA,
    }
    return max(1.0, slopes.get(choice.name, 0.0))


class _ChainRule(torch.autograd.Function):
    """phi forward, `derivative` backward, each times a factor near 1."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, exact: Exact) -> Tensor:
        ctx.save_for_backward(z)
        ctx.exact = exact
        return exact.rounded(exact.phi(z).clone())

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (z,) = ctx.saved_tensors
        return signal * ctx.exact.slope(z), None


class Exact(nn.Module):
    """phi whose backward pass is `derivative`: what stands in for torch's module in a float64 reference.

    With `rounding` every value is changed by at most two units of its last float64 digit, at random, as another order
    of operations might change it: what then comes out differently is not known.
    """

    def __init__(self, choice: Choice, rounding: torch.Generator | None = None) -> None:
        super().__init__()
        self.choice = choice
        self.phi = module(choice)
        self.rounding = rounding

    def forward(self, z: Tensor) -> Tensor:
        return _ChainRule.apply(z, self)  # type: ignore[no-any-return,no-untyped-call]

    def slope(self, z: Tensor) -> Tensor:
        """phi'(z)."""
        return self.rounded(derivative(self.choice, z))

    def rounded(self, values: Tensor) -> Tensor:
        """The values as they are, or as another program might have rounded them."""
        return values if self.rounding is None else nudged(values, 2.0**-52, self.rounding)


def nudged(values: Tensor, digit: float, generator: torch.Generator) -> Tensor:
    """The values, each changed by at most two relative units of `digit`; 0 stays 0."""
    change = torch.randint(-2, 3, values.shape, generator=generator)
    return values * (1 + digit * change.to(values.dtype))
