"""Compiled models: the recorder changes neither what they compute nor how often they are compiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.utils import counters

from tests.watching.recorded import Key, assert_close, by_key, layers, steps
from tests.watching.trainings import OPTIMIZERS, STEPS, Step, Training, assert_same, plain_step, train

EVERY = 7
RECORDED = list(range(0, STEPS, EVERY))

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")


class Smooth(nn.Module):
    """Of our own class, since a compiler leaves torch's own modules alone where they are compiled in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 12)
        self.norm = nn.LayerNorm(12)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.2)
        self.second = nn.Linear(12, 12)
        self.tanh = nn.Tanh()
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.tanh(self.second(self.drop(self.act(self.norm(self.first(x)))))))


def in_two_parts() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 6), Smooth(), nn.Linear(3, 3))


def whole(backend: str) -> Callable[[nn.Module], nn.Module]:
    return lambda model: torch.compile(model, backend=backend)  # type: ignore[return-value]


def in_place(backend: str) -> Callable[[nn.Module], nn.Module]:
    def compiled(model: nn.Module) -> nn.Module:
        model.compile(backend=backend, fullgraph=True)
        return model

    return compiled


def compiled_twice(
    make: Callable[[], nn.Module],
    wrap: Callable[[nn.Module], nn.Module],
    out: Path,
    step: Step = plain_step,
    further_graphs: int = 0,
) -> None:
    """Train with and without a recorder and compare all that is left behind, and the number of compiled graphs."""
    left, graphs = [], []
    for place in (None, out):
        torch._dynamo.reset()
        counters.clear()
        left.append(train(make, OPTIMIZERS["momentum"], step, out=place, every=EVERY, wrap=wrap))
        graphs.append((counters["stats"]["unique_graphs"], dict(counters["graph_break"])))
    assert_same(*left)
    (alone, breaks), (recorded, breaks_recorded) = graphs
    assert 0 < alone <= recorded <= alone + further_graphs
    assert breaks == breaks_recorded
    assert steps(out)["step"].tolist() == RECORDED


def notes(out: Path) -> list[str]:
    (found,) = json.loads((out / "run.json").read_text())["notes"].values()
    return list(found)


def numbers(out: Path) -> dict[tuple[int, Key], dict[str, Any]]:
    told = {"trial_id", "step", "layer", "name", "kind"}
    found = {(step, key): row for step in RECORDED for key, row in by_key(out, step).items()}
    return {key: {name: value for name, value in row.items() if name not in told} for key, row in found.items()}


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("how", [whole, in_place])
def test_a_whole_model(how: Callable[[str], Any], backend: str, tmp_path: Path) -> None:
    """Its rows are those of the same training without a compiler."""
    compiled_twice(Smooth, how(backend), tmp_path / "compiled")
    assert notes(tmp_path / "compiled") == []
    train(Smooth, OPTIMIZERS["momentum"], out=tmp_path / "plain", every=EVERY)
    plain, compiled = numbers(tmp_path / "plain"), numbers(tmp_path / "compiled")
    assert plain.keys() == compiled.keys()
    for key, row in plain.items():
        expected = {name: None if value != value else value for name, value in row.items()}
        assert_close(compiled[key], expected, str(key), 1e-4)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("how", ["wrapped", "in place"])
def test_a_part_of_a_model(how: str, backend: str, tmp_path: Path) -> None:
    def make() -> nn.Module:
        model = in_two_parts()
        assert isinstance(model, nn.Sequential)
        if how == "wrapped":
            model[1] = torch.compile(model[1], backend=backend)  # type: ignore[assignment]
        else:
            model[1].compile(backend=backend)
        return model

    compiled_twice(make, lambda model: model, tmp_path / "run")
    found = layers(tmp_path / "run")
    of_layers = found[found["kind"] == "layer"]
    assert of_layers.groupby("step").size().tolist() == [5] * len(RECORDED)
    assert of_layers["weight_grad_norm"].gt(0).all()
    inside = of_layers["name"].str.startswith("1.")
    assert of_layers[inside]["delta_rms"].isna().all()
    assert of_layers[~inside]["delta_rms"].gt(0).all()
    assert any(note.startswith("1: compiled by itself") for note in notes(tmp_path / "run"))


def test_a_compiled_function_that_calls_the_model(tmp_path: Path) -> None:
    """Its graph stays whole: hooks do nothing where a compiler goes through. A second one is made without them."""
    losses: dict[int, Any] = {}

    def step(training: Training, x: Tensor, y: Tensor) -> None:
        if training.number == 0:
            model = training.model
            losses[0] = torch.compile(lambda x, y: F.cross_entropy(model(x), y), backend="aot_eager", fullgraph=True)
        training.optimizer.zero_grad()
        losses[0](x, y).backward()
        training.optimizer.step()

    compiled_twice(Smooth, lambda model: model, tmp_path / "run", step, further_graphs=1)
    assert layers(tmp_path / "run")["weight_grad_norm"].gt(0).all()
    assert any("no call was seen" in note for note in notes(tmp_path / "run"))
