"""Custom models in stacks: the same bits in any company, the numbers of plain PyTorch, and who must train alone."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.engine.modules.building import build_model
from gradlab.engine.modules.stack_training import train_custom_stack
from gradlab.engine.modules.stackable import NotStackableError, Stacking, examine
from gradlab.engine.modules.training import train_custom
from gradlab.engine.tasks import Task, example_losses
from tests.engine.comparison import as_task
from tests.engine.modules import stack_models
from tests.engine.stacking import bit_differences, same_bits
from tests.oracles import plain
from tests.oracles.samples import one_trial, random_data

HERE = Path(__file__).parent
TASK = as_task(random_data(n=160))
IMAGES = as_task(random_data("multiclass", 2, 4, 5, n=160))
RECORD = {"every": 4, "probe": 13}


def custom(
    function: str, seed: int = 3, *, record: Any = None, train: Any = None, task: Task = TASK, **kwargs: Any
) -> Trial:
    model = {"family": "custom", "factory": f"stack_models.py:{function}", "kwargs": kwargs}
    settings = {"steps": 9, "batch_size": 25, **(train or {})}
    return one_trial(seed=seed, model=model, train=settings, record=record or RECORD)


def examined(trial: Trial, task: Task = TASK) -> Stacking:
    indices = next(plain.minibatches(len(task.x_train), trial.train.batch_size, trial.seed))
    return examine(build_model(trial, task, HERE), task.kind, task.x_train[indices], task.y_train[indices])


def together(trials: Sequence[Trial], task: Task = TASK) -> list[TrialHistory]:
    return train_custom_stack(trials, task, HERE)


def by_itself(trial: Trial, task: Task = TASK) -> TrialHistory:
    (history,) = together([trial], task)
    return history


def is_close(stacked: TrialHistory, one_by_one: TrialHistory, tolerance: float = 1e-3) -> None:
    """The same rows but for rounding, which training amplifies."""
    assert (stacked.status, stacked.error) == (one_by_one.status, one_by_one.error)
    assert stacked.steps == one_by_one.steps
    assert stacked.layers == one_by_one.layers
    assert stacked.parameters == one_by_one.parameters
    assert same_bits(stacked.weight_prints, one_by_one.weight_prints)
    for name, values in one_by_one.step_values.items():
        assert stacked.step_values[name] == pytest.approx(values, rel=tolerance, abs=1e-6), name
    for name, values in one_by_one.layer_values.items():
        assert np.array_equal(stacked.meaningless[name], one_by_one.meaningless[name]), name
        # In front of batch normalisation a bias has a gradient of 0 but for rounding, and moves by as little.
        absolute = 1e-4 if name in {"bias_grad_norm", "activation_mean"} else 1e-9
        found = stacked.layer_values[name]
        assert found == pytest.approx(values, rel=tolerance, abs=absolute, nan_ok=True), name
    for name, value in one_by_one.finals.items():
        assert stacked.finals[name] == pytest.approx(value, rel=tolerance, abs=1e-6), name


STACKED: dict[str, dict[str, Any]] = {
    "sigmoid": {"function": "mlp", "activation": "sigmoid"},
    "softplus": {"function": "mlp", "activation": "softplus"},
    "tanh": {"function": "mlp", "activation": "tanh"},
    "gelu": {"function": "mlp", "activation": "gelu"},
    "in place": {"function": "mlp", "activation": "relu in place"},
    "one unit": {"function": "mlp", "activation": "softplus", "width": 1},
    "batch norm": {"function": "normed", "norm": "batch"},
    "layer norm": {"function": "normed", "norm": "layer"},
    "group norm": {"function": "normed", "norm": "group"},
    "residual": {"function": "residual"},
    "tied": {"function": "tied"},
    "partly used": {"function": "partly_used"},
    "averages": {"function": "averages"},
    "parametrized": {"function": "parametrized"},
    "attention": {"function": "attention"},
    "conv1d": {"function": "conv1d", "task": IMAGES},
    "conv1d with batch norm": {"function": "conv1d", "task": IMAGES, "norm": True},
    "conv2d": {"function": "conv2d", "task": IMAGES, "train": {"batch_size": 20}},
    "conv2d with batch norm": {"function": "conv2d", "task": IMAGES, "norm": True, "train": {"batch_size": 7}},
}


@pytest.mark.parametrize("settings", STACKED.values(), ids=STACKED)
def test_a_trial_has_the_same_bits_alone_and_anywhere_in_any_stack(settings: dict[str, Any]) -> None:
    task = settings.get("task", TASK)
    trials = [custom(seed=seed, **settings) for seed in range(7)]
    for trial in trials[:2]:
        examined(trial, task)
    alone = [by_itself(trial, task) for trial in trials]
    assert len({history.finals["final_eval_loss"] for history in alone}) == 7
    for company in (trials, trials[::-1], trials[2:4], [*trials[5:], trials[0]]):
        for trial, history in zip(company, together(company, task), strict=True):
            assert bit_differences(history, alone[trials.index(trial)]) == [], trial.seed


@pytest.mark.parametrize("settings", STACKED.values(), ids=STACKED)
def test_a_stack_has_the_numbers_of_the_plain_loop(settings: dict[str, Any]) -> None:
    task = settings.get("task", TASK)
    trials = [custom(seed=seed, **settings) for seed in range(3)]
    for trial, history in zip(trials, together(trials, task), strict=True):
        is_close(history, train_custom(trial, task, HERE))


OPTIMIZERS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("function", ["mlp", "partly_used"])
def test_rates_swept_inside_a_stack_train_as_in_a_loop_of_their_own(optimizer: str, function: str) -> None:
    """A loop that is written here: what the loss doesn't reach is left alone by torch.optim, decay or not."""
    rates = [(0.01, 0.0, 0.9), (0.003, 0.1, 0.9), (0.01, 0.1, 0.5)]
    trials = [
        custom(
            function,
            seed,
            train={"optimizer": optimizer, "lr": lr, "weight_decay": decay, "momentum": momentum, "steps": 20},
        )
        for seed in (0, 1)
        for lr, decay, momentum in rates
    ]
    trials = list({trial.trial_id: trial for trial in trials}.values())
    assert len({examined(trial).structure for trial in trials}) == 1
    for trial, history in zip(trials, together(trials), strict=True):
        torch.manual_seed(trial.seed)
        model = getattr(stack_models, function)(5, 3).train()
        own = {"momentum": trial.train.momentum} if optimizer == "momentum" else {}
        updater = OPTIMIZERS[optimizer](
            model.parameters(), lr=trial.train.lr, weight_decay=trial.train.weight_decay, **own
        )
        for _, batch in zip(range(20), plain.minibatches(len(TASK.x_train), 25, trial.seed), strict=False):
            updater.zero_grad()
            loss = nn.functional.cross_entropy(model(TASK.x_train[batch]), TASK.y_train[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            updater.step()
        with torch.no_grad():
            expected = nn.functional.cross_entropy(model.eval()(TASK.x_eval), TASK.y_eval).item()
        assert history.finals["final_eval_loss"] == pytest.approx(expected, rel=1e-4)
        assert bit_differences(history, by_itself(trial)) == []


@pytest.mark.parametrize("kind", ["binary", "multilabel", "regression"])
def test_tasks(kind: Any) -> None:
    task = as_task(random_data(kind, n=160))
    trials = [custom("mlp", seed, activation="sigmoid") for seed in range(5)]
    for trial in trials:
        examined(trial, task)
    for trial, history in zip(trials, together(trials, task), strict=True):
        assert bit_differences(history, by_itself(trial, task)) == []
        is_close(history, train_custom(trial, task, HERE))


def test_running_moments_end_as_in_a_plain_loop() -> None:
    """They are what evaluation uses: a stack whose moments stood still would evaluate with 0 and 1."""
    trial = custom("normed", train={"lr": 0.0, "steps": 30})
    torch.manual_seed(trial.seed)
    model = stack_models.normed(5, 3).train()
    with torch.no_grad():
        for _, batch in zip(range(30), plain.minibatches(len(TASK.x_train), 25, trial.seed), strict=False):
            model(TASK.x_train[batch])
        expected = nn.functional.cross_entropy(model.eval()(TASK.x_eval), TASK.y_eval).item()
    (history, _) = together([trial, custom("normed", 4, train={"lr": 0.0, "steps": 30})])
    assert history.finals["final_eval_loss"] == pytest.approx(expected, rel=1e-5)


# Recording and divergence.


@pytest.mark.parametrize("function", ["normed", "averages"])
def test_recording_does_not_change_the_training(function: str) -> None:
    def stack(record: Any) -> list[TrialHistory]:
        return together([custom(function, seed, record=record, train={"optimizer": "adam"}) for seed in range(3)])

    for often, seldom in zip(stack({"every": 1, "probe": 13}), stack({"every": 1000, "probe": 13}), strict=True):
        assert len(often.steps) > len(seldom.steps)
        assert all(same_bits(value, seldom.finals[name]) for name, value in often.finals.items())
        for row, step in enumerate(seldom.steps):
            there = often.steps.index(step)
            for name, values in seldom.layer_values.items():
                assert same_bits(values[row], often.layer_values[name][there]), (step, name)


@pytest.mark.parametrize("function", ["residual", "normed"])
def test_a_trial_that_diverges_ends_there_and_its_neighbours_do_not_notice(function: str) -> None:
    trials = [
        custom(function, seed, train={"lr": lr, "steps": 40}) for seed, lr in enumerate([0.01, 1e30, 0.1, 1e30, 0.05])
    ]
    wild = [trial.train.lr > 1 for trial in trials]
    histories = together(trials)
    for trial, is_wild, history in zip(trials, wild, histories, strict=True):
        assert history.status == ("diverged" if is_wild else "completed")
        assert bit_differences(history, by_itself(trial)) == []
        if is_wild:
            assert history.steps[-1] == history.diverged_step
            assert not np.isfinite(history.step_values["train_loss"][-1])
            assert np.isfinite(history.step_values["train_loss"][:-1]).all()
            assert np.isnan(history.layer_values["update_ratio"][-1]).all()
            assert history.diverged_step == train_custom(trial, TASK, HERE).diverged_step
    quiet = [trial for trial, is_wild in zip(trials, wild, strict=True) if not is_wild]
    for trial, history in zip(quiet, together(quiet), strict=True):
        assert bit_differences(history, histories[trials.index(trial)]) == []


def test_a_diverged_step_that_was_not_due_is_recorded_like_one_that_was() -> None:
    def stack(every: int) -> list[TrialHistory]:
        record = {"every": every, "probe": 9}
        train = {"lr": 1e20, "steps": 30}
        return together([custom("normed", seed, record=record, train=train) for seed in range(3)])

    for often, seldom in zip(stack(1), stack(1000), strict=True):
        assert often.diverged_step == seldom.diverged_step is not None
        assert often.diverged_step > 0
        for name, values in often.layer_values.items():
            assert same_bits(values[-1], seldom.layer_values[name][-1]), name
        assert all(same_bits(value, seldom.finals[name]) for name, value in often.finals.items())


# Who must train alone.


KINDS = [one.__name__ for one in stack_models.Peculiar.__subclasses__() if not one.__name__.startswith("_")]
LONELY: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: ("peculiar", {"kind": kind}) for kind in KINDS if kind not in {"Scaled", "Disguised"}},
    "hooked": ("hooked", {}),
    "hooked parameter": ("hooked_parameter", {}),
    "float64": ("in_float64", {}),
    "large": ("large", {}),
    "secretive": ("secretive", {}),
    "a fused operator": ("weight_norm", {}),
}


@pytest.mark.parametrize(("function", "kwargs"), LONELY.values(), ids=LONELY)
def test_what_cannot_be_stacked_is_found_out_and_trained_one_by_one(function: str, kwargs: Any) -> None:
    trials = [custom(function, seed, train={"steps": 6, "batch_size": 64}, **kwargs) for seed in range(3)]
    with pytest.raises(NotStackableError):
        examined(trials[0])
    for trial, history in zip(trials, together(trials), strict=True):
        assert bit_differences(history, train_custom(trial, TASK, HERE)) == []


def test_why_a_model_trains_alone() -> None:
    reasons = {
        "Counts": "keeps something",
        "Clips": "changes its parameters",
        "Closes": "outside of itself",
        "Rolls": "random",
        "RollsNumpy": "random",
        "Drops": "random",
        "InPlaceInput": "input",
        "ConstantMatrix": "matrix",
        "ListsParameters": "plain PyTorch",
        "Gated": "as few as 1",
    }
    for kind, reason in reasons.items():
        with pytest.raises(NotStackableError, match=reason):
            examined(custom("peculiar", kind=kind, train={"batch_size": 64}))


def test_the_look_at_a_model_leaves_it_and_all_random_streams_as_they_are() -> None:
    for function, kwargs in (("normed", {}), ("peculiar", {"kind": "Drops"}), ("peculiar", {"kind": "RollsNumpy"})):
        trial = custom(function, **kwargs)
        model = build_model(trial, TASK, HERE)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        streams = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr,index]
        with contextlib.suppress(NotStackableError):
            examine(model, TASK.kind, TASK.x_train[:25], TASK.y_train[:25])
        assert torch.equal(torch.random.get_rng_state(), streams[0])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == streams[1:]  # type: ignore[union-attr,index]
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())


# Models of one factory that are not alike, and failures.


@pytest.mark.parametrize("function", ["by_chance", "scaled", "secretive", "disguised"])
def test_models_of_one_factory_that_differ_do_not_share_a_stack(function: str) -> None:
    trials = [custom(function, seed) for seed in range(6)]
    histories = together(trials)
    for trial, history in zip(trials, histories, strict=True):
        assert bit_differences(history, by_itself(trial)) == []
        is_close(history, train_custom(trial, TASK, HERE))
    if function == "disguised":
        assert len({examined(trial).structure for trial in trials}) == 1, "only its numbers tell it apart"
    if function == "by_chance":
        assert len({history.layers for history in histories}) == 2


def test_a_failure_is_its_trial_s_own_and_the_others_are_what_they_would_have_been() -> None:
    trials = [custom("at_times_faulty", seed) for seed in range(14)]
    histories = together(trials)
    errors = [history.error or "" for history in histories]
    assert {history.status for history in histories} == {"completed", "failed"}
    assert any("a bad draw" in error for error in errors)
    assert any("stumbled in training" in error for error in errors)
    assert all("stack_models.py:" in error for error in errors if error)
    for trial, history in zip(trials, histories, strict=True):
        assert bit_differences(history, by_itself(trial)) == []


def test_what_breaks_in_a_stack_later_on_is_trained_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [custom("mlp", seed) for seed in range(3)]
    calls = 0
    loss = example_losses

    def breaks(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 5 == 0:
            raise RuntimeError("no more")
        return loss(*arguments)

    expected = [train_custom(trial, TASK, HERE) for trial in trials]
    monkeypatch.setattr("gradlab.engine.modules.stack.example_losses", breaks)
    for history, one in zip(together(trials), expected, strict=True):
        assert bit_differences(history, one) == []


def test_a_large_group_is_cut_without_any_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [custom("mlp", seed) for seed in range(7)]
    whole = together(trials)
    for elements in (1, 1100 * 4):
        monkeypatch.setattr("gradlab.engine.modules.stack_training.STACK_ELEMENTS", elements)
        for history, expected in zip(together(trials), whole, strict=True):
            assert bit_differences(history, expected) == []


def test_progress_rises_to_one() -> None:
    trials = [*(custom("mlp", seed) for seed in range(3)), custom("peculiar", kind="Drops")]
    told: list[float] = []
    train_custom_stack(trials, TASK, HERE, told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
