"""A trial's numbers are the same to the last bit alone and in any stack."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradlab.config.choices import ACTIVATIONS
from gradlab.config.sweep import Trial
from gradlab.engine import doubts, groups
from gradlab.engine.alignment import added_product, affine, aligned, aligned_into, product
from tests.engine.comparison import as_task
from tests.engine.stacking import alone, bit_differences, stacked
from tests.oracles.samples import one_trial, random_data

OPTIMIZERS = ["sgd", "momentum", "adam", "adamw", "rmsprop"]
NORMS = ["none", "layer", "batch"]
OUTPUTS = [("binary", 1), ("multiclass", 3), ("regression", 1), ("multilabel", 3)]

MLP_SIZES = [(1, 25), (3, 100), (33, 25), (33, 100), (1, 100), (3, 25)]
"""Width and batch size: no product but one is a multiple of what a vectorised kernel takes at once."""
CNN_SIZES = [(1, 25), (3, 7), (5, 9)]


def pool(model: dict[str, Any], train: dict[str, Any]) -> list[Trial]:
    """A trial with every activation; depths, seeds, learning rates and weight decays mixed."""
    mixed = itertools.cycle(
        [(3, 0, 0.01, 0.0), (2, 1, 0.1, 0.0), (1, 2, 0.01, 0.1), (3, 3, 0.1, 0.0), (2, 0, 0.01, 0.0)]
    )
    return [
        one_trial(
            seed=seed,
            model={**model, "activation": activation, "depth": depth},
            train={"steps": 3, "lr": lr, "weight_decay": decay, **train},
            record={"every": 2, "probe": 13},
        )
        for activation, (depth, seed, lr, decay) in zip(ACTIVATIONS, mixed, strict=False)
    ]


def assert_same_in_stacks_of_2_3_7_and_all(trials: list[Trial], data: Any) -> None:
    task = as_task(data)
    expected = {trial.trial_id: alone(trial, task) for trial in trials}
    for size in (2, 3, 7, len(trials)):
        for trial_id, history in stacked(trials[-size:], task).items():
            assert bit_differences(history, expected[trial_id]) == [], f"in a stack of {size}"


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_mlps_of_mixed_depth_activation_and_learning_rate(optimizer: str, norm: str, residual: bool) -> None:
    number = 6 * OPTIMIZERS.index(optimizer) + 2 * NORMS.index(norm) + residual
    (width, batch), (kind, outputs) = MLP_SIZES[number % len(MLP_SIZES)], OUTPUTS[number % len(OUTPUTS)]
    trials = pool({"width": width, "norm": norm, "residual": residual}, {"optimizer": optimizer, "batch_size": batch})
    data: Any = random_data(kind, 5, n=165, outputs=outputs)  # type: ignore[arg-type]
    assert_same_in_stacks_of_2_3_7_and_all(trials, data)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_cnns_of_mixed_depth_activation_and_learning_rate(norm: str, residual: bool) -> None:
    number = 2 * NORMS.index(norm) + residual
    (width, batch), (kind, outputs) = CNN_SIZES[number % len(CNN_SIZES)], OUTPUTS[number % len(OUTPUTS)]
    trials = pool(
        {"family": "cnn", "width": width, "norm": norm, "residual": residual},
        {"optimizer": OPTIMIZERS[number % len(OPTIMIZERS)], "batch_size": batch},
    )
    data = random_data(kind, 2, 3, 5, n=24, outputs=outputs)  # type: ignore[arg-type]
    assert_same_in_stacks_of_2_3_7_and_all(trials, data)


@pytest.mark.parametrize("width", [64, 129])
def test_at_widths_where_matrix_products_are_blocked(width: int) -> None:
    trials = pool({"width": width}, {"optimizer": "adam", "batch_size": 100})[:4]
    task = as_task(random_data("multiclass", 64, n=165))
    together = stacked(trials, task)
    for trial in trials:
        assert bit_differences(together[trial.trial_id], alone(trial, task)) == []


@pytest.mark.parametrize("family", ["mlp", "cnn"])
@pytest.mark.parametrize("norm", NORMS)
def test_however_many_pass_together_and_wait_for_each_other(
    norm: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (5,) if family == "mlp" else (2, 3, 5)
    faint = {"name": "normal", "sigma_w": 1e-7, "sigma_b": 0.0}  # so that all are measured in float64, too
    trials = pool({"family": family, "width": 4, "norm": norm, "init": faint}, {"batch_size": 7, "steps": 7})
    trials = [replace(trial, record=trial.record.model_copy(update={"every": 1})) for trial in trials]
    task = as_task(random_data("regression", *shape, n=24))
    expected = {trial.trial_id: alone(trial, task) for trial in trials}
    for together in (1, 3, 1000):
        elements = together * 4 * math.prod(shape[1:]) * 13
        monkeypatch.setattr(groups, "GROUP", elements)
        monkeypatch.setattr(doubts, "TOGETHER", elements // 13)
        for trial_id, history in stacked(trials, task).items():
            assert bit_differences(history, expected[trial_id]) == [], f"{together} together"


inits = st.sampled_from(["pytorch_default", "he_normal", "orthogonal", {"name": "normal", "sigma_w": 2.0}])
activations = st.sampled_from([*ACTIVATIONS, {"name": "softplus", "beta": 2.0}, {"name": "elu", "alpha": 0.3}])


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[Trial], Any]:
    """A random stack and data for it; some trials diverge."""
    family = draw(st.sampled_from(["mlp", "mlp", "cnn"]))
    shape = (draw(st.integers(1, 17)),) if family == "mlp" else (1, draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    norm, batch = draw(st.sampled_from(NORMS)), draw(st.integers(2, 40))
    shared = {"family": family, "norm": norm, "residual": draw(st.booleans()), "width": draw(st.integers(1, 20))}
    optimizer = draw(st.sampled_from(OPTIMIZERS))
    own = st.tuples(st.integers(0, 3), st.integers(1, 4), activations, inits, st.sampled_from([0.01, 0.1, 1e30]))
    trials = [
        one_trial(
            seed=seed,
            model={**shared, "depth": depth, "activation": activation, "init": init},
            train={"steps": 3, "batch_size": batch, "optimizer": optimizer, "lr": lr},
            record={"every": 2, "probe": 9},
        )
        for seed, depth, activation, init, lr in draw(st.lists(own, min_size=2, max_size=5))
    ]
    kind, outputs = draw(st.sampled_from(OUTPUTS))
    data = random_data(kind, *shape, n=draw(st.integers(9, 60)), outputs=outputs)  # type: ignore[arg-type]
    return list({trial.trial_id: trial for trial in trials}.values()), data


@settings(deadline=None, max_examples=40)
@given(stacks())
def test_any_stack(case: tuple[list[Trial], Any]) -> None:
    trials, data = case
    task = as_task(data)
    together = stacked(trials, task)
    for trial in trials:
        assert bit_differences(together[trial.trial_id], alone(trial, task)) == []


sizes = st.integers(1, 40)
few = st.integers(1, 5)


@settings(deadline=None, max_examples=80)
@given(
    trials=few,
    rows=sizes,
    fan_in=sizes,
    fan_out=sizes,
    double=st.booleans(),
    gaps=st.booleans(),
    seed=st.integers(0, 99),
)
def test_products_give_every_trial_what_it_gets_alone(
    trials: int, rows: int, fan_in: int, fan_out: int, double: bool, gaps: bool, seed: int
) -> None:
    g = torch.Generator().manual_seed(seed)
    kind = torch.float64 if double else torch.float32
    shapes = [(trials, 1, fan_out), (trials, rows, fan_in), (trials, fan_in, fan_out), (trials, rows, fan_out)]
    bias, left, right, start = (torch.randn(shape, generator=g, dtype=kind) for shape in shapes)
    transposed = right.mT.contiguous().mT

    def computed(own: slice, out: Tensor) -> list[Tensor]:
        """All three products of some trials, from factors as they are and transposed."""
        found = []
        for factor in (right[own], transposed[own]):
            affine(out, bias[own], left[own], factor)()
            found.append(out.clone())
            added_product(out.copy_(start[own]), left[own], factor)()
            found.append(out.clone())
            product(out, left[own], factor)()
            found.append(out.clone())
        return found

    exact, together = left.double() @ right.double(), computed(slice(None), torch.empty_like(start))
    for found, expected in zip(together, 2 * [bias.double() + exact, start.double() + exact, exact], strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    for index in range(trials):
        own = slice(index, index + 1)
        for whole, part in zip(together, computed(own, torch.empty_like(start[own])), strict=True):
            assert torch.equal(whole[own], part)
    if gaps:
        apart = torch.zeros(trials, rows * fan_out + 1, dtype=kind)[:, : rows * fan_out].view(trials, rows, fan_out)
        product(apart, left, right)()
        assert torch.equal(apart, together[2])


ELEMENTWISE = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "selu": F.selu,
    "log1p": lambda z: torch.log1p(z.abs()),
    "user": lambda z: torch.sin(z) * torch.exp(-z * z),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@settings(deadline=None, max_examples=15)
@given(trials=few, rows=sizes, units=sizes, seed=st.integers(0, 99))
def test_aligned_gives_every_trial_what_it_gets_alone(name: str, trials: int, rows: int, units: int, seed: int) -> None:
    function = ELEMENTWISE[name]
    z, signal = 3 * torch.randn(2, trials, rows, units, generator=torch.Generator().manual_seed(seed))
    together = forward_and_backward(lambda t: aligned(function, t), [z], signal)
    torch.testing.assert_close(together, forward_and_backward(function, [z], signal), rtol=1e-5, atol=1e-6)
    for index in range(trials):
        own = slice(index, index + 1)
        by_itself = forward_and_backward(lambda t: aligned(function, t), [z[own]], signal[own])
        for whole, part in zip(together, by_itself, strict=True):
            assert torch.equal(whole[own], part)


@pytest.mark.parametrize("name", ELEMENTWISE)
@settings(deadline=None, max_examples=15)
@given(trials=few, rows=sizes, units=sizes, in_place=st.booleans(), seed=st.integers(0, 99))
def test_aligned_into_writes_what_aligned_returns(
    name: str, trials: int, rows: int, units: int, in_place: bool, seed: int
) -> None:
    function = ELEMENTWISE[name]
    z = 3 * torch.randn(trials, rows, units, generator=torch.Generator().manual_seed(seed))
    expected = aligned(function, z)
    out = z if in_place else torch.empty_like(z)
    aligned_into(lambda z, out: out.copy_(function(z)), out, z)
    assert torch.equal(out, expected)


@pytest.mark.parametrize("layout", ["transposed", "sliced", "expanded"])
def test_aligned_takes_tensors_that_are_not_contiguous(layout: str) -> None:
    g = torch.Generator().manual_seed(4)
    z = {
        "transposed": torch.randn(3, 8, 16, generator=g).mT,
        "sliced": torch.randn(3, 16, 12, generator=g)[:, :, 1:9],
        "expanded": torch.randn(3, 1, 8, generator=g).expand(3, 16, 8),
    }[layout]
    assert torch.equal(aligned(torch.sigmoid, z), aligned(torch.sigmoid, z.contiguous()))


def forward_and_backward(function: Any, inputs: list[Tensor], signal: Tensor) -> list[Tensor]:
    """The value, and the gradient in each input."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    value = function(*leaves)
    return [value.detach(), *torch.autograd.grad(value, leaves, signal)]
