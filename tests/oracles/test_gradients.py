"""The oracle's derivatives and gradients against finite differences and arbitrary-precision arithmetic."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from gradlab.config.choices import ACTIVATIONS
from tests.oracles import activations
from tests.oracles.deep import log10_norm, norm, rescaled_backward
from tests.oracles.network import build_network, loss, loss_signal, metric
from tests.oracles.plain import plain_trial
from tests.oracles.samples import one_trial, random_data

TASKS = ["multiclass", "binary", "multilabel", "regression"]

CHOICES = [
    *(one_trial(model={"activation": name}).model.activation for name in ACTIVATIONS),
    one_trial(model={"activation": {"name": "leaky_relu", "negative_slope": 1.5}}).model.activation,
    one_trial(model={"activation": {"name": "elu", "alpha": 2.5}}).model.activation,
    one_trial(model={"activation": {"name": "softplus", "beta": 3.0}}).model.activation,
    one_trial(model={"activation": {"name": "hardtanh", "min_val": 0.5, "max_val": 2.0}}).model.activation,
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.label)
def test_derivative_is_torchs_where_torch_is_accurate(choice: Any) -> None:
    z = torch.cat([torch.linspace(-6, 6, 481), torch.tensor([0.0, 0.5, 2.0])]).double().requires_grad_()
    (expected,) = torch.autograd.grad(activations.module(choice)(z).sum(), z)
    torch.testing.assert_close(activations.derivative(choice, z.detach()), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.label)
def test_steepest_is_the_maximum_on_a_fine_grid(choice: Any) -> None:
    z = torch.linspace(-25, 25, 500_001, dtype=torch.float64)
    assert activations.steepest(choice) == pytest.approx(float(activations.derivative(choice, z).abs().max()), rel=1e-8)


MP_DERIVATIVES = {
    "sigmoid": lambda z: mpmath.diff(lambda t: 1 / (1 + mpmath.exp(-t)), z),
    "tanh": lambda z: mpmath.diff(mpmath.tanh, z),
    "silu": lambda z: mpmath.diff(lambda t: t / (1 + mpmath.exp(-t)), z),
    "gelu": lambda z: mpmath.diff(lambda t: t * mpmath.ncdf(t), z),
    "softplus": lambda z: mpmath.diff(lambda t: mpmath.log1p(mpmath.exp(t)), z),
}


@pytest.mark.parametrize("name", MP_DERIVATIVES)
@pytest.mark.parametrize("z", [-25.0, -12.5, -0.75, 0.25, 14.0, 19.5])
def test_derivative_keeps_its_digits_in_saturation(name: str, z: float) -> None:
    choice = one_trial(model={"activation": name}).model.activation
    with mpmath.workdps(120):
        expected = float(MP_DERIVATIVES[name](mpmath.mpf(z)))
    found = float(activations.derivative(choice, torch.tensor(z, dtype=torch.float64)))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_loss_signal_is_the_gradient_of_the_summed_losses(task: Any) -> None:
    y = random_data(task).y_train
    output = torch.randn(16, {"binary": 1}.get(task, 3), dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(16 * loss(task, output, y), output)
    torch.testing.assert_close(loss_signal(task, output.detach(), y), expected)


def test_loss_signal_of_a_confident_example_is_small_and_not_0() -> None:
    multiclass = loss_signal("multiclass", torch.tensor([[50.0, 0.0]]).double(), torch.tensor([0]))
    binary = loss_signal("binary", torch.tensor([[50.0]]).double(), torch.tensor([1.0]))
    for found in (multiclass[0, 0], binary[0, 0]):
        assert float(found) == pytest.approx(-math.exp(-50), rel=1e-12)


def test_metrics() -> None:
    assert metric("multiclass", torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1, 1])) == 2 / 3
    assert metric("binary", torch.tensor([[0.1], [-4.0], [3.0], [2.0]]), torch.tensor([1.0, 0.0, 0.0, 1.0])) == 3 / 4
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert metric("multilabel", torch.tensor([[5.0, -1.0], [2.0, -1.0]]), labels) == 3 / 4
    y = torch.tensor([[1.0, 5.0, 2.0, 2.0], [2.0, 3.0, 2.0, 2.0], [4.0, -1.0, 2.0, 2.0]])
    output = y + torch.tensor([[0.5, -3.0, 0.0, 0.25], [0.0, 6.0, 0.0, 0.0], [-0.25, 1.0, 0.0, 0.0]])
    assert metric("regression", output, y) == pytest.approx(r2_score(y.numpy(), output.numpy()))


@pytest.mark.parametrize("norm_name", ["none", "layer", "batch"])
@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_weight_gradients_by_finite_differences(family: str, norm_name: str) -> None:
    data = random_data("multiclass", *((2, 3, 3) if family == "cnn" else (4,)))
    model = {"family": family, "depth": 2, "width": 3, "activation": "gelu", "norm": norm_name, "residual": True}
    trial = one_trial(model=model, train={"steps": 1, "batch_size": 16})
    history = plain_trial(trial, data)
    network = build_network(trial, data).in_float64()
    x, y, eps = data.x_train.double(), data.y_train, 1e-5
    for layer in range(1, 4):
        weight = network.layers[layer - 1].weight
        square = 0.0
        for index in range(weight.numel()):
            sides = []
            for step in (eps, -2 * eps):
                with torch.no_grad():
                    weight.view(-1)[index] += step
                    sides.append(float(loss(data.task, network(x), y)))
            with torch.no_grad():
                weight.view(-1)[index] += eps
            square += ((sides[0] - sides[1]) / (2 * eps)) ** 2
        assert history.at(0, layer)["weight_grad_norm"] == pytest.approx(math.sqrt(square), rel=1e-6)


@pytest.mark.parametrize("norm_name", ["none", "layer"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_delta_is_the_gradient_of_each_examples_own_loss(task: Any, residual: bool, norm_name: str) -> None:
    data = random_data(task)
    model = {"depth": 3, "width": 4, "activation": "silu", "norm": norm_name, "residual": residual}
    history = plain_trial(one_trial(model=model, train={"steps": 1, "batch_size": 16}), data)
    network = build_network(one_trial(model=model), data).double()
    squares = torch.zeros(4, dtype=torch.float64)
    for i in range(16):
        trace = network.trace(data.x_train[i : i + 1].double())
        ell = loss(task, trace.output, data.y_train[i : i + 1])
        found = torch.autograd.grad(ell, trace.preactivations)
        squares += torch.stack([(delta**2).sum() for delta in found]) / 16
    for layer in range(1, 5):
        assert history.at(0, layer)["delta_rms"] == pytest.approx(float(squares[layer - 1].sqrt()), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(list(ACTIVATIONS)),
    norm_name=st.sampled_from(["none", "layer", "batch"]),
    residual=st.booleans(),
    family=st.sampled_from(["mlp", "cnn"]),
    depth=st.integers(1, 6),
)
def test_rescaled_backward_equals_autograd(name: str, norm_name: str, residual: bool, family: str, depth: int) -> None:
    data = random_data("multilabel", *((2, 3, 3) if family == "cnn" else (4,)))
    model = {"family": family, "depth": depth, "width": 5, "activation": name, "norm": norm_name}
    history = plain_trial(
        one_trial(model={**model, "residual": residual}, train={"steps": 1, "batch_size": 8}, record={"probe": 4}),
        data,
    )
    for row in history.layers:
        for column in ("weight_grad_norm", "delta_rms"):
            logarithm = row[f"log10_{column}"]
            assert row[column] == pytest.approx(0.0 if logarithm is None else 10**logarithm, rel=1e-9)


@pytest.mark.parametrize("residual", [False, True])
def test_rescaled_backward_against_arbitrary_precision(residual: bool) -> None:
    depth = 700
    model = {"depth": depth, "width": 2, "activation": "sigmoid", "residual": residual}
    data = random_data("regression", 2, n=20, outputs=1)
    x, y = data.x_train[:2].double(), data.y_train[:2]
    network = build_network(one_trial(model=model), data).in_float64()
    with torch.no_grad():
        signal = loss_signal(data.task, network(x), y)
    found = rescaled_backward(network, x, signal)
    with mpmath.workdps(40):
        weights = [
            (mpmath.matrix(layer.weight.tolist()), mpmath.matrix(layer.bias.tolist())) for layer in network.layers
        ]
        expected = [mpmath_backward(weights, x[i].tolist(), float(y[i]), residual) for i in range(2)]
        for layer in (1, 2, 350, depth, depth + 1):
            squares = mpmath.mpf(0)
            entries = mpmath.mpf(0)
            for i in range(2):
                squares += mpmath.fsum(entry**2 for entry in expected[i][layer][0])
            total = expected[0][layer][1] + expected[1][layer][1]
            entries = mpmath.fsum(entry**2 for entry in total)
            deep = found[layer - 1]
            exponent = int(deep.exponent[0])
            assert log10_norm(deep.delta, exponent) == pytest.approx(float(mpmath.log10(squares) / 2), abs=1e-9)
            assert log10_norm(deep.weight, exponent) == pytest.approx(float(mpmath.log10(entries) / 2), abs=1e-9)
    if not residual:
        assert log10_norm(found[0].weight, int(found[0].exponent[0])) < -330  # no float64 holds it


def mpmath_backward(weights: list[Any], x: list[float], y: float, residual: bool) -> dict[int, tuple[Any, Any]]:
    """{layer: (delta, d ell / d W)} of one example, squared error of one output, sigmoid, by the textbook."""
    depth = len(weights) - 1
    h, slopes = [mpmath.matrix(x)], []
    for layer in range(1, depth + 1):
        w, b = weights[layer - 1]
        phi = [1 / (1 + mpmath.exp(-z)) for z in w * h[-1] + b]
        slopes.append([s * (1 - s) for s in phi])
        h.append(mpmath.matrix(phi) + (h[-1] if residual and layer >= 2 else mpmath.matrix([0] * len(phi))))
    w, b = weights[depth]
    delta = mpmath.matrix([2 * ((w * h[depth] + b)[0] - y)])
    result = {depth + 1: (delta, delta * h[depth].T)}
    signal = w.T * delta
    for layer in range(depth, 0, -1):
        delta = mpmath.matrix([s * d for s, d in zip(slopes[layer - 1], signal, strict=True)])
        result[layer] = (delta, delta * h[layer - 1].T)
        below = weights[layer - 1][0].T * delta
        signal = below + signal if residual and layer >= 2 else below
    return result


def test_float32_loses_what_the_logarithm_still_shows() -> None:
    model = {"depth": 80, "width": 8, "activation": "sigmoid"}
    history = plain_trial(one_trial(model=model, train={"steps": 1}, record={"probe": 4}), random_data())
    first, last = history.at(0, 1), history.at(0, 81)
    assert first["float32_zero_fraction"] == 1.0
    assert last["float32_zero_fraction"] == 0.0
    assert 0 < first["weight_grad_norm"] < 1e-45
    assert first["zero_gradient_units"] == first["dead_units"] == 0


@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=5), st.integers(-280, 280))
def test_norm_neither_underflows_nor_overflows(values: list[float], power: int) -> None:
    scaled = [value * 10.0**power for value in values]
    assert norm(torch.tensor(scaled, dtype=torch.float64)) == pytest.approx(math.hypot(*scaled), rel=1e-12, abs=1e-307)
