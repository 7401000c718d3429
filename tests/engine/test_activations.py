"""What the engine knows of an activation, against autograd, arbitrary precision and dense grids."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gradlab.config.choices import ACTIVATIONS, Choice
from gradlab.engine.activations import SATURATION, Activation, make_activation
from gradlab.engine.catalogue import activation_curves, activation_rows
from tests.oracles import activations as oracle
from tests.oracles.samples import one_trial

WITH_PARAMETERS = [
    {"name": "leaky_relu", "negative_slope": 0.2},
    {"name": "leaky_relu", "negative_slope": 0.009},
    {"name": "leaky_relu", "negative_slope": 0.0},
    {"name": "leaky_relu", "negative_slope": -0.5},
    {"name": "leaky_relu", "negative_slope": 150.0},
    {"name": "elu", "alpha": 0.5},
    {"name": "elu", "alpha": 0.0},
    {"name": "elu", "alpha": 0.004},
    {"name": "elu", "alpha": 2.5},
    {"name": "elu", "alpha": -1.5},
    {"name": "elu", "alpha": 150.0},
    {"name": "softplus", "beta": 3.0},
    {"name": "hardtanh", "min_val": 0.5, "max_val": 2.0},
    {"name": "hardtanh", "min_val": -2.0, "max_val": -0.25},
]


def choice(setting: Any) -> Choice:
    return one_trial(model={"activation": setting}).model.activation


CHOICES = [choice(setting) for setting in [*ACTIVATIONS, *WITH_PARAMETERS]]
GRID = torch.cat([torch.linspace(-60, 60, 240_001), torch.tensor([0.0, 0.5, 1.0, 2.0, -0.25, -1.0, -2.0])]).double()

each_choice = pytest.mark.parametrize("one", CHOICES, ids=lambda one: one.label)


def autograd(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    leaf = z.clone().requires_grad_()
    return torch.autograd.grad(function(leaf).sum(), leaf)[0]


def kinks(activation: Activation) -> Tensor:
    """Points of the grid at which `derivative` jumps, and their neighbours."""
    jumps = (activation.derivative(GRID[:-7]).diff().abs() > 1e-2).nonzero().flatten()
    return torch.cat([GRID[jumps], GRID[jumps + 1]])


def test_there_is_one_for_every_name_of_the_config() -> None:
    assert [row["name"] for row in activation_rows()] == list(ACTIVATIONS)
    assert list(activation_curves()[1]) == list(ACTIVATIONS)
    with pytest.raises(KeyError):
        make_activation(Choice("swish"))


@each_choice
def test_function_is_torchs(one: Choice) -> None:
    z = GRID.float()
    assert torch.equal(make_activation(one).function(z), oracle.module(one)(z))


@each_choice
def test_derivative_is_autograds_where_that_is_exact(one: Choice) -> None:
    activation = make_activation(one)
    z = torch.cat([GRID[GRID.abs() <= 6], kinks(activation)])
    torch.testing.assert_close(activation.derivative(z), autograd(activation.function, z), rtol=1e-9, atol=1e-13)
    assert activation.derivative(z.float()).dtype == torch.float32


EXACT: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda z: mpmath.exp(-z) / (1 + mpmath.exp(-z)) ** 2,
    "tanh": lambda z: mpmath.sech(z) ** 2,
    "elu": lambda z: mpmath.exp(min(z, 0)),
    "selu": lambda z: oracle.SELU_SCALE * (1 if z > 0 else oracle.SELU_ALPHA * mpmath.exp(z)),
    "gelu": lambda z: mpmath.ncdf(z) + z * mpmath.npdf(z),
    "silu": lambda z: (1 + mpmath.exp(-z) * (1 + z)) / (1 + mpmath.exp(-z)) ** 2,
    "softplus": lambda z: 1 / (1 + mpmath.exp(-z)),
}


@pytest.mark.parametrize("z", [-340.0, -37.5, -30.0, -19.5, -8.25, -1.0, 0.0, 3.5, 8.25, 19.5, 37.5, 340.0])
@pytest.mark.parametrize("name", EXACT)
def test_derivative_keeps_its_digits_in_saturation(name: str, z: float) -> None:
    with mpmath.workdps(400):
        expected = float(EXACT[name](mpmath.mpf(z)))
    found = make_activation(choice(name)).derivative(torch.tensor([z], dtype=torch.float64)).item()
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-305)


@each_choice
def test_sup_derivative_is_the_supremum(one: Choice) -> None:
    activation = make_activation(one)
    largest = activation.derivative(GRID).abs().max().item()
    assert largest <= activation.sup_derivative * (1 + 1e-15)
    assert activation.sup_derivative == pytest.approx(largest, rel=1e-8)


@each_choice
def test_saturated_is_strictly_below_a_hundredth_of_the_supremum(one: Choice) -> None:
    activation = make_activation(one)
    threshold = SATURATION * oracle.steepest(one)
    z = torch.cat([GRID, *(edge + torch.tensor([-1e-9, 1e-9]) for edge in edges(one, threshold))])
    expected = oracle.derivative(one, z).abs() < threshold
    found = torch.zeros_like(expected) if activation.saturated is None else activation.saturated(z)
    assert z[found != expected].tolist() == []


def edges(one: Choice, threshold: float) -> list[Tensor]:
    """Where |phi'| - threshold changes its sign, by bisection; the points where phi' jumps count too."""
    low, high = GRID[:240_000], GRID[1:240_001]

    def excess(z: Tensor) -> Tensor:
        return oracle.derivative(one, z).abs() - threshold

    crossing = (excess(low) < 0) != (excess(high) < 0)
    low, high = low[crossing], high[crossing]
    for _ in range(60):
        middle = (low + high) / 2
        below = (excess(middle) < 0) == (excess(low) < 0)
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return list(high)


def test_what_lies_on_the_threshold_is_not_saturated() -> None:
    z = torch.tensor([-1.0, 0.0, 1.0])
    default = make_activation(choice("leaky_relu"))
    assert default.saturated is None or not default.saturated(z).any()
    on_it_at_0 = make_activation(choice({"name": "elu", "alpha": 0.01}))
    assert on_it_at_0.saturated is not None
    assert on_it_at_0.saturated(z).tolist() == [True, False, False]


@each_choice
def test_zero_derivative_is_autograds_exact_0(one: Choice) -> None:
    activation = make_activation(one)
    z = torch.cat([GRID[GRID.abs() <= 10], kinks(activation)])
    zero = autograd(activation.function, z) == 0
    if activation.zero_derivative is None:
        # phi' may change its sign between neighbours, but is 0 on no interval.
        assert not zero.any()
    else:
        assert torch.equal(activation.zero_derivative(z), zero)
        assert zero.any()
        assert not zero.all()


@pytest.mark.parametrize(
    ("setting", "z", "expected"),
    [
        ("relu", [-1.0, -0.0, 0.0, 1e-45, 1.0], [True, True, True, False, False]),
        ("hardtanh", [-1.5, -1.0, -0.999999, 0.999999, 1.0, 1.5], [True, True, False, False, True, True]),
        ({"name": "leaky_relu", "negative_slope": 0.0}, [-1.0, 0.0, 1.0], [True, True, False]),
    ],
)
def test_zero_derivative_at_the_kinks(setting: Any, z: list[float], expected: list[bool]) -> None:
    activation = make_activation(choice(setting))
    points = torch.tensor(z, dtype=torch.float64)
    assert activation.zero_derivative is not None
    assert activation.zero_derivative(points).tolist() == expected
    assert (autograd(activation.function, points) == 0).tolist() == expected


USERS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: 1 / (1 + torch.exp(-z)),
    "tanh": lambda z: 2 * torch.sigmoid(2 * z) - 1,
    "relu": lambda z: torch.where(z > 0, z, torch.zeros_like(z)),
    "selu": F.selu,
    "silu": lambda z: z * torch.sigmoid(z),
    "gelu": lambda z: z * torch.special.ndtr(z),
    "softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)),
    "hardtanh": lambda z: torch.where(z.abs() < 1, z, torch.sign(z)),
}


@pytest.mark.parametrize("name", USERS)
def test_a_users_function_is_judged_like_the_named_one(name: str) -> None:
    named, own = make_activation(choice(name)), make_activation(Choice("mine.py:phi"), USERS[name])
    z = GRID[GRID.abs() <= 12]
    assert own.label == "mine.py:phi"
    assert own.sup_derivative == pytest.approx(named.sup_derivative, rel=1e-6)
    torch.testing.assert_close(own.function(z), named.function(z), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(own.derivative(z), named.derivative(z), rtol=1e-7, atol=1e-9)
    clear = (named.derivative(z).abs() / (SATURATION * named.sup_derivative) - 1).abs() > 1e-5
    expected = torch.zeros_like(clear) if named.saturated is None else named.saturated(z)
    assert own.saturated is not None
    assert torch.equal(own.saturated(z)[clear], expected[clear])
    dead = torch.zeros_like(clear) if named.zero_derivative is None else named.zero_derivative(z)
    assert own.zero_derivative is not None
    assert torch.equal(own.zero_derivative(z), dead)


def test_a_users_derivative_needs_no_gradient_mode_and_leaves_no_graph() -> None:
    own = make_activation(Choice("mine.py:phi"), torch.sin)
    z = torch.linspace(-3, 3, 7)
    with torch.no_grad():
        assert not own.derivative(z).requires_grad
        torch.testing.assert_close(own.derivative(z), torch.cos(z))
    assert own.sup_derivative == pytest.approx(1.0)
    assert math.isclose(float(own.derivative(torch.zeros(1))), 1.0)
