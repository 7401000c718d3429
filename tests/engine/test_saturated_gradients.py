"""Gradients through units and outputs so saturated that 1 - y is 0 in float64 although phi' is not.

The plain twin follows them: its phi' comes from z itself and its d loss / d output is written out.
"""

from __future__ import annotations

from typing import Any

import pytest

from gradlab.config.sweep import Trial
from tests.engine.comparison import as_task, differences
from tests.engine.stacking import stacked
from tests.oracles.plain import plain_trial
from tests.oracles.samples import one_trial, random_data


def trials(*, sigma_w: float, sigma_b: float, count: int, batch: int, **model: Any) -> list[Trial]:
    init = {"name": "normal", "sigma_w": sigma_w, "sigma_b": sigma_b}
    return [
        one_trial(
            seed=seed,
            model={"init": init, **model},
            train={"steps": 1, "batch_size": batch},
            record={"every": 1, "probe": 9},
        )
        for seed in range(count)
    ]


def wrong(own: list[Trial], kind: Any = "multiclass", *, only: str = "") -> list[str]:
    """What the engine and the plain twin disagree about at step 0."""
    data = random_data(kind)
    histories = stacked(own, as_task(data))
    return [
        f"seed {trial.seed} {difference}"
        for trial in own
        for difference in differences(histories[trial.trial_id], plain_trial(trial, data), [0], 1e-4)
        if only in difference
    ]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus", "silu", "gelu", "elu", "selu"])
def test_networks_with_every_unit_far_out(activation: str) -> None:
    # |z| is around 30: tanh' is near 1e-26, while 1 - tanh(z)^2 is 0 from 19 on.
    own = trials(sigma_w=0.5, sigma_b=30.0, count=8, batch=6, activation=activation, depth=3, width=2)
    assert wrong(own, only="grad_norm") == []
    assert wrong(own, only="delta_rms") == []


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_what_float32_loses_is_told_from_what_is_truly_0(activation: str) -> None:
    own = trials(sigma_w=0.5, sigma_b=60.0, count=8, batch=6, activation=activation, depth=3, width=4)
    assert wrong(own, only="float32_zero_fraction") == []


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_an_example_that_is_classified_well_has_a_small_gradient_not_none(kind: str) -> None:
    own = trials(sigma_w=6.0, sigma_b=0.0, count=24, batch=1, activation="relu", depth=2, width=3)
    assert wrong(own, kind) == []


def test_derivatives_below_float64s_normal_numbers() -> None:
    # elu' = exp(z) is subnormal between -745 and -708: the signal behind it is scaled up by more than 2^1023.
    own = trials(sigma_w=1.0, sigma_b=700.0, count=345, batch=6, activation="elu", depth=2, width=1)[-1:]
    history = stacked(own, as_task(random_data()))[own[0].trial_id]
    assert history.layer_values["preactivation_rms"][0, 1] == pytest.approx(725.2, abs=0.1)
    assert history.layer_values["weight_grad_norm"][0, 0] < 1e-300
    assert wrong(own, only="layer 2 log10_delta_rms") == []
