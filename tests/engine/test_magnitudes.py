"""Recorded norms from 1e-300 to 1e280, far beyond float32's range, against the naive float64 twin."""

from __future__ import annotations

import math

import pytest

from tests.engine.comparison import as_task
from tests.engine.stacking import alone
from tests.oracles.plain import plain_trial
from tests.oracles.samples import one_trial, random_data

PLACES = (1e-9, 1e-6, 1e-3, 0.3, 1.0, 3.0, 1e3, 2e4)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("sigma_w", PLACES)
def test_from_tiny_to_huge(sigma_w: float, activation: str) -> None:
    init = {"name": "normal", "sigma_w": sigma_w, "sigma_b": 0.0}
    model = {"activation": activation, "depth": 33, "width": 8, "init": init}
    one, data = one_trial(model=model, train={"steps": 1}, data={"name": "diabetes"}), random_data("regression", 5)
    history, plain = alone(one, as_task(data)), plain_trial(one, data)
    assert history.steps[0] == 0
    for index in range(34):
        expected = plain.at(0, index + 1)
        for name in ("weight_grad_norm", "delta_rms"):
            logarithm = history.layer_values[f"log10_{name}"][0, index]
            true = expected[f"log10_{name}"]
            if true is None or not math.isfinite(true):
                assert not math.isfinite(logarithm) or logarithm < -307
                continue
            assert logarithm == pytest.approx(true, abs=1e-6 + 1e-6 * abs(true)), (index, name)
            if -300 < true < 300:
                assert history.layer_values[name][0, index] == pytest.approx(10**true, rel=1e-4), (index, name)
