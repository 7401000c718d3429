"""Norms of gradients of any size and type: near the ends of float32 and float64, of bfloat16, of large tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradlab
from tests.watching.recorded import by_key, follow, is_null, layers, steps
from tests.watching.twin import norm, of_module

PARTS = [
    of_module("0", 1, 9, activation="1"),
    of_module("2", 2, 9, activation="3"),
    of_module("4", 3, 3, is_output=True),
]


def network(seed: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 3))


def scaled(factor: float) -> Callable[[nn.Module, Any], Tensor]:
    """A loss times `factor`, in steps that float32 holds."""

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return model(batch[0]).square().mean(1).mean() * factor  # type: ignore[no-any-return]

    return loss


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor]:
    return (torch.randn(8, 5, generator=torch.Generator().manual_seed(4)).to(dtype),)


@pytest.mark.parametrize("factor", [1e-35, 1e-30, 1e-25, 1e-15, 1e15, 1e25])
def test_float32(factor: float, tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1 / factor)
    follow(model, batch(), scaled(factor), PARTS, tmp_path / "run", examples=8, optimizer=optimizer)


@pytest.mark.parametrize("factor", [1e-300, 1e-200, 1e-40, 1.0, 1e40, 1e200, 1e290])
def test_float64(factor: float, tmp_path: Path) -> None:
    model = network().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1 / factor)
    inputs = batch(torch.float64)
    follow(model, inputs, scaled(factor), PARTS, tmp_path / "run", examples=8, optimizer=optimizer, tolerance=1e-9)


def record(model: nn.Module, loss: Callable[[], Tensor], out: Path) -> dict[str, Any]:
    """One recorded step of SGD; parameter -> its gradient as float64."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with gradlab.watch(model, optimizer, out=out, seed=0):
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: p.grad.double().numpy() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("factor", [1e-39, 1e-42])
def test_what_is_left_where_float32_ends(factor: float, tmp_path: Path) -> None:
    """Subnormal gradients have few digits in the training itself; what it has is recorded exactly."""
    model = network()
    gradients = record(model, lambda: scaled(factor)(model, batch()), tmp_path / "run")
    for name, row in ((name, row) for (_, name, _), row in by_key(tmp_path / "run", 0).items()):
        expected = norm([gradients[f"{name}.weight"]])
        assert 0 < expected < 1e-37
        assert row["weight_grad_norm"] == pytest.approx(expected, rel=1e-6, abs=0)
        assert row["log10_weight_grad_norm"] == pytest.approx(math.log10(expected), abs=1e-6)
        assert row["bias_grad_norm"] == pytest.approx(norm([gradients[f"{name}.bias"]]), rel=1e-6, abs=0)


def test_gradients_that_are_lost_are_0_and_their_logarithm_null(tmp_path: Path) -> None:
    model = network()
    record(model, lambda: scaled(1e-30)(model, batch()) * 1e-30, tmp_path / "run")
    table = layers(tmp_path / "run")
    assert (table["weight_grad_norm"] == 0).all()
    assert (table["delta_rms"] == 0).all()
    assert table["log10_weight_grad_norm"].isna().all()
    assert table["log10_delta_rms"].isna().all()
    assert table["zero_gradient_units"].dropna().tolist() == [9, 9]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("factor", [1.0, 2.0**-10])
def test_half_precision(dtype: torch.dtype, factor: float, tmp_path: Path) -> None:
    model = network().to(dtype)
    gradients = record(model, lambda: scaled(factor)(model, batch(dtype)), tmp_path / "run")
    twin = network().to(dtype).double()
    scaled(factor)(twin, batch(dtype)[0].double()[None]).backward()  # type: ignore[no-untyped-call]
    for (_, name, _), row in by_key(tmp_path / "run", 0).items():
        assert row["weight_grad_norm"] == pytest.approx(norm([gradients[f"{name}.weight"]]), rel=1e-6)
        exact = twin.get_submodule(name).weight.grad
        assert row["weight_grad_norm"] == pytest.approx(norm([exact.numpy()]), rel=0.05)  # type: ignore[union-attr]
        assert row["weight_norm"] > 0


def test_bfloat16_measures_all_of_a_layer(tmp_path: Path) -> None:
    inputs = batch(torch.bfloat16)
    follow(network().bfloat16(), inputs, scaled(1.0), PARTS, tmp_path / "run", examples=8, tolerance=0.05)


def test_autocast(tmp_path: Path) -> None:
    """The twin's float64 is left alone by autocast, so bfloat16 is compared with the truth."""

    def loss(model: nn.Module, own: Any) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(own[0])
        assert output.dtype == (torch.bfloat16 if own[0].dtype == torch.float32 else torch.float64)
        return output.to(own[0].dtype).square().mean(1).mean()  # type: ignore[no-any-return]

    follow(network(), batch(), loss, PARTS, tmp_path / "run", examples=8, tolerance=0.05)


def test_large_tensors_keep_their_digits(tmp_path: Path) -> None:
    """A million equal squares: added up one by one in float32 they would lose the fourth digit."""
    model = nn.Sequential(nn.Linear(1000, 1100, bias=False), nn.Linear(1100, 1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(0.1)
        model[1].weight.fill_(0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with gradlab.watch(model, optimizer, out=tmp_path / "run", seed=0):
        model(torch.ones(3, 1000)).mean().backward()
        optimizer.step()
    row = by_key(tmp_path / "run", 0)["layer", "0", 1]
    weight = float(torch.tensor(0.1))
    assert row["weight_grad_norm"] == pytest.approx(weight * math.sqrt(1.1e6), rel=1e-5)
    assert row["weight_norm"] == pytest.approx(weight * math.sqrt(1.1e6), rel=1e-5)
    assert row["preactivation_rms"] == pytest.approx(1000 * weight, rel=1e-4)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_no_finite_number_is_counted(broken: float, tmp_path: Path) -> None:
    model = network()
    model[4].weight.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([1]), broken))  # type: ignore[union-attr,operator]
    gradients = record(model, lambda: scaled(1.0)(model, batch()), tmp_path / "run")
    rows = by_key(tmp_path / "run", 0)
    for (_, name, _), row in rows.items():
        assert row["non_finite"] == int((~np.isfinite(gradients[f"{name}.weight"])).sum())
    assert rows["layer", "4", 3]["non_finite"] == 9
    assert math.isfinite(rows["layer", "0", 1]["weight_grad_norm"])


def test_a_zero_weight_has_no_update_ratio(tmp_path: Path) -> None:
    model = network()
    nn.init.zeros_(model[2].weight)  # type: ignore[arg-type]
    record(model, lambda: scaled(1.0)(model, batch()), tmp_path / "run")
    row = by_key(tmp_path / "run", 0)["layer", "2", 2]
    assert row["weight_norm"] == 0
    assert is_null(row["update_ratio"])
    assert by_key(tmp_path / "run", 0)["layer", "0", 1]["update_ratio"] == 0
    assert steps(tmp_path / "run")["step"].tolist() == [0]
