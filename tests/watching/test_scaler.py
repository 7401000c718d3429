"""Loops that scale their losses, skip steps, or go through a model for another's sake."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradlab
from tests.watching.loops import EXAMPLES, Rows, assert_alike, data, loss, network, plainly, recorded
from tests.watching.recorded import by_key, layers, steps, trial

SCALE = 2.0**12


def scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=SCALE)


@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_rows_are_unscaled(told: bool, unscale: bool, tmp_path: Path) -> None:
    """The scaler is found where it calls the optimizer; powers of two don't change a digit."""
    scaling = scaler()

    def scaled(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        scaling.scale(loss(model, data())).backward()  # type: ignore[no-untyped-call]
        if unscale:
            scaling.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
        scaling.step(optimizer)
        scaling.update()

    watched: dict[str, Any] = {"scaler": scaling} if told else {}
    assert_alike(recorded(plainly, tmp_path / "plain"), recorded(scaled, tmp_path / "scaled", **watched))
    one, other = (steps(tmp_path / name)["grad_norm"].tolist() for name in ("plain", "scaled"))
    assert one == pytest.approx(other, rel=1e-6)


def test_a_scaler_of_ones_own_loop_is_told(tmp_path: Path) -> None:
    scaling = scaler()

    def by_hand(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        scaling.scale(loss(model, data())).backward()  # type: ignore[no-untyped-call]
        scaling.unscale_(optimizer)
        optimizer.step()
        scaling.update()

    assert_alike(recorded(plainly, tmp_path / "plain"), recorded(by_hand, tmp_path / "hand", scaler=scaling))


def test_a_scaler_that_is_switched_off(tmp_path: Path) -> None:
    scaling = torch.amp.GradScaler("cpu", enabled=False)

    def loop(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        scaling.scale(loss(model, data())).backward()  # type: ignore[no-untyped-call]
        scaling.step(optimizer)
        scaling.update()

    assert_alike(recorded(plainly, tmp_path / "plain"), recorded(loop, tmp_path / "off", scaler=scaling))


class Tempered(nn.Module):
    """Ends with a parameter of no module, which backward passes come to first."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale = network(), nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Any:
        return self.inner(x) * self.scale


def compiled_network() -> Any:
    torch._dynamo.reset()
    return torch.compile(network(), backend="aot_eager")


@pytest.mark.parametrize(
    ("make", "uncompiled"), [(network, network), (Tempered, Tempered), (compiled_network, network)]
)
@pytest.mark.parametrize("zero_grad", ["first", "after forward", "last", "last, zeros"])
def test_skipped_steps_are_not_counted(zero_grad: str, make: Any, uncompiled: Any, tmp_path: Path) -> None:
    """Gradients that overflow: the scaler calls no optimizer step, and what they were is forgotten."""
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaling = scaler()
    with gradlab.watch(model, optimizer, every=1, out=tmp_path / "run", seed=0) as recorder:
        for number in range(7):
            if zero_grad == "first":
                optimizer.zero_grad()
            value = loss(model, data()) * (math.inf if number in {0, 1, 3} else 1.0)
            if zero_grad == "after forward":
                optimizer.zero_grad()
            scaling.scale(value).backward()  # type: ignore[no-untyped-call]
            scaling.step(optimizer)
            scaling.update()
            if zero_grad.startswith("last"):
                optimizer.zero_grad(set_to_none="zeros" not in zero_grad)
        assert recorder.step == 4
    plain = uncompiled()
    other = torch.optim.SGD(plain.parameters(), lr=0.1)
    with gradlab.watch(plain, other, every=1, out=tmp_path / "plain", seed=0):
        for _ in range(4):
            other.zero_grad()
            plainly(plain, other)
    assert steps(tmp_path / "run")["step"].tolist() == [0, 1, 2, 3]
    for step in range(4):
        assert_alike(rows(tmp_path / "plain", step), rows(tmp_path / "run", step))
    assert trial(tmp_path / "run")["status"] == "completed"
    assert trial(tmp_path / "run")["batch_size"] == EXAMPLES


def rows(out: Path, step: int) -> Rows:
    told = {"trial_id", "step", "layer", "name", "kind"}
    return {key: {name: value for name, value in row.items() if name not in told}
            for key, row in by_key(out, step).items()}  # fmt: skip


def test_a_fused_optimizer_skips_by_itself(tmp_path: Path) -> None:
    """It is called with an overflow, too: that step is none of the training's, and the records after it are right."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    scaling = scaler()
    with gradlab.watch(model, optimizer, every=1, out=tmp_path / "run", seed=0):
        for number in range(4):
            optimizer.zero_grad()
            scaling.scale(loss(model, data()) * (math.inf if number == 1 else 1.0)).backward()  # type: ignore[no-untyped-call]
            scaling.step(optimizer)
            scaling.update()
    found = layers(tmp_path / "run")
    assert found["non_finite"].eq(0).all()
    assert found["update_ratio"].gt(0).all()
    plain = network()
    other = torch.optim.SGD(plain.parameters(), lr=0.1)
    with gradlab.watch(plain, other, every=1, out=tmp_path / "plain", seed=0):
        for _ in range(3):
            other.zero_grad()
            plainly(plain, other)
    last = steps(tmp_path / "run")["step"].max()
    assert_alike(rows(tmp_path / "plain", 2), rows(tmp_path / "run", last))


@pytest.mark.parametrize("critic_first", [True, False])
def test_adversaries(critic_first: bool, tmp_path: Path) -> None:
    """A critic that another's loss goes through has rows of its own losses only."""
    torch.manual_seed(7)
    maker, critic = nn.Linear(2, 5), nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1))
    of_maker, of_critic = (torch.optim.SGD(model.parameters(), lr=0.1) for model in (maker, critic))
    noise, real = torch.randn(8, 2), torch.randn(8, 5)
    expected: list[list[Tensor]] = []

    def train_critic() -> None:
        of_critic.zero_grad()
        fake = F.softplus(critic(maker(noise).detach())).mean()
        (fake + F.softplus(-critic(real)).mean()).backward()
        expected.append([critic[place].weight.grad.double().clone() for place in (0, 2)])  # type: ignore[union-attr]
        of_critic.step()

    def train_maker() -> None:
        of_maker.zero_grad()
        F.softplus(-critic(maker(noise))).mean().backward()
        of_maker.step()

    with (
        gradlab.watch(critic, of_critic, every=1, out=tmp_path / "critic", seed=0),
        gradlab.watch(maker, of_maker, every=1, out=tmp_path / "maker", seed=0),
    ):
        for _ in range(3):
            for step in (train_critic, train_maker)[:: 1 if critic_first else -1]:
                step()
    for number, gradients in enumerate(expected):
        found = by_key(tmp_path / "critic", number)
        for name, gradient in zip([("layer", "0", 1), ("layer", "2", 2)], gradients, strict=True):
            assert found[name]["weight_grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-5)
            assert found[name]["delta_rms"] > 0
    assert trial(tmp_path / "critic")["batch_size"] == 8
    assert steps(tmp_path / "maker")["step"].tolist() == [0, 1, 2]


def test_a_search_for_a_sharper_point_first(tmp_path: Path) -> None:
    """Sharpness-aware minimisation goes through the model twice; the second gradient is the update's."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, every=1, out=tmp_path / "run", seed=0):
        loss(model, data()).backward()  # type: ignore[no-untyped-call]
        climbs = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        with torch.no_grad():
            for parameter, climb in zip(model.parameters(), climbs, strict=True):
                parameter += 0.5 * climb
        optimizer.zero_grad()
        loss(model, data()).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter, climb in zip(model.parameters(), climbs, strict=True):
                parameter -= 0.5 * climb
        expected = {name: float(p.grad.double().norm()) for name, p in model.named_parameters() if p.grad is not None}
        optimizer.step()
    for (_, name, _), row in by_key(tmp_path / "run", 0).items():
        assert row["weight_grad_norm"] == pytest.approx(expected[f"{name}.weight"], rel=1e-5)
    assert trial(tmp_path / "run")["batch_size"] == EXAMPLES
