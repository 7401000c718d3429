"""The oracle's whole trials against closed forms and cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradlab.config.choices import INITS
from gradlab.store import tables
from tests.oracles import known_cases
from tests.oracles.network import PlainData, build_network, loss
from tests.oracles.plain import (
    PlainHistory,
    gradient_ratio_and_decay,
    minibatches,
    plain_trial,
    train_plain,
    update_ratio,
)
from tests.oracles.samples import one_trial, random_data, trial_with, with_weights


def close(a: float | None, b: float | None, rel: float = 1e-6) -> bool:
    return a is b if a is None or b is None else a == pytest.approx(b, rel=rel, abs=1e-7)


@pytest.mark.parametrize("init", INITS)
def test_weights_are_those_of_the_same_lines_of_plain_pytorch(init: str) -> None:
    trial = one_trial(seed=7, model={"depth": 2, "width": 4, "init": init})
    torch.manual_seed(7)
    expected = [nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 3)]
    for layer in expected:
        if init != "pytorch_default":
            {
                "xavier_normal": nn.init.xavier_normal_,
                "xavier_uniform": nn.init.xavier_uniform_,
                "he_normal": lambda w: nn.init.normal_(w, 0, math.sqrt(2 / w.shape[1])),
                "he_uniform": lambda w: nn.init.uniform_(w, -math.sqrt(6 / w.shape[1]), math.sqrt(6 / w.shape[1])),
                "lecun_normal": lambda w: nn.init.normal_(w, 0, math.sqrt(1 / w.shape[1])),
                "orthogonal": nn.init.orthogonal_,
                "normal": lambda w: nn.init.normal_(w, 0, math.sqrt(1 / w.shape[1])),
            }[init](layer.weight)
            nn.init.zeros_(layer.bias)
    history = plain_trial(trial_with(trial, steps=1), random_data())
    for (weight, bias), layer in zip(history.initial_weights, expected, strict=True):
        torch.testing.assert_close(weight, layer.weight.detach(), rtol=1e-6, atol=0)
        assert torch.equal(bias, layer.bias.detach())


def test_building_leaves_the_global_random_stream_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_network(one_trial(), random_data())
    assert torch.equal(torch.rand(1), expected)


def test_cnn_residual_forward_written_out() -> None:
    data = random_data("binary", 2, 4, 3)
    trial = one_trial(model={"family": "cnn", "depth": 3, "width": 4, "activation": "tanh", "residual": True})
    network = build_network(trial, data)
    w = [(layer.weight, layer.bias) for layer in network.layers]
    h1 = torch.tanh(nn.functional.conv2d(data.x_train, *w[0], padding=1))
    h2 = h1 + torch.tanh(nn.functional.conv2d(h1, *w[1], padding=1))
    h3 = h2 + torch.tanh(nn.functional.conv2d(h2, *w[2], padding=1))
    torch.testing.assert_close(network(data.x_train), h3.flatten(2).mean(2) @ w[3][0].T + w[3][1])


def test_minibatches_cut_each_epochs_permutation_and_drop_the_rest() -> None:
    g = torch.Generator().manual_seed(5)
    first, second = torch.randperm(7, generator=g), torch.randperm(7, generator=g)
    found = minibatches(7, 3, seed=5)
    for expected in (first[:3], first[3:6], second[:3]):
        assert torch.equal(next(found), expected)
    small = next(minibatches(4, 100, seed=5))
    assert sorted(small.tolist()) == [0, 1, 2, 3]


def test_the_two_layers_worked_out_by_hand() -> None:
    case = known_cases.two_layers_by_hand()
    trial = one_trial(**case.settings)
    history = train_plain(with_weights(build_network(trial, case.data), case.weights), trial, case.data)
    for number, expected in enumerate(case.layers, start=1):
        row = history.at(0, number)
        assert {key: row[key] for key, value in expected.items() if not close(row[key], value)} == {}
    assert {key: value for key, value in case.step.items() if not close(history.steps[0][key], value)} == {}
    assert history.trial["gradient_ratio"] == 1.0
    assert history.trial["gradient_decay"] is None
    assert history.trial["parameters"] == 9
    (weight, _), output = history.initial_weights[0], case.weights[1][0]
    assert torch.equal(weight, case.weights[0][0])
    assert output.shape == (1, 2)


def test_orthogonal_linear_network_keeps_delta() -> None:
    trial = one_trial(**known_cases.orthogonal_linear(12, 6), train={"steps": 1, "batch_size": 16})
    history = plain_trial(trial, random_data())
    deltas = [row["delta_rms"] for row in history.layers]
    assert deltas == pytest.approx([deltas[-1]] * 13, rel=1e-5)
    assert history.trial["gradient_ratio"] == pytest.approx(1, rel=1e-5)
    assert history.trial["gradient_decay"] == pytest.approx(1, rel=1e-6)


def test_zero_weights_give_ln_k_and_no_gradient_below_the_output() -> None:
    history = plain_trial(one_trial(**known_cases.zero_weights(3, 5), train={"steps": 1}), random_data())
    assert history.steps[0]["train_loss"] == pytest.approx(math.log(3))
    assert [row["zero_gradient_units"] for row in history.layers] == [5, 5, 5, None]
    assert [row["dead_units"] for row in history.layers] == [0, 0, 0, None]
    assert [row["log10_weight_grad_norm"] for row in history.layers] == [None] * 4
    assert [row["update_ratio"] for row in history.layers] == [None] * 4
    assert history.layers[-1]["bias_grad_norm"] > 0
    assert history.trial["gradient_ratio"] is None
    assert history.trial["gradient_decay"] is None


@pytest.mark.parametrize("family", ["mlp", "cnn"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_dead_layer_cuts_off_everything_below(family: str, layer: int) -> None:
    data = random_data("multiclass", *((2, 3, 3) if family == "cnn" else (4,)))
    trial = one_trial(model={"family": family, "depth": 3, "width": 8}, train={"steps": 1, "batch_size": 16})
    network = build_network(trial, data)
    nn.init.constant_(network.layers[layer - 1].bias, known_cases.DEAD_BIAS)
    history = train_plain(network, trial, data)
    for number, expected in enumerate(known_cases.dead_layer(layer, 3, 8), start=1):
        row = history.at(0, number)
        assert {key: row[key] for key in expected} == expected
    assert history.trial["dead_fraction"] >= 1 / 3
    assert history.trial["gradient_ratio"] == (None if layer == 3 else 0.0)


def test_float32_loses_one_saturated_unit() -> None:
    trial = one_trial(model={"depth": 1, "width": 4, "activation": "sigmoid"}, train={"steps": 1})
    network = build_network(trial, random_data())
    with torch.no_grad():
        network.layers[0].bias[2] = 200.0  # phi' is about e^-200: nothing in float32
    row = train_plain(network, trial, random_data()).at(0, 1)
    assert (row["float32_zero_fraction"], row["saturated_fraction"]) == (1 / 4, 1 / 4)
    assert (row["dead_units"], row["zero_gradient_units"]) == (0, 0)


def test_one_dead_unit_and_one_that_nothing_reads() -> None:
    data = random_data()
    trial = one_trial(model={"depth": 2, "width": 4, "activation": "tanh"}, train={"steps": 1}, record={"probe": 5})
    network = build_network(trial, data)
    nn.init.zeros_(network.layers[1].weight[:, 2])
    row = train_plain(network, trial, data).at(0, 1)
    assert (row["dead_units"], row["zero_gradient_units"]) == (0, 1)

    relu = one_trial(model={"depth": 2, "width": 4, "residual": True}, train={"steps": 1}, record={"probe": 5})
    network = build_network(relu, data)
    nn.init.constant_(network.layers[0].bias, 50.0)
    with torch.no_grad():
        network.layers[0].bias[1] = known_cases.DEAD_BIAS
    row = train_plain(network, relu, data).at(0, 1)
    assert (row["dead_units"], row["zero_gradient_units"]) == (1, 1)
    assert row["saturated_fraction"] == 1 / 4


@pytest.mark.parametrize(("slope", "share"), [(0.01, 0.0), (0.0099, 1.0)])
def test_saturation_is_strictly_below_a_hundredth(slope: float, share: float) -> None:
    activation = {"name": "leaky_relu", "negative_slope": slope}
    trial = one_trial(model={"depth": 1, "width": 4, "activation": activation}, train={"steps": 1})
    network = build_network(trial, random_data())
    nn.init.constant_(network.layers[0].bias, known_cases.DEAD_BIAS)
    row = train_plain(network, trial, random_data()).at(0, 1)
    assert (row["saturated_fraction"], row["dead_units"]) == (share, 0)


def test_batch_norm_evaluates_with_the_statistics_of_earlier_minibatches() -> None:
    data = random_data("regression", 5, outputs=2)
    model = {"depth": 1, "width": 4, "activation": "linear", "norm": "batch"}
    trial = one_trial(model=model, train={"steps": 2, "lr": 0.0, "batch_size": 16}, record={"every": 1})
    history = plain_trial(trial, data)
    (w1, b1), (w2, b2) = history.initial_weights
    seen = data.x_train @ w1.T + b1  # one batch is the whole training split
    mean, variance = torch.zeros(4), torch.ones(4)
    for step in range(2):
        z = data.x_eval @ w1.T + b1
        output = (z - mean) / torch.sqrt(variance + 1e-5) @ w2.T + b2
        assert history.steps[step]["eval_loss"] == pytest.approx(float(((output - data.y_eval) ** 2).mean()), rel=1e-5)
        mean, variance = 0.9 * mean + 0.1 * seen.mean(0), 0.9 * variance + 0.1 * seen.var(0, unbiased=True)
    assert history.trial["parameters"] == 5 * 4 + 4 + 4 * 2 + 2 + 2 * 4


def test_records_stand_at_multiples_and_the_last_step() -> None:
    trial = one_trial(model={"depth": 1, "width": 3}, train={"steps": 6}, record={"every": 4})
    history = plain_trial(trial, random_data())
    assert [row["step"] for row in history.steps] == [0, 4, 5]
    assert [(row["step"], row["layer"]) for row in history.layers] == [(s, k) for s in (0, 4, 5) for k in (1, 2)]


def test_rows_have_the_declared_columns() -> None:
    history = plain_trial(one_trial(train={"steps": 1}, model={"depth": 2}), random_data())
    assert set(history.layers[0]) == set(history.layers[-1]) == set(tables.LAYERS)
    assert set(history.steps[0]) == set(tables.STEPS)
    assert set(history.trial) == set(tables.TRIALS) - {"run", "predicted_gradient_decay", "diagnosis"}


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw", "rmsprop"])
def test_first_update_by_the_optimizers_formula(optimizer: str) -> None:
    lr, decay = 0.01, 0.1
    model = {"depth": 1, "width": 4, "activation": "tanh"}
    train = {"steps": 1, "optimizer": optimizer, "lr": lr, "weight_decay": decay, "batch_size": 16}
    data = random_data()
    trial = one_trial(model=model, train=train)
    weight = build_network(trial, data).double().layers[0].weight.detach()
    network = build_network(trial, data).double()
    loss(data.task, network(data.x_train.double()), data.y_train).backward()
    grad = network.layers[0].weight.grad
    coupled = grad + decay * weight
    change = {
        "sgd": lr * coupled,
        "momentum": lr * coupled,
        "adam": lr * coupled / (coupled.abs() + 1e-8),
        "adamw": lr * decay * weight + lr * grad / (grad.abs() + 1e-8),
        "rmsprop": lr * coupled / (0.1 * coupled.abs() + 1e-8),
    }[optimizer]
    expected = float(change.norm() / weight.norm())
    assert plain_trial(trial, data).at(0, 1)["update_ratio"] == pytest.approx(expected, rel=1e-4)


def test_learning_brings_the_loss_down() -> None:
    x = torch.linspace(-1, 1, 32)[:, None]
    data = PlainData(x, 3 * x - 1, x, 3 * x - 1, "regression")
    trial = one_trial(model={"depth": 1, "width": 8, "activation": "linear"}, train={"steps": 200, "lr": 0.05})
    summary = plain_trial(trial, data).trial
    assert summary["status"] == "completed"
    assert summary["final_train_loss"] < 1e-4
    assert summary["final_eval_metric"] == pytest.approx(1, abs=1e-4)


def test_divergence_is_recorded_where_it_happens_and_ends_the_trial() -> None:
    train = {"steps": 100, "lr": 1e6, "batch_size": 16}
    trial = one_trial(model={"depth": 3, "width": 8, "activation": "linear"}, train=train, record={"every": 50})
    history = plain_trial(trial, random_data("regression"))
    end = history.trial["diverged_step"]
    assert history.trial["status"] == "diverged"
    assert 0 < end < 50
    assert [row["step"] for row in history.steps] == [0, end]
    assert not math.isfinite(history.steps[-1]["train_loss"])
    assert [row["update_ratio"] for row in history.layers if row["step"] == end] == [None] * 4


def test_a_nan_is_counted_in_every_gradient_that_it_reaches() -> None:
    trial = one_trial(model={"depth": 2, "width": 4}, train={"steps": 5})
    network = build_network(trial, random_data())
    with torch.no_grad():
        network.layers[0].weight[0, 0] = math.nan
    history = train_plain(network, trial, random_data())
    assert history.trial["diverged_step"] == 0
    assert math.isnan(history.steps[0]["eval_metric"])
    assert [row["non_finite"] for row in history.layers[1:]] == [16, 12]
    assert math.isnan(history.at(0, 2)["weight_grad_norm"])
    assert history.at(0, 2)["dead_units"] == 0


def test_ratio_and_decay_in_the_corner_cases() -> None:
    assert gradient_ratio_and_decay([-3.0, 7.0, -1.0]) == (pytest.approx(1e-2), pytest.approx(1e-1))
    assert gradient_ratio_and_decay([-4.0]) == (1.0, None)
    assert gradient_ratio_and_decay([None, None]) == (None, None)
    assert gradient_ratio_and_decay([None, -2.0]) == (0.0, 0.0)
    assert gradient_ratio_and_decay([-2.0, None]) == (math.inf, math.inf)
    ratio, decay = gradient_ratio_and_decay([-400.0, *[0.0] * 400])
    assert (ratio, decay) == (0.0, pytest.approx(0.1))
    assert gradient_ratio_and_decay([400.0, *[0.0] * 400]) == (math.inf, pytest.approx(10))


def test_update_ratio_of_zero_weights() -> None:
    zero, one = torch.zeros(2), torch.ones(2)
    assert update_ratio(zero, zero) is None
    assert update_ratio(zero, one) == math.inf
    assert update_ratio(one, one) == 0.0


def test_the_same_trial_twice_is_the_same_history() -> None:
    def run() -> PlainHistory:
        return plain_trial(one_trial(model={"depth": 2, "width": 4}, train={"steps": 3}), random_data())

    assert run().layers == run().layers
