"""Arguments of `gradlab.watch` that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gradlab
from gradlab.errors import UsageError
from tests.watching.loops import network


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(3))


def frozen() -> nn.Module:
    return network().requires_grad_(False)


BAD: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "lazy": (lazy, {}, "lazy"),
    "no parameters": (nn.ReLU, {}, "no trainable parameters"),
    "frozen": (frozen, {}, "no trainable parameters"),
    "no layers": (lambda: nn.LayerNorm(3), {}, "two or more dimensions"),
    "every 0": (network, {"every": 0}, "every"),
    "every true": (network, {"every": True}, "every"),
    "every real": (network, {"every": 2.5}, "every"),
    "measured column": (network, {"settings": {"diagnosis": "good"}}, "diagnosis"),
    "trial id": (network, {"settings": {"trial_id": "x"}}, "trial_id"),
    "setting of a wrong type": (network, {"settings": {"depth": "deep"}}, "depth"),
    "setting that is no value": (network, {"settings": {"mine": [1, 2]}}, "mine"),
    "setting without a name": (network, {"settings": {"": 1}}, "name"),
    "settings that are no mapping": (network, {"settings": ["depth"]}, "settings"),
    "a real seed": (network, {"seed": 1.5}, "seed"),
    "a negative batch_dim": (network, {"batch_dim": -1}, "batch_dim"),
    "a scaler that is none": (network, {"scaler": 1024.0}, "scaler"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_one_clear_message(case: str, tmp_path: Path) -> None:
    make, options, told = BAD[case]
    model = make()
    trained = network() if case in {"lazy", "no parameters"} else model
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    with pytest.raises(UsageError, match=told) as error:
        gradlab.watch(model, optimizer, out=tmp_path / "run", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [(None, None), ("model", "optimizer"), (network(), None), (network(), network())])
def test_what_is_no_model_or_optimizer(arguments: tuple[Any, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be a torch"):
        gradlab.watch(*arguments, out=tmp_path / "run")


def test_something_else_in_the_place(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    model = network()
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(UsageError, match="choose another folder"):
            gradlab.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), out=place)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("value", [torch.ones(3), torch.ones(2, dtype=torch.complex64)[0], "1.3", [1.0]], ids=str)
def test_a_loss_that_is_no_number_is_told_at_once(value: Any, tmp_path: Path) -> None:
    model = network()
    recorder = gradlab.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), out=tmp_path / "run")
    with recorder, pytest.raises(UsageError, match="log: train_loss must be a single number"):
        recorder.log(train_loss=value)


def test_an_optimizer_of_another_model(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
    with pytest.raises(UsageError, match="none of the model's parameters"):
        gradlab.watch(network(), optimizer, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_parameters_that_the_optimizer_does_not_hold_are_noted(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model[-1].parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, out=tmp_path / "run") as recorder:
        (note,) = (note for note in recorder.notes if "not the optimizer's" in note)
        assert "0.weight" in note
        assert not any(name in note for name, _ in model.named_parameters() if name.startswith(str(len(model) - 1)))
