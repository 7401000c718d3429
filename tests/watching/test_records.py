"""Which steps are recorded, what `log` adds to them, and how trainings share a directory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradlab
from gradlab.errors import UsageError
from tests.watching.loops import data, loss, network
from tests.watching.recorded import is_null, layers, steps, trial


def watched(out: Path, **options: Any) -> tuple[nn.Module, torch.optim.Optimizer, gradlab.watching.Recorder]:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, gradlab.watch(model, optimizer, out=out, **{"seed": 0, "every": 1, **options})


def one_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    value = loss(model, data())
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return value


@pytest.mark.parametrize(("every", "count"), [(1, 4), (3, 10), (10, 10), (100, 5), (4, 9)])
def test_records_are_at_0_and_every_so_many_steps(every: int, count: int, tmp_path: Path) -> None:
    model, optimizer, recorder = watched(tmp_path / "run", every=every)
    with recorder:
        for number in range(count):
            assert recorder.step == number
            one_step(model, optimizer)
    expected = list(range(0, count, every))
    assert steps(tmp_path / "run")["step"].tolist() == expected
    assert sorted(set(layers(tmp_path / "run")["step"])) == expected
    assert trial(tmp_path / "run")["steps"] == recorder.step == count


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("as_number", [True, False])
def test_a_loss_may_be_told_before_or_after_its_step(when: str, as_number: bool, tmp_path: Path) -> None:
    model, optimizer, recorder = watched(tmp_path / "run", every=2)
    values = []
    with recorder:
        for _ in range(5):
            optimizer.zero_grad()
            value = loss(model, data())
            values.append(value.item())
            value.backward()  # type: ignore[no-untyped-call]
            if when == "before":
                recorder.log(train_loss=values[-1] if as_number else value)
            optimizer.step()
            if when == "after":
                recorder.log(train_loss=values[-1] if as_number else value)
    assert steps(tmp_path / "run")["train_loss"].tolist() == pytest.approx(values[::2], rel=1e-7)
    assert trial(tmp_path / "run")["final_train_loss"] == pytest.approx(values[-1], rel=1e-7)


def test_without_a_loss_it_is_null(tmp_path: Path) -> None:
    model, optimizer, recorder = watched(tmp_path / "run")
    with recorder:
        one_step(model, optimizer)
    assert steps(tmp_path / "run")[["train_loss", "eval_loss", "eval_metric"]].isna().all(axis=None)
    assert is_null(trial(tmp_path / "run")["final_train_loss"])


def test_evaluations_stand_at_the_step_with_the_same_weights(tmp_path: Path) -> None:
    """Between records they make a row of their own, at one they join it."""
    model, optimizer, recorder = watched(tmp_path / "run", every=4)
    with recorder:
        for number in range(10):
            if number in {0, 4, 6}:
                recorder.log(eval_loss=10.0 + number, eval_metric=torch.tensor(number / 10))
            recorder.log(train_loss=one_step(model, optimizer))
        recorder.log(eval_loss=20.0, eval_metric=1.0)
    found = steps(tmp_path / "run").set_index("step")
    assert found["eval_loss"].dropna().to_dict() == {0: 10.0, 4: 14.0, 6: 16.0, 10: 20.0}
    assert found.index.tolist() == [0, 4, 6, 8, 10]
    assert found["grad_norm"].dropna().index.tolist() == [0, 4, 8]
    row = trial(tmp_path / "run")
    assert (row["final_eval_loss"], row["final_eval_metric"]) == (20.0, 1.0)


def test_a_training_that_diverges(tmp_path: Path) -> None:
    model, optimizer, recorder = watched(tmp_path / "run", every=2)
    with recorder:
        for number in range(8):
            if number == 5:
                with torch.no_grad():
                    next(model.parameters()).mul_(math.nan)
            recorder.log(train_loss=one_step(model, optimizer))
    row = trial(tmp_path / "run")
    assert (row["status"], row["diverged_step"], row["diagnosis"]) == ("diverged", 6, "diverged")
    found = steps(tmp_path / "run").set_index("step")["train_loss"]
    assert found.map(math.isfinite).tolist() == [True, True, True, False]
    after = layers(tmp_path / "run", 6)
    assert after["non_finite"].sum() > 0


def test_a_loss_that_is_no_number_is_enough(tmp_path: Path) -> None:
    model, optimizer, recorder = watched(tmp_path / "run")
    with recorder:
        for number in range(3):
            one_step(model, optimizer)
            recorder.log(train_loss=math.inf if number == 1 else 1.0)
    row = trial(tmp_path / "run")
    assert (row["status"], row["diverged_step"]) == ("diverged", 1)


def test_a_loop_that_raises_leaves_all_records(tmp_path: Path) -> None:
    model, optimizer, recorder = watched(tmp_path / "run")

    def loop() -> None:
        with recorder:
            for number in range(5):
                one_step(model, optimizer)
                if number == 3:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert steps(tmp_path / "run")["step"].tolist() == [0, 1, 2, 3]
    row = trial(tmp_path / "run")
    assert row["steps"] == 4
    assert (row["status"], row["diagnosis"]) == ("failed", "failed")
    assert "ZeroDivisionError" in row["error"]
    assert "test_records.py" in row["error"]
    one_step(model, optimizer)
    recorder.close()
    assert steps(tmp_path / "run")["step"].tolist() == [0, 1, 2, 3]


def test_ctrl_c_is_no_failure(tmp_path: Path) -> None:
    model, optimizer, recorder = watched(tmp_path / "run")
    one_step(model, optimizer)
    with pytest.raises(KeyboardInterrupt), recorder:
        raise KeyboardInterrupt
    assert trial(tmp_path / "run")["status"] == "completed"


def test_a_training_of_which_nothing_was_seen(tmp_path: Path) -> None:
    """No trial says that it is healthy, and a warning says why there is none."""
    _, optimizer, recorder = watched(tmp_path / "run")
    optimizer.step()
    with pytest.warns(RuntimeWarning, match="recorded nothing: no backward pass"):
        recorder.close()
    assert not list((tmp_path / "run" / "trials").glob("*.parquet"))


def test_a_training_without_a_step(tmp_path: Path) -> None:
    watched(tmp_path / "run")[2].close()
    assert not list((tmp_path / "run" / "trials").glob("*.parquet"))


def test_trainings_of_several_seeds_stand_together(tmp_path: Path) -> None:
    """Also at the same time."""
    trainings = [watched(tmp_path / "run", seed=seed) for seed in (3, 4)]
    for _ in range(3):
        for model, optimizer, _ in trainings:
            one_step(model, optimizer)
    for _, _, recorder in trainings:
        recorder.close()
    table = pd.read_parquet(tmp_path / "run" / "trials")
    assert sorted(table["seed"]) == [3, 4]
    assert table["trial_id"].nunique() == 2
    assert steps(tmp_path / "run").groupby("trial_id")["step"].apply(list).tolist() == [[0, 1, 2]] * 2


def test_settings_are_columns(tmp_path: Path) -> None:
    settings = {"depth": 2, "lr": 0.5, "scheme": "mine", "cosine": True, "model.heads": 4}
    for seed in (0, 1):
        model, optimizer, recorder = watched(tmp_path / "run", seed=seed, settings=settings)
        with recorder:
            one_step(model, optimizer)
    table = pd.read_parquet(tmp_path / "run" / "trials")
    for name, value in settings.items():
        assert table[name].tolist() == [value, value]


def test_the_same_seed_again(tmp_path: Path) -> None:
    def training(count: int, **options: Any) -> None:
        model, optimizer, recorder = watched(tmp_path / "run", **options)
        with recorder:
            for _ in range(count):
                one_step(model, optimizer)

    training(5)
    with pytest.raises(UsageError, match="fresh=True"):
        training(2)
    assert len(steps(tmp_path / "run")) == 5
    training(2, fresh=True)
    assert len(steps(tmp_path / "run")) == 2
    training(3, settings={"depth": 7})
    assert len(steps(tmp_path / "run")) == 5


def test_two_recorders_of_one_training_at_the_same_time(tmp_path: Path) -> None:
    _, _, recorder = watched(tmp_path / "run")
    for fresh in (False, True):
        with pytest.raises(UsageError, match="right now"):
            watched(tmp_path / "run", fresh=fresh)
    recorder.close()


def test_the_seed_is_torchs_if_none_is_given(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(77)
    with gradlab.watch(model, optimizer, out=tmp_path / "run"):
        one_step(model, optimizer)
    assert trial(tmp_path / "run")["seed"] == 77


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused, self.by_hand = nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Any:
        return self.used(x) + F.linear(x, self.by_hand.weight)


def test_modules_that_are_never_called(tmp_path: Path) -> None:
    """Without a gradient they have no row; with one they have what is known, and a note says so."""
    model = Unused()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, out=tmp_path / "run", seed=0) as recorder:
        one_step(model, optimizer)
    found = layers(tmp_path / "run").set_index("name")
    assert set(found.index) == {"used", "by_hand"}
    assert is_null(found.loc["by_hand", "delta_rms"])
    assert found.loc["by_hand", "weight_grad_norm"] > 0
    (note,) = recorder.notes
    assert "by_hand" in note
    assert json.loads((tmp_path / "run" / "run.json").read_text())["notes"] == {recorder.trial_id: [note]}
