"""Custom models against the built-in engine, and what user code does to a trial."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gradlab.config.choices import ACTIVATIONS
from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.engine.initialise import draw_weights
from gradlab.engine.modules.building import build_model
from gradlab.engine.modules.stack_training import train_custom_stack
from gradlab.engine.modules.training import train_custom
from gradlab.engine.quantiles import LEVELS
from gradlab.engine.stacks import Part, Stack
from gradlab.engine.tasks import Task, example_losses
from gradlab.engine.work import Workshop
from gradlab.errors import SettingError
from tests.engine.comparison import COUNTS, as_task
from tests.engine.modules import custom_models
from tests.engine.stacking import alone, bit_differences, same_bits
from tests.oracles import plain
from tests.oracles.samples import one_trial, random_data

HERE = Path(__file__).parent
TRAIN = {"steps": 9, "batch_size": 6}
RECORD = {"every": 4, "probe": 13}

TASK = as_task(random_data())


def custom(function: str, seed: int = 3, *, record: Any = None, train: Any = None, **kwargs: Any) -> Trial:
    model = {"family": "custom", "factory": f"custom_models.py:{function}", "kwargs": kwargs}
    return one_trial(seed=seed, model=model, train={**TRAIN, **(train or {})}, record=record or RECORD)


def built_in(seed: int = 3, *, train: Any = None, **model: Any) -> Trial:
    return one_trial(seed=seed, model=model, train={**TRAIN, **(train or {})}, record=RECORD)


def run(trial: Trial, task: Task = TASK) -> TrialHistory:
    return train_custom(trial, task, HERE)


def assert_twins(own: TrialHistory, engines: TrialHistory) -> None:
    """The same rows: counts exactly, statistics to 1e-4 at step 0 and within 1 % later."""
    assert own.steps == engines.steps
    assert own.parameters == engines.parameters
    assert own.never_zero == engines.never_zero
    assert [(one.units, one.weight_count) for one in own.layers] == [
        (one.units, one.weight_count) for one in engines.layers
    ]
    for row, step in enumerate(own.steps):
        tolerance = 1e-4 if step == 0 else 1e-2
        for name, values in engines.step_values.items():
            assert own.step_values[name][row] == pytest.approx(values[row], rel=tolerance, abs=1e-7), (step, name)
        for name, values in engines.layer_values.items():
            meaningless = engines.meaningless_in(name)[row]
            assert np.array_equal(own.meaningless_in(name)[row], meaningless), name
            found, expected = own.layer_values[name][row][~meaningless], values[row][~meaningless]
            close = 0.0 if name in COUNTS else tolerance
            least = 1e-6 if name in LEVELS else 1e-12 if close else 0.0
            assert found == pytest.approx(expected, rel=close, abs=least, nan_ok=True), (step, name)
    for name, value in engines.finals.items():
        assert own.finals[name] == pytest.approx(value, rel=1e-2, abs=1e-6), name


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "relu in place"])
def test_an_mlp_has_the_rows_of_its_built_in_twin(activation: str) -> None:
    settings: dict[str, Any] = {"depth": 3, "width": 7}
    own = custom("mlp", activation=activation, **settings)
    twin = built_in(activation=activation.removesuffix(" in place"), **settings)
    model = build_model(own, TASK, HERE)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    for layer, (weight, bias) in zip(layers, draw_weights(twin, 5, 3), strict=True):
        assert torch.equal(layer.weight, weight)
        assert torch.equal(layer.bias, bias)
    assert_twins(run(own), alone(twin, TASK))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw", "rmsprop"])
def test_optimizers_and_their_settings(optimizer: str) -> None:
    train = {"optimizer": optimizer, "lr": 0.01, "weight_decay": 0.1, "momentum": 0.5}
    own = custom("mlp", depth=2, width=6, activation="tanh", train=train)
    assert_twins(run(own), alone(built_in(depth=2, width=6, activation="tanh", train=train), TASK))


@pytest.mark.parametrize("kind", ["binary", "multilabel", "regression"])
def test_tasks(kind: Any) -> None:
    task = as_task(random_data(kind))
    own = run(custom("mlp", depth=2, width=6, activation="elu"), task)
    assert_twins(own, alone(built_in(depth=2, width=6, activation="elu"), task))


@pytest.mark.parametrize("activation", ["relu in place", "silu"])
def test_a_convolutional_network(activation: str) -> None:
    task = as_task(random_data("multiclass", 2, 4, 5))
    own = custom("cnn", channels=2, depth=2, width=4, activation=activation)
    twin = built_in(family="cnn", depth=2, width=4, activation=activation.removesuffix(" in place"))
    assert_twins(run(own, task), alone(twin, task))


def test_batch_norm() -> None:
    own = custom("mlp", depth=2, width=6, activation="relu", norm=True)
    history, twin = run(own), alone(built_in(depth=2, width=6, activation="relu", norm="batch"), TASK)
    # A bias in front of batch norm has a gradient of 0 but for rounding.
    history.layer_values["bias_grad_norm"][:, :-1] = twin.layer_values["bias_grad_norm"][:, :-1] = 0.0
    assert_twins(history, twin)


def test_dead_units_are_counted_exactly() -> None:
    settings: dict[str, Any] = {"depth": 4, "width": 3}
    counted = 0
    for seed in range(12):
        own = run(custom("mlp", seed, activation="relu in place", train={"lr": 1.0}, **settings))
        twin = alone(built_in(seed, activation="relu", train={"lr": 1.0}, **settings), TASK)
        for name in ("dead_units", "zero_gradient_units"):
            assert own.layer_values[name][0].tolist()[:-1] == twin.layer_values[name][0].tolist()[:-1]
        counted += int(own.layer_values["zero_gradient_units"][0, :-1].sum())
    assert counted > 0


# What the model does while it is recorded.


@pytest.mark.parametrize("function", ["dropout", "batch_norm", "shared", "remembers"])
def test_recording_does_not_change_the_training(function: str) -> None:
    often, seldom, other_probe = (
        run(custom(function, record=record, train={"optimizer": "adam", "lr": 0.01, "steps": 20}))
        for record in ({"every": 1, "probe": 512}, {"every": 1000, "probe": 512}, {"every": 7, "probe": 2})
    )
    assert often.error is None
    for name, value in often.finals.items():
        assert same_bits(value, seldom.finals[name])
    assert same_bits(often.finals["final_eval_loss"], other_probe.finals["final_eval_loss"])
    for row, step in enumerate(seldom.steps):
        there = often.steps.index(step)
        for name, values in seldom.layer_values.items():
            assert same_bits(values[row], often.layer_values[name][there]), (step, name)
        for name, values in seldom.step_values.items():
            assert same_bits(values[row], often.step_values[name][there]), (step, name)


def test_training_is_that_of_a_plain_loop_with_the_same_dropout() -> None:
    trial = custom("dropout", train={"steps": 15})
    torch.manual_seed(trial.seed)
    model = custom_models.dropout(5, 3).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.train.lr)
    gradient_norms = []
    for _, batch in zip(range(15), plain.minibatches(len(TASK.x_train), 6, trial.seed), strict=False):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(TASK.x_train[batch]), TASK.y_train[batch]).backward()  # type: ignore[no-untyped-call]
        gradient_norms.append([model[index].weight.grad.norm().item() for index in (0, 3, 5)])  # type: ignore[index,union-attr,operator]
        optimizer.step()
    model.eval()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model(TASK.x_eval), TASK.y_eval).item()
    history = run(trial)
    assert history.finals["final_eval_loss"] == pytest.approx(expected, rel=1e-6)
    # What is recorded is the gradient under the very mask that training drew, although measured in float64.
    for row, step in enumerate(history.steps):
        assert history.layer_values["weight_grad_norm"][row] == pytest.approx(gradient_norms[step], rel=1e-4)


def test_the_same_trial_has_the_same_bits_again_and_leaves_the_callers_stream_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = run(custom("dropout"))
    assert torch.equal(torch.rand(3), expected)
    assert bit_differences(first, run(custom("dropout"))) == []
    assert bit_differences(first, run(custom("dropout", 4))) != []


def test_a_trial_that_diverges_is_recorded_with_the_moments_in_front_of_that_step() -> None:
    often, seldom = (run(custom("explodes", record={"every": every, "probe": 9})) for every in (1, 1000))
    assert often.diverged_step == seldom.diverged_step == 0
    assert bit_differences(often, seldom) == []
    own = run(custom("mlp", depth=2, width=6, activation="linear", train={"lr": 1e3, "steps": 30}))
    twin = alone(built_in(depth=2, width=6, activation="linear", train={"lr": 1e3, "steps": 30}), TASK)
    assert own.diverged_step == twin.diverged_step is not None
    assert own.status == "diverged"
    assert np.isnan(own.layer_values["update_ratio"][-1]).all()


def test_a_diverged_step_that_was_not_due_is_recorded_like_one_that_was() -> None:
    train = {"lr": 1e20, "steps": 30}
    often, seldom = (run(custom("batch_norm", record={"every": e, "probe": 9}, train=train)) for e in (1, 1000))
    assert often.diverged_step == seldom.diverged_step is not None
    assert often.diverged_step > 0
    for name, values in often.step_values.items():
        assert same_bits(values[-1], seldom.step_values[name][-1]), name
    for name, values in often.layer_values.items():
        assert same_bits(values[-1], seldom.layer_values[name][-1]), name
    assert all(same_bits(value, seldom.finals[name]) for name, value in often.finals.items())


# What counts as a layer, and as its activation.


def test_layers_stand_in_the_order_of_their_first_use_and_unused_ones_nowhere() -> None:
    history = run(custom("unordered"))
    assert [info.name for info in history.layers] == ["first", "middle", "last"]
    assert [info.units for info in history.layers] == [6, 4, 3]
    assert sum(history.parameters.values()) == sum(p.numel() for p in custom_models.unordered(3).parameters())


def test_where_no_activation_module_follows_there_is_nothing_to_say_about_it() -> None:
    history = run(custom("unordered"))
    for name in ("dead_units", "saturated_fraction"):
        assert history.meaningless[name].tolist() == [False, True, True]
    assert history.meaningless["weight_grad_norm"].tolist() == [False, False, False]
    assert history.meaningless["preactivation_rms"].tolist() == [False, False, False]


def test_a_shared_layer_has_the_gradient_of_all_its_uses() -> None:
    trial = custom("shared")
    history = run(trial)
    assert [(info.name, info.units) for info in history.layers] == [("inner", 5), ("output", 3)]
    model = build_model(trial, TASK, HERE).double()
    batch = next(plain.minibatches(len(TASK.x_train), 6, trial.seed))
    z: list[Any] = []
    inner: Any = model.inner

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        z.append(output)

    inner.register_forward_hook(keep)
    output = model(TASK.x_train[batch].double())
    losses = example_losses("multiclass", output[None], TASK.y_train[batch][None])[0]
    losses.mean().backward()  # type: ignore[no-untyped-call]
    assert history.layer_values["weight_grad_norm"][0, 0] == pytest.approx(inner.weight.grad.norm().item(), rel=1e-6)
    squares = sum(float((6 * one.grad).square().sum()) for one in z)
    assert history.layer_values["delta_rms"][0, 0] == pytest.approx(math.sqrt(squares / 6), rel=1e-6)
    model(TASK.x_train[:13].double())
    seen = torch.cat(z[2:]).detach()
    assert history.layer_values["preactivation_rms"][0, 0] == pytest.approx(seen.square().mean().sqrt().item())
    assert history.layer_values["activation_rms"][0, 0] == pytest.approx(seen.tanh().square().mean().sqrt().item())
    assert not history.meaningless["saturated_fraction"][0]


def test_a_placeholder_is_not_taken_for_the_activation() -> None:
    history = run(custom("with_placeholder", bias=-1e6))
    assert history.layer_values["dead_units"][0, 0] == 4
    assert history.layer_values["saturated_fraction"][0, 0] == 1.0
    assert not history.never_zero


def test_a_frozen_layer_is_measured_and_not_moved() -> None:
    history = run(custom("frozen"))
    assert history.layer_values["weight_grad_norm"][0, 0] > 0
    assert (history.layer_values["update_ratio"][:, 0] == 0).all()
    assert (history.layer_values["update_ratio"][:, 1:] > 0).all()
    assert len(set(history.layer_values["weight_norm"][:, 0])) == 1
    trainable = sum(p.numel() for p in custom_models.frozen(5, 3).parameters() if p.requires_grad)
    assert sum(history.parameters.values()) == trainable


def test_lazy_layers_take_their_size_from_the_data_or_are_refused_by_name() -> None:
    try:
        history = run(custom("lazy"))
    except SettingError as error:
        refusal = str(error)
        assert "lazy" in refusal.lower()
    else:
        assert [(info.units, info.weight_count) for info in history.layers] == [(6, 30), (3, 18)]
        assert sum(history.parameters.values()) == 30 + 6 + 18 + 3


def test_sizes_reach_only_factories_that_ask_for_them_and_kwargs_win() -> None:
    assert run(custom("shared")).error is None
    with pytest.raises(SettingError, match="shape"):
        run(custom("mlp", in_features=4, depth=1, width=2, activation="relu"))


@pytest.mark.parametrize(
    ("function", "kwargs", "message"),
    [
        ("wrong_shape", {}, "[2, 7]"),
        ("no_parameters", {}, ""),
        ("all_frozen", {}, "trainable"),
        ("wrong_input", {}, "shape"),
        ("no_module", {}, "list"),
        ("raising", {}, "out of milk"),
        ("returns_a_tuple", {}, "tuple"),
        ("nowhere", {}, "nowhere"),
        ("dropout", {"depth": 3}, "depth"),
    ],
)
def test_models_that_cannot_be_used_are_errors_of_the_setting(function: str, kwargs: Any, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        run(custom(function, **kwargs))
    assert caught.value.setting == "model.factory"
    assert message in str(caught.value)


def test_a_fault_in_training_fails_its_trial_and_no_other() -> None:
    faulty, sound = custom("fails_in_training"), custom("shared")
    shop = Workshop(defaultdict(lambda: TASK), {}, HERE)
    part = Part("part", (Stack((faulty,)), Stack((sound,))), 1.0)
    failed, completed = shop.run(part)
    assert (failed.trial_id, failed.status, failed.steps) == (faulty.trial_id, "failed", ())
    assert failed.error is not None
    assert "not today" in failed.error
    assert "custom_models.py" in failed.error
    assert completed.status == "completed"
    (expected,) = train_custom_stack([sound], TASK, HERE)
    assert bit_differences(completed, expected) == []
