"""The recorder changes nothing: what a training leaves behind after 50 steps is the same with and without, in bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.watching.recorded import layers, steps, trial
from tests.watching.trainings import (
    EXAMPLES,
    MODELS,
    OPTIMIZERS,
    STEPS,
    Step,
    Training,
    assert_same,
    plain_step,
    train,
)


def check(
    make: Callable[[], nn.Module],
    out: Path,
    step: Step = plain_step,
    optimizer: str = "momentum",
    every: int = 1,
    **more: Any,
) -> None:
    watched = {name: more.pop(name) for name in ("scaler", "batch_dim") if name in more}
    without = train(make, OPTIMIZERS[optimizer], step, out=None, **more)
    with_recorder = train(make, OPTIMIZERS[optimizer], step, out=out, every=every, **more, **watched)
    assert_same(without, with_recorder)


def recorded_steps(out: Path) -> list[int]:
    found: list[int] = steps(out)["step"].tolist()
    return found


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("model", MODELS)
def test_models(model: str, every: int, tmp_path: Path) -> None:
    check(MODELS[model], tmp_path / "run", every=every)
    assert recorded_steps(tmp_path / "run") == list(range(0, STEPS, every))
    assert layers(tmp_path / "run")["weight_grad_norm"].gt(0).all()


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "lbfgs"])
def test_optimizers(optimizer: str, tmp_path: Path) -> None:
    check(MODELS["perceptron"], tmp_path / "run", optimizer=optimizer, every=3)
    assert trial(tmp_path / "run")["optimizer"] == {"adam foreach": "adam", "adamw fused": "adamw"}.get(
        optimizer, optimizer
    )


def test_a_closure_that_is_called_again_and_again(tmp_path: Path) -> None:
    def step(training: Training, x: Tensor, y: Tensor) -> None:
        def closure() -> Tensor:
            training.optimizer.zero_grad()
            loss = training.loss(x, y)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        training.optimizer.step(closure)

    check(lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), tmp_path / "run", step, "lbfgs", every=7)
    assert recorded_steps(tmp_path / "run") == list(range(0, STEPS, 7))


def test_accumulation(tmp_path: Path) -> None:
    def step(training: Training, x: Tensor, y: Tensor) -> None:
        training.optimizer.zero_grad(set_to_none=training.number % 2 == 0)
        for own_x, own_y in zip(x.split(4), y.split(4), strict=True):
            (training.loss(own_x, own_y) / 2).backward()  # type: ignore[no-untyped-call]
        training.optimizer.step()

    check(MODELS["perceptron"], tmp_path / "run", step)
    assert trial(tmp_path / "run")["batch_size"] == EXAMPLES


@pytest.mark.parametrize("clip", [torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_])
def test_clipping(clip: Any, tmp_path: Path) -> None:
    def step(training: Training, x: Tensor, y: Tensor) -> None:
        training.optimizer.zero_grad()
        training.loss(x, y).backward()  # type: ignore[no-untyped-call]
        clip(training.model.parameters(), 1e-3)
        training.optimizer.step()

    check(MODELS["convolutions"], tmp_path / "run", step, every=7)


def has_bfloat16_lstm() -> bool:
    """Whether torch has an LSTM in bfloat16 for this processor; some lack the instructions."""
    try:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            nn.LSTM(2, 2)(torch.zeros(1, 1, 2))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("model", MODELS)
def test_autocast_with_a_scaler(model: str, tmp_path: Path) -> None:
    if model == "sequences" and not has_bfloat16_lstm():
        pytest.skip("this processor has no LSTM in bfloat16")
    scalers: list[torch.amp.GradScaler] = []

    def step(training: Training, x: Tensor, y: Tensor) -> None:
        if training.number == 0:
            scalers.append(torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=10))
        training.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = training.loss(x, y)
        scalers[-1].scale(loss).backward()  # type: ignore[no-untyped-call]
        if training.number % 2:
            scalers[-1].unscale_(training.optimizer)
            torch.nn.utils.clip_grad_norm_(training.model.parameters(), 0.5)
        scalers[-1].step(training.optimizer)
        scalers[-1].update()

    check(MODELS[model], tmp_path / "run", step, every=3)
    assert scalers[0].state_dict() == scalers[1].state_dict()


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(reentrant: bool, tmp_path: Path) -> None:
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(6, 16)
            self.inner = nn.Sequential(nn.Linear(16, 16), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(16, 16))
            self.head = nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Any:
            return self.head(checkpoint(self.inner, self.first(x), use_reentrant=reentrant))

    check(Checkpointed, tmp_path / "run", every=7)
    found = layers(tmp_path / "run", 0)
    assert set(found["name"]) == {"first", "inner.0", "inner.3", "head"}
    assert found["weight_grad_norm"].gt(0).all()
    inside = found["name"].str.startswith("inner")
    assert found[~inside]["delta_rms"].gt(0).all()
    assert found[inside]["delta_rms"].notna().all() != reentrant


@pytest.mark.parametrize("mode", ["eval", "no_grad", "inference_mode", "with gradients"])
def test_evaluation_in_between(mode: str, tmp_path: Path) -> None:
    def step(training: Training, x: Tensor, y: Tensor) -> None:
        if training.number % 5 == 0:
            training.model.eval()
            context: Any = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}.get(
                mode, torch.enable_grad
            )
            with context():
                value = training.loss(torch.randn(3, 6), torch.zeros(3, dtype=torch.long))
            if mode == "with gradients":
                torch.autograd.grad(value, next(training.model.parameters()))
            if training.recorder is not None:
                training.recorder.log(eval_loss=value)
            training.model.train()
        plain_step(training, x, y)
        if training.number == 20:
            training.model.requires_grad_(False).requires_grad_(True)

    check(MODELS["perceptron"], tmp_path / "run", step, every=5)
    assert trial(tmp_path / "run")["batch_size"] == EXAMPLES
    assert steps(tmp_path / "run")["eval_loss"].notna().all()


def test_a_training_of_a_penalty_on_gradients(tmp_path: Path) -> None:
    def step(training: Training, x: Tensor, y: Tensor) -> None:
        x.requires_grad_()
        training.optimizer.zero_grad()
        loss = training.loss(x, y)
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        (loss + slope.square().sum()).backward()  # type: ignore[no-untyped-call]
        training.optimizer.step()

    check(MODELS["convolutions"], tmp_path / "run", step, every=7)
