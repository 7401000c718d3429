"""What goes wrong while recording never reaches the training: one warning, and it goes on as it would have."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gradlab.store.watched
from gradlab.store.watched import WatchedRun
from gradlab.watching import passes, rows, step
from gradlab.watching.journal import Journal
from tests.watching.recorded import steps
from tests.watching.trainings import MODELS, OPTIMIZERS, Training, assert_same, plain_step, train

Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def _flush_at_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "is_due", property(lambda journal: bool(journal._pending)))


class Fault:
    """Stands in for a function, and raises from its n-th call on."""

    def __init__(self, function: Callable[..., Any], error: Exception, at: int) -> None:
        self.function, self.error, self.left = function, error, at

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.function(*arguments, **keywords)


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FAULTS: dict[str, tuple[Any, str, Exception]] = {
    "a norm in a hook": (passes, "norm", RuntimeError("broken kernel")),
    "units": (passes, "unit_dimension", KeyError("units")),
    "rows": (step, "layer_rows", IndexError("list index out of range")),
    "norms of rows": (rows, "total", MemoryError()),
    "transfer": (step, "on_host", RuntimeError("out of memory")),
    "scale": (step, "_scale", AttributeError("scale")),
    "flush": (Journal, "flush", ValueError("flush")),
    "full disk": (gradlab.store.watched, "write_table", full_disk()),
    "run.json": (WatchedRun, "update_info", full_disk()),
}


@pytest.fixture
def caught() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


@pytest.mark.parametrize("at", [0, 5])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_warning(
    fault: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caught: list[warnings.WarningMessage]
) -> None:
    without = train(MODELS["convolutions"], OPTIMIZERS["adam"], out=None, steps=12)
    owner, name, error = FAULTS[fault]
    broken = Fault(getattr(owner, name), error, min(at, 2) if fault == "run.json" else at)  # that is written less often
    started: list[bool] = []

    def step_of_loop(training: Training, x: Tensor, y: Tensor) -> None:
        if not started and training.recorder is not None:
            started.append(True)
            # A plain function, so that a method gets its object.
            monkeypatch.setattr(owner, name, lambda *args, **keywords: broken(*args, **keywords))
        plain_step(training, x, y)

    left = train(MODELS["convolutions"], OPTIMIZERS["adam"], step_of_loop, out=tmp_path / "run", steps=12)
    assert broken.left < 0, "the fault was never met"
    assert_same(without, left)
    told = [str(one.message) for one in caught if one.category is RuntimeWarning]
    assert len(told) == 1, told
    assert told[0].startswith("gradlab stopped recording at step")
    assert str(error) in told[0] or type(error).__name__ in told[0] or "No space left" in told[0]


def test_what_was_written_before_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caught: list[warnings.WarningMessage]
) -> None:
    def step_of_loop(training: Training, x: Tensor, y: Tensor) -> None:
        if training.number == 6:
            monkeypatch.setattr(step, "layer_rows", Fault(step.layer_rows, RuntimeError("no"), 0))
        plain_step(training, x, y)

    train(MODELS["perceptron"], OPTIMIZERS["sgd"], step_of_loop, out=tmp_path / "run", steps=12)
    assert len(caught) == 1
    assert steps(tmp_path / "run")["step"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_the_directory_goes_away(tmp_path: Path, caught: list[warnings.WarningMessage]) -> None:
    def step_of_loop(training: Training, x: Tensor, y: Tensor) -> None:
        if training.number == 6 and training.recorder is not None:
            (tmp_path / "run").rename(tmp_path / "elsewhere")
        plain_step(training, x, y)

    without = train(MODELS["perceptron"], OPTIMIZERS["sgd"], out=None, steps=12)
    left = train(MODELS["perceptron"], OPTIMIZERS["sgd"], step_of_loop, out=tmp_path / "run", steps=12)
    assert_same(without, left)
    assert [one.category for one in caught] == [RuntimeWarning]
    assert steps(tmp_path / "elsewhere")["step"].tolist()[:5] == [0, 1, 2, 3, 4]


def test_errors_of_the_loop_itself_pass_through(tmp_path: Path) -> None:
    def step_of_loop(training: Training, x: Tensor, y: Tensor) -> None:
        if training.number == 3:
            training.model(torch.randn(2, 99))
        plain_step(training, x, y)

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(MODELS["perceptron"], OPTIMIZERS["sgd"], step_of_loop, out=tmp_path / "run", steps=12)
    assert steps(tmp_path / "run")["step"].tolist() == [0, 1, 2]
