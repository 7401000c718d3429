"""What `gradlab.check_gradients` cannot compare or measure, and who may write baselines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradlab
from gradlab import GradientRegression, check_gradients
from gradlab.errors import BaselineError, UsageError
from tests.guard.networks import WIDTH, Residual, batch, checked, module

# What cannot be compared.


def test_without_a_baseline_the_remedy_is_told(tmp_path: Path) -> None:
    with pytest.raises(BaselineError) as caught:
        checked(Residual, tmp_path / "none.json")
    for remedy in ("none.json", "pytest --gradlab-update", "GRADLAB_UPDATE=1", "update=True"):
        assert remedy in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "other",
    [
        (batch()[0] + 0.5, batch()[1]),
        (batch()[0], batch()[1].flip(0)),
        batch(31),
        (batch()[0].double(), batch()[1]),
    ],
    ids=["values", "targets", "size", "type"],
)
def test_another_batch_cannot_be_compared(other: tuple[Tensor, Tensor], baseline: Path) -> None:
    def factory() -> nn.Module:
        return Residual().to(other[0].dtype)

    with pytest.raises(BaselineError, match=r"float\d\d\[\d\d, 16\].* batch must be the same each time"):
        check_gradients(factory, other, F.cross_entropy, baseline)


def test_rounding_in_the_batch_and_its_scale_are_compared(baseline: Path) -> None:
    x, y = batch()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    drifted = check_gradients(Residual, (x * (1 + 1e-6 * noise), y), F.cross_entropy, baseline)
    assert drifted.verdict == "pass"
    with pytest.raises(GradientRegression, match=r"6 head .* weight_grad_norm"):
        check_gradients(Residual, (100 * x, y), F.cross_entropy, baseline)


def test_a_module_that_starts_from_other_weights_cannot_be_compared(tmp_path: Path) -> None:
    checked(module(), tmp_path / "b.json", update=True)
    with pytest.raises(BaselineError, match=r"pass a function .* or call torch\.manual_seed"):
        checked(module(1), tmp_path / "b.json")


def test_a_module_and_a_function_cannot_be_compared(baseline: Path) -> None:
    with pytest.raises(BaselineError, match=r"a function that makes models .* not of a module"):
        checked(module(), baseline)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 8}, "9 different ones"),
        ({"seeds": [0, 1, 2, 3, 4, 5, 6, 7, 7]}, "9 different ones"),
        ({"seeds": range(-1, 10)}, "none below 0"),
        ({"thresholds": {"delta": 2.0}}, "'delta'; there are .*delta_rms"),
        ({"thresholds": {"seeds": 20}}, "'seeds'"),
        ({"thresholds": {"delta_rms": 0.5}}, "delta_rms: "),
        ({"thresholds": {"dead_units": "much"}}, "dead_units: "),
    ],
)
def test_options_that_make_no_sense(options: Any, message: str, baseline: Path) -> None:
    with pytest.raises(UsageError, match=message):
        checked(Residual, baseline, **options)


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (lambda: "net", batch()[0], "must return a torch.nn.Module, not str"),
        (nn.Flatten, batch()[0], "no module with a weight"),
        (Residual, torch.empty(0, WIDTH), "no tensor with examples"),
        (Residual, [1.0, 2.0], "no tensor with examples"),
    ],
)
def test_what_cannot_be_measured(model: Any, inputs: Any, message: str, baseline: Path) -> None:
    with pytest.raises(UsageError, match=message):
        check_gradients(model, (inputs, batch()[1]), F.cross_entropy, baseline)


def test_layers_that_depend_on_the_seed_are_refused(baseline: Path) -> None:
    def factory() -> nn.Module:
        width = int(torch.randint(2, 50, ()))
        return nn.Sequential(nn.Linear(WIDTH, width), nn.Linear(width, 3))

    with pytest.raises(UsageError, match="differ from seed to seed"):
        checked(factory, baseline)


# Updating.


def test_the_environment_updates_and_a_ci_system_must_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.json"
    monkeypatch.setenv("GRADLAB_UPDATE", "1")
    checked(Residual, path)
    old = path.read_text()
    with pytest.raises(GradientRegression):
        checked(lambda: Residual("scaled init"), path, update=False)
    assert path.read_text() == old
    monkeypatch.setenv("CI", "true")
    for options in ({}, {"update": True}):
        with pytest.raises(UsageError, match="CI"):
            checked(lambda: Residual("scaled init"), path, **options)
    assert path.read_text() == old
    monkeypatch.delenv("CI")
    checked(lambda: Residual("scaled init"), path)
    assert path.read_text() != old
    monkeypatch.setenv("GRADLAB_UPDATE", "0")
    assert checked(lambda: Residual("scaled init"), path).verdict == "pass"


@pytest.mark.parametrize("model", [Residual, module], ids=["function", "module"])
def test_the_same_call_writes_the_same_file(model: Callable[[], nn.Module], tmp_path: Path) -> None:
    texts = []
    for name in ("a.json", "b.json"):
        checked(model if model is Residual else model(), tmp_path / name, update=True)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]


# The package.


def test_importing_gradlab_imports_no_torch() -> None:
    program = "import sys, gradlab; assert 'torch' not in sys.modules; assert callable(gradlab.check_gradients)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)  # noqa: S603


def test_what_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="check_gradient'"):
        gradlab.check_gradient  # noqa: B018
