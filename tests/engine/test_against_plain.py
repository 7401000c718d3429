"""Every trial of the stacked engine equals a plain PyTorch script."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gradlab.config.choices import ACTIVATIONS, INITS
from gradlab.config.sweep import Trial
from gradlab.engine.initialise import draw_weights
from tests.engine.comparison import differences, train_stacked
from tests.oracles.network import PlainData
from tests.oracles.plain import plain_trial
from tests.oracles.samples import one_trial, random_data

RECORD = {"every": 10, "probe": 13}


def trial(seed: int = 3, *, model: dict[str, Any] | None = None, train: dict[str, Any] | None = None) -> Trial:
    settings = {"depth": 3, "width": 7, **(model or {})}
    return one_trial(seed=seed, model=settings, train={"steps": 21, "batch_size": 6, **(train or {})}, record=RECORD)


def assert_equal(trials: list[Trial], data: Any) -> None:
    histories = train_stacked(trials, data)
    for one in trials:
        plain, history = plain_trial(one, data), histories[one.trial_id]
        assert differences(history, plain, [0], 1e-4) == []
        assert differences(history, plain, [10, 20], 1e-2) == []
        assert sum(history.parameters.values()) == plain.trial["parameters"]
        for name, value in history.finals.items():
            assert value == pytest.approx(plain.trial[name], rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("family", ["mlp", "cnn"])
@pytest.mark.parametrize("init", list(INITS))
def test_weights_at_step_0_are_those_of_plain_pytorch_bit_for_bit(family: str, init: str) -> None:
    data = random_data("multiclass", 2, 4, 4) if family == "cnn" else random_data()
    parameters = {"sigma_w": 1.5, "sigma_b": 0.3} if init == "normal" else {}
    one = trial(model={"family": family, "init": {"name": init, **parameters}})
    expected = plain_trial(one, data).initial_weights
    drawn = draw_weights(one, 2 if family == "cnn" else 5, 3)
    assert len(drawn) == len(expected) == 4
    for (weight, bias), (expected_weight, expected_bias) in zip(drawn, expected, strict=True):
        assert torch.equal(weight, expected_weight)
        assert torch.equal(bias, expected_bias)


def test_all_activations_of_several_depths_and_seeds_in_one_stack() -> None:
    trials = [
        trial(seed, model={"activation": activation, "depth": depth})
        for seed, depth in ((0, 1), (1, 3), (2, 5))
        for activation in ACTIVATIONS
    ]
    assert_equal(trials, random_data())


def test_activations_with_parameters() -> None:
    settings = [
        {"name": "leaky_relu", "negative_slope": 0.2},
        {"name": "leaky_relu", "negative_slope": 0.0},
        {"name": "elu", "alpha": 0.5},
        {"name": "softplus", "beta": 3.0},
        {"name": "hardtanh", "min_val": -0.3, "max_val": 0.5},
    ]
    assert_equal([trial(model={"activation": setting}) for setting in settings], random_data())


def test_all_inits_in_one_stack() -> None:
    names = [*INITS, {"name": "normal", "sigma_w": 1.7, "sigma_b": 0.2}, {"name": "normal", "sigma_w": 0.0}]
    assert_equal([trial(model={"init": init, "activation": "tanh"}) for init in names], random_data())


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw", "rmsprop"])
def test_optimizers_mean_torch_optim_with_each_trial_s_own_settings(optimizer: str) -> None:
    trials = [
        trial(seed, train={"optimizer": optimizer, "lr": lr, "weight_decay": decay}, model={"depth": depth})
        for seed, lr, decay, depth in ((0, 0.01, 0.0, 3), (1, 0.003, 0.1, 3), (2, 0.01, 0.0, 2), (3, 0.003, 0.1, 4))
    ]
    assert_equal(trials, random_data())


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel", "regression"])
@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_tasks(task: Any, family: str) -> None:
    shape = (2, 4, 5) if family == "cnn" else (5,)
    data = random_data(task, *shape, outputs=3)
    assert_equal([trial(model={"family": family, "activation": "tanh", "depth": 2})], data)


@pytest.mark.parametrize("family", ["mlp", "cnn"])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("residual", [False, True])
def test_norms_and_residual_connections(family: str, norm: str, residual: bool) -> None:
    shape = (2, 4, 4) if family == "cnn" else (5,)
    trials = [
        trial(model={"family": family, "norm": norm, "residual": residual, "depth": depth, "activation": activation})
        for depth, activation in ((3, "relu"), (2, "tanh"), (3, "hardtanh"))
    ]
    assert_equal(trials, random_data("multiclass", *shape))


def test_a_training_set_smaller_than_a_batch_is_one_batch() -> None:
    assert_equal([trial(train={"batch_size": 100})], random_data())


def trials_with_cut_off_units(activation: str, family: str, norm: str) -> tuple[list[Trial], PlainData]:
    init = {"name": "normal", "sigma_w": 1.0, "sigma_b": 3.0}
    model = {"family": family, "activation": activation, "init": init, "norm": norm, "width": 3, "depth": 6}
    data = random_data("multiclass", *((2, 4, 4) if family == "cnn" else (5,)))
    return [trial(seed, model=model) for seed in range(6)], data


@pytest.mark.parametrize("activation", ["relu", "hardtanh"])
@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_dead_and_cut_off_units_are_counted_exactly(activation: str, family: str) -> None:
    trials, data = trials_with_cut_off_units(activation, family, "none")
    histories = train_stacked(trials, data)
    assert any(history.layer_values["dead_units"][0, :-1].any() for history in histories.values())
    for one in trials:
        assert differences(histories[one.trial_id], plain_trial(one, data), [0], 1e-4) == []


@pytest.mark.parametrize("activation", ["relu", "hardtanh"])
@pytest.mark.parametrize("family", ["mlp", "cnn"])
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_cut_off_units_of_normalised_layers_are_counted_exactly(activation: str, family: str, norm: str) -> None:
    trials, data = trials_with_cut_off_units(activation, family, norm)
    histories = train_stacked(trials, data)
    for one in trials:
        found = differences(histories[one.trial_id], plain_trial(one, data), [0], 1e-4)
        assert [line for line in found if "_units" in line] == []


def test_sigmoid_at_depth_200_in_logarithms() -> None:
    one = trial(model={"activation": "sigmoid", "depth": 200, "width": 8}, train={"steps": 1})
    data = random_data()
    history, plain = train_stacked([one], data)[one.trial_id], plain_trial(one, data)
    for index in range(201):
        expected = plain.at(0, index + 1)
        for name in ("log10_weight_grad_norm", "log10_delta_rms"):
            assert history.layer_values[name][0, index] == pytest.approx(expected[name], abs=1e-6)
    assert history.layer_values["log10_delta_rms"][0, 0] < -120
    assert history.layer_values["float32_zero_fraction"][0, 0] == 1.0


def test_far_below_float64_s_range() -> None:
    init = {"name": "normal", "sigma_w": 0.01, "sigma_b": 1.0}
    one = trial(model={"activation": "sigmoid", "depth": 150, "init": init}, train={"steps": 1})
    data = random_data()
    history, plain = train_stacked([one], data)[one.trial_id], plain_trial(one, data)
    expected = [plain.at(0, layer)["log10_weight_grad_norm"] for layer in range(1, 152)]
    assert history.layer_values["log10_weight_grad_norm"][0] == pytest.approx(expected, abs=1e-6)
    assert expected[0] < -350
    assert history.layer_values["weight_grad_norm"][0, 0] == 0.0


def test_in_the_chaotic_phase_where_float32_forgets_its_input() -> None:
    init = {"name": "normal", "sigma_w": 3.0, "sigma_b": 0.1}
    one = trial(model={"activation": "tanh", "depth": 30, "width": 32, "init": init}, train={"steps": 1})
    data = random_data()
    history, plain = train_stacked([one], data)[one.trial_id], plain_trial(one, data)
    expected = [plain.at(0, layer)["weight_grad_norm"] for layer in range(1, 32)]
    assert history.layer_values["weight_grad_norm"][0] == pytest.approx(expected, rel=1e-4)
