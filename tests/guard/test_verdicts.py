"""`gradlab.check_gradients`: bugs are found, refactors pass."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from gradlab import GradientRegression, InconclusiveWarning
from tests.guard.networks import WIDTH, OtherOrder, Renamed, Residual, checked, module

BUGS = {
    "scaled init": "layer 2's weights start 3x larger",
    "wrong fan": "layer 3's weights start",
    "negative bias": "layer",
    "missing norm": "layer",
    "detached block": "in layer 3 the gradient is exactly 0 now",
    "detached trunk": "from layer 2 down the gradient is 3.3x smaller",
    "doubled residual": "layer",
    "silent output": "in every layer the gradient is exactly 0 now",
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(bug: str, baseline: Path) -> None:
    with pytest.raises(GradientRegression) as caught:
        checked(lambda: Residual(bug), baseline)
    report = str(caught.value)
    assert report.startswith("regression: ")
    assert BUGS[bug] in report
    assert "it is there at step 0" in report
    assert caught.value.outcome.verdict == "regression"


def test_a_negative_bias_kills_units(tmp_path: Path) -> None:
    def factory(bias: float) -> nn.Module:
        model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 3))
        model[0].bias.data += bias
        return model

    checked(lambda: factory(0.0), tmp_path / "b.json", update=True)
    with pytest.raises(GradientRegression, match="in layer 1 dead units went from") as caught:
        checked(lambda: factory(-2.0), tmp_path / "b.json")
    (dead,) = (c for c in caught.value.outcome.judged.of("regression") if c.key.statistic == "dead_units")
    assert dead.baseline == 0
    assert dead.now is not None
    assert dead.now > 0.9


@pytest.mark.parametrize("model", [Residual, lambda: Residual("frozen"), Renamed, OtherOrder])
def test_what_doesn_t_change_the_flow_passes(model: Any, baseline: Path) -> None:
    outcome = checked(model, baseline)
    assert outcome.verdict == "pass"
    assert outcome.judged.paired == (model is not OtherOrder)


def test_what_is_no_longer_measured_is_named(baseline: Path) -> None:
    assert not checked(Residual, baseline).notes
    told = checked(Renamed, baseline).notes
    assert {f"not measured any more: {name} in layers 1-4" for name in ("activation_rms", "dead_units")} <= {*told}


def test_other_seeds_pass_as_samples(baseline: Path) -> None:
    outcome = checked(Residual, baseline, seeds=range(100, 112))
    assert outcome.verdict == "pass"
    assert not outcome.judged.paired
    assert len(outcome.now.seeds) == 12


def test_large_changes_that_chance_explains_are_a_warning(baseline: Path) -> None:
    tight = dict.fromkeys(("weight_grad_norm", "delta_rms", "activation_rms"), 1.0001)
    with pytest.warns(InconclusiveWarning, match="inconclusive"):
        outcome = checked(Residual, baseline, seeds=range(200, 212), thresholds=tight)
    assert outcome.verdict == "inconclusive"


def test_thresholds_say_what_matters(baseline: Path) -> None:
    loose = dict.fromkeys(("weight_grad_norm", "delta_rms", "activation_rms", "weight_norm"), 10.0)
    assert checked(lambda: Residual("scaled init"), baseline, thresholds=loose).verdict == "pass"


def test_a_module_in_evaluation_mode_is_measured_so(tmp_path: Path) -> None:
    def factory(training: bool) -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Dropout(0.8), nn.Linear(64, 3)).train(training)

    checked(lambda: factory(True), tmp_path / "b.json", update=True)
    assert checked(lambda: factory(True), tmp_path / "b.json").verdict == "pass"
    with pytest.raises(GradientRegression, match="gradient"):
        checked(lambda: factory(False), tmp_path / "b.json")


def test_a_model_that_diverges_at_once_regresses(baseline: Path) -> None:
    def factory() -> nn.Module:
        model = Residual()
        model.head.weight.data.fill_(math.inf)
        return model

    with pytest.raises(GradientRegression, match=r"100 ?% of the seeds diverge"):
        checked(factory, baseline)


# A module is one sample.


def test_a_module_is_compared_by_size_alone(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    checked(module(), path, update=True)
    outcome = checked(module(), path)
    assert outcome.verdict == "pass"
    assert len(outcome.now.seeds) == 1
    with pytest.raises(GradientRegression, match="layer 2's weights start 3x larger"):
        checked(module(bug="scaled init"), path)
    with pytest.raises(GradientRegression):
        checked(module(bug="detached trunk"), path)
