"""A model that is copied or saved while it is recorded: copies work, and carry nothing of the recorder with them."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import gradlab
from tests.watching.recorded import layers, steps
from tests.watching.trainings import MODELS, OPTIMIZERS, Training, assert_same, bits, plain_step, train


def saved_and_loaded(model: nn.Module) -> Any:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES: dict[str, Callable[[nn.Module], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301
    "save": saved_and_loaded,
}


def hooks(model: nn.Module) -> int:
    """Hooks that a model's modules and parameters carry."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    of_tensors = ("_backward_hooks", "_post_accumulate_grad_hooks")
    of_modules = sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
    of_parameters = (getattr(parameter, kind, None) for parameter in model.parameters() for kind in of_tensors)
    return of_modules + sum(len(one) for one in of_parameters if one)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("model", MODELS)
def test_copies_in_mid_training(model: str, how: str, tmp_path: Path) -> None:
    """Taken while every hook is there, a copy computes the same, and its own training leaves no trace."""

    def step(training: Training, x: Tensor, y: Tensor) -> None:
        if training.recorder is not None and training.number in {2, 3}:
            twin = COPIES[how](training.model)
            other = Training(twin, twin, torch.optim.SGD(twin.parameters(), lr=0.1))
            state = torch.get_rng_state()
            for _ in range(3):
                plain_step(other, x, y)
            torch.set_rng_state(state)
        plain_step(training, x, y)

    without = train(MODELS[model], OPTIMIZERS["adam"], step, out=None, steps=10)
    with_copies = train(MODELS[model], OPTIMIZERS["adam"], step, out=tmp_path / "copied", steps=10)
    assert_same(without, with_copies)
    train(MODELS[model], OPTIMIZERS["adam"], out=tmp_path / "not copied", steps=10)
    one, other = (layers(tmp_path / name).drop(columns="trial_id") for name in ("copied", "not copied"))
    assert one.equals(other)


@pytest.mark.parametrize("how", COPIES)
def test_copies_let_the_recorder_go(how: str, tmp_path: Path) -> None:
    """What hooks a copy has do nothing and hold nothing; a saved one can be loaded where there is no gradlab."""
    model = MODELS["perceptron"]()
    recorder = gradlab.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), out=tmp_path / "run", seed=0)
    assert b"gradlab" not in pickle.dumps(model)
    twin = COPIES[how](model)
    recorder.close()
    for module in twin.modules():
        for kind in ("_forward_hooks", "_forward_pre_hooks"):
            for hook in getattr(module, kind).values():
                assert hook(module, (), None) is None
                assert not getattr(hook, "__dict__", {})
    assert b"gradlab" not in pickle.dumps(twin)


def test_state_dicts_are_as_ever(tmp_path: Path) -> None:
    model = MODELS["sequences"]()
    before = {name: bits(value) for name, value in model.state_dict().items()}
    names = [name for name, _ in model.named_modules()]
    with gradlab.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), out=tmp_path / "run", seed=0):
        assert {name: bits(value) for name, value in model.state_dict().items()} == before
        assert [name for name, _ in model.named_modules()] == names


def test_averaged_models(tmp_path: Path) -> None:
    """An average of the weights copies the model at the beginning, hooks and all."""

    def step(training: Training, x: Tensor, y: Tensor) -> None:
        if training.number == 0:
            averaged.append(AveragedModel(training.model, use_buffers=True))
        plain_step(training, x, y)
        averaged[-1].update_parameters(training.model)

    averaged: list[AveragedModel] = []
    without = train(MODELS["perceptron"], OPTIMIZERS["sgd"], step, out=None, steps=10)
    assert_same(without, train(MODELS["perceptron"], OPTIMIZERS["sgd"], step, out=tmp_path / "run", steps=10))
    one, other = ({name: bits(value) for name, value in model.state_dict().items()} for model in averaged)
    assert one == other


@pytest.mark.parametrize("every", [1, 3])
def test_hooks_are_there_only_for_steps_that_are_recorded(every: int, tmp_path: Path) -> None:
    counts: list[int] = []

    def step(training: Training, x: Tensor, y: Tensor) -> None:
        counts.append(hooks(training.model))
        plain_step(training, x, y)
        last.append(training)

    last: list[Training] = []
    train(MODELS["convolutions"], OPTIMIZERS["sgd"], step, out=tmp_path / "run", every=every, steps=10)
    assert [count > 0 for count in counts] == [number % every == 0 for number in range(10)]
    assert hooks(last[-1].model) == 0
    assert not last[-1].optimizer._optimizer_step_pre_hooks
    assert not last[-1].optimizer._optimizer_step_post_hooks
    assert steps(tmp_path / "run")["step"].tolist() == list(range(0, 10, every))


def test_an_optimizer_can_be_copied_and_saved(tmp_path: Path) -> None:
    model = MODELS["perceptron"]()
    optimizer = torch.optim.Adam(model.parameters())
    with gradlab.watch(model, optimizer, out=tmp_path / "run", seed=0) as recorder:
        copies = [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]  # noqa: S301
        for other in copies:
            for group in other.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.ones_like(parameter)
            other.step()
        assert recorder.step == 0
