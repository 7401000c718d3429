"""Loops of all kinds: what a row means where losses are several, gradients accumulated or clipped, layers frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradlab
from tests.watching.loops import EXAMPLES, assert_alike, data, loss, network, plainly, recorded
from tests.watching.recorded import assert_close, by_key, column, is_null, steps, trial


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(30)


class WithHidden(nn.Module):
    """Returns its hidden state, too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.inner[:3](x)
        return self.inner[3:](hidden), hidden


@pytest.mark.parametrize("first", [0, 1])
def test_two_losses_one_after_the_other_are_their_sum(first: int, tmp_path: Path) -> None:
    """A loss of the output and one of a hidden state, in either order."""

    def losses(model: nn.Module) -> tuple[Tensor, Tensor]:
        output, hidden = model(data()[0])
        return F.cross_entropy(output, data()[1]), 0.1 * hidden.square().mean()

    def in_turn(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        values = losses(model)
        values[first].backward(retain_graph=True)  # type: ignore[no-untyped-call]
        values[1 - first].backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def at_once(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        sum(losses(model)).backward()  # type: ignore[union-attr]
        optimizer.step()

    expected = recorded(at_once, tmp_path / "sum", WithHidden())
    assert_alike(expected, recorded(in_turn, tmp_path / "in turn", WithHidden()))
    assert trial(tmp_path / "in turn")["batch_size"] == EXAMPLES


@pytest.mark.parametrize("compiled", [False, True])
def test_two_passes_of_the_model_with_a_loss_of_both(compiled: bool, tmp_path: Path) -> None:
    """As in contrastive learning: both views go through the model, and the batch is not twice as large."""
    torch._dynamo.reset()

    def views(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        x, _ = data()
        (model(x) - model(x.flip(1))).square().sum(1).mean().backward()
        optimizer.step()

    model: Any = torch.compile(network(), backend="eager") if compiled else network()
    found = recorded(views, tmp_path / "run", model)
    assert trial(tmp_path / "run")["batch_size"] == EXAMPLES
    twin = network().double()
    x = data()[0].double()
    zs = [twin[4](twin[:4](view)) for view in (x, x.flip(1))]
    for z in zs:
        z.retain_grad()
    (zs[0] - zs[1]).square().sum(1).mean().backward()
    norm = sum(float(z.grad.square().sum()) for z in zs) ** 0.5
    assert found["layer", "4", 3]["delta_rms"] == pytest.approx(norm * EXAMPLES**0.5, rel=1e-4)


@pytest.mark.parametrize("pieces", [2, 4])
def test_accumulated_batches_are_one_large_batch(pieces: int, tmp_path: Path) -> None:
    def accumulated(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        x, y = data()
        for own in zip(x.split(EXAMPLES // pieces), y.split(EXAMPLES // pieces), strict=True):
            (loss(model, own) / pieces).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    assert_alike(recorded(plainly, tmp_path / "whole"), recorded(accumulated, tmp_path / "pieces"))
    assert trial(tmp_path / "pieces")["batch_size"] == EXAMPLES


def test_passes_before_any_backward_pass_are_accumulated_too(tmp_path: Path) -> None:
    """The losses of pieces are added up first, and one backward pass goes through all."""

    def added(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        x, y = data()
        pieces = [loss(model, own) for own in zip(x.split(4), y.split(4), strict=True)]
        torch.stack(pieces).mean().backward()
        optimizer.step()

    one, other = recorded(plainly, tmp_path / "whole"), recorded(added, tmp_path / "pieces")
    for key, row in one.items():
        assert other[key]["weight_grad_norm"] == pytest.approx(row["weight_grad_norm"], rel=1e-5)


@pytest.mark.parametrize("clip", [torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_])
def test_gradients_are_those_before_clipping(clip: Any, tmp_path: Path) -> None:
    def clipped(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        loss(model, data()).backward()  # type: ignore[no-untyped-call]
        clip(model.parameters(), 1e-4)
        optimizer.step()

    expected, found = recorded(plainly, tmp_path / "plain"), recorded(clipped, tmp_path / "clipped")
    for key, row in expected.items():
        assert found[key]["update_ratio"] < row["update_ratio"] / 10
        row["update_ratio"] = found[key]["update_ratio"]
    assert_alike(expected, found)
    assert steps(tmp_path / "clipped")["grad_norm"].equals(steps(tmp_path / "plain")["grad_norm"])


def test_frozen_layers(tmp_path: Path) -> None:
    """Below the first trained layer there is no delta; above it there is one, of frozen layers, too."""
    model = network()
    model[0].requires_grad_(False)
    model[4].requires_grad_(False)
    recorded(plainly, tmp_path / "run", model)
    frozen, trained = ["0", "4"], ["2"]
    gradients, deltas = column(tmp_path / "run", "weight_grad_norm"), column(tmp_path / "run", "delta_rms")
    assert all(is_null(gradients[name]) for name in frozen)
    assert all(gradients[name] > 0 for name in trained)
    assert is_null(deltas["0"])
    assert deltas["2"] > 0
    assert deltas["4"] > 0
    ratios = column(tmp_path / "run", "update_ratio")
    assert [ratios[name] for name in frozen] == [0, 0]
    assert all(is_null(column(tmp_path / "run", "bias_grad_norm")[name]) for name in frozen)
    assert all(value > 0 for value in column(tmp_path / "run", "preactivation_rms").values())


def test_parameters_that_no_gradient_reaches(tmp_path: Path) -> None:
    def detached(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        assert isinstance(model, nn.Sequential)
        hidden = model[:2](data()[0]).detach()
        F.cross_entropy(model[2:](hidden), data()[1]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    recorded(detached, tmp_path / "run")
    gradients = column(tmp_path / "run", "weight_grad_norm")
    assert set(gradients) >= {"2", "4"}
    assert gradients.get("0", 0) == 0
    assert gradients["2"] > 0


@pytest.mark.parametrize("zeros", [False, True])
def test_the_first_evaluation_of_a_closure_is_about_the_weights_before(zeros: bool, tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)

    def closure() -> Tensor:
        optimizer.zero_grad(set_to_none=not zeros)
        value = loss(model, data())
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with gradlab.watch(model, optimizer, every=1, out=tmp_path / "run", seed=0):
        befores = []
        for _ in range(2):
            befores.append({name: value.clone() for name, value in model.state_dict().items()})
            optimizer.step(closure)  # type: ignore[no-untyped-call]
    for step, before in enumerate(befores):
        twin = network()
        twin.load_state_dict(before)
        expected = recorded(plainly, tmp_path / f"plain {step}", twin)
        for key, row in by_key(tmp_path / "run", step).items():
            expected[key]["update_ratio"] = row["update_ratio"]
            assert_close(row, {name: None if is_null(v) else v for name, v in expected[key].items()}, str(key), 1e-5)
