"""The engine against closed forms: numbers that anybody can check by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gradlab.config.sweep import Trial
from gradlab.engine import layout
from gradlab.engine.quantiles import LEVELS
from tests.engine.comparison import as_task
from tests.engine.stacking import alone
from tests.oracles.known_cases import DEAD_BIAS, orthogonal_linear, two_layers_by_hand
from tests.oracles.samples import one_trial, random_data


def with_weights(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Let every trial start from `change(the weights that it would have drawn)`."""
    drawn = layout.draw_weights

    def changed(trial: Trial, in_features: int, out_features: int) -> list[tuple[Tensor, Tensor]]:
        return list(change(drawn(trial, in_features, out_features)))

    monkeypatch.setattr(layout, "draw_weights", changed)


def test_two_layers_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    case = two_layers_by_hand()
    with_weights(monkeypatch, lambda _drawn: case.weights)
    history = alone(one_trial(**case.settings), as_task(case.data))
    for name, expected in case.step.items():
        assert history.step_values[name][0] == pytest.approx(expected, rel=1e-6), name
    for index, layer in enumerate(case.layers):
        info = history.layers[index]
        assert (info.units, info.weight_count) == (layer["units"], layer["weight_count"])
        for name in history.layer_values.keys() - LEVELS.keys():  # quantiles are numpy's: test_quantiles
            values = history.layer_values[name]
            if layer[name] is None:
                assert history.meaningless[name][index], name
            else:
                # The update itself is float32's, whose last digit is 1e-7 of the weight.
                absolute = 1e-7 if name == "update_ratio" else 0.0
                assert values[0, index] == pytest.approx(layer[name], rel=1e-6, abs=absolute), name


@pytest.mark.parametrize(("depth", "width"), [(2, 3), (10, 16), (100, 8)])
def test_orthogonal_weights_keep_the_deltas_of_a_linear_network(depth: int, width: int) -> None:
    trial = one_trial(**orthogonal_linear(depth, width))
    task = as_task(random_data("regression", width, outputs=width))
    deltas = alone(trial, task).layer_values["delta_rms"][0]
    assert deltas == pytest.approx([deltas[-1]] * (depth + 1), rel=1e-5)


@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_relu_with_biases_of_minus_a_million_is_dead_everywhere(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(drawn: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        return [(weight, torch.full_like(bias, DEAD_BIAS)) for weight, bias in drawn[:-1]] + drawn[-1:]

    with_weights(monkeypatch, kill)
    data = random_data("multiclass", 2, 4, 4) if family == "cnn" else random_data()
    model = {"family": family, "depth": 4, "width": 5, "activation": "relu"}
    values = alone(one_trial(model=model, train={"steps": 3, "batch_size": 4}), as_task(data)).layer_values
    for name, expected in {
        "dead_units": 5,
        "zero_gradient_units": 5,
        "saturated_fraction": 1,
        "weight_grad_norm": 0,
        "delta_rms": 0,
        "float32_zero_fraction": 0,
        "activation_rms": 0,
        "update_ratio": 0,
    }.items():
        assert (values[name][:, :4] == expected).all(), name
    assert DEAD_BIAS == -1e6
