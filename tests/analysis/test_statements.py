"""Statements against the same figures by plain pandas, and those that can't hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradlab.analysis.statements import Finding, evaluate, room
from gradlab.config.exhibit import Statement
from gradlab.store.reading import Trials, read_trials
from tests.store.synthetic import FakeTrial, make_run


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Two activations at two depths and two widths, five seeds each; numbers without any order in them."""
    random = np.random.default_rng(3)
    made = []
    for activation in ("relu", "tanh"):
        for depth in (3, 6):
            for width in (4, 8):
                for seed in range(5):
                    layers = {
                        (step, layer): {"activation_rms": float(random.uniform(0.1, 2))}
                        for step in (0, 20)
                        for layer in range(1, depth + 1)
                    }
                    made.append(
                        FakeTrial(
                            f"{activation}{depth}-{width}-{seed}",
                            seed,
                            depth,
                            width,
                            decay=float(random.uniform(0.2, 1.5)),
                            settings={"activation": activation},
                            results={"final_eval_metric": float(random.uniform())},
                            layers=layers,
                        )
                    )
    return read_trials([make_run(tmp_path_factory.mktemp("run"), [made])])


@pytest.fixture(scope="module")
def frame(trials: Trials) -> pd.DataFrame:
    """The trials table with the activations of the first and last hidden layer at both ends of training."""
    files = [file for part in trials.parts for file in part.files["layers"]]
    layers = pd.concat(map(pd.read_parquet, files))
    wide = trials.frame.set_index("trial_id", drop=False)
    for step in (0, 20):
        record = layers[layers.step == step].set_index(["trial_id", "layer"]).activation_rms
        wide[f"first{step}"] = [record[name, 1] for name in wide.index]
        wide[f"last{step}"] = [record[name, depth] for name, depth in wide.depth.items()]
    return wide


def judged(trials: Trials, **settings: Any) -> Finding:
    return evaluate(Statement(says="So it is.", because="It must.", **settings), trials)


TAKEN = {
    "mean": pd.Series.mean,
    "median": pd.Series.median,
    "variance": pd.Series.var,
    "least": pd.Series.min,
    "greatest": pd.Series.max,
    "geometric_mean": lambda values: math.exp(np.log(values).mean()),
}


@pytest.mark.parametrize("take", TAKEN)
def test_what_is_taken_of_a_group(trials: Trials, frame: pd.DataFrame, take: Any) -> None:
    expected = TAKEN[take](frame[(frame.activation == "relu") & (frame.depth > 3)].final_eval_metric)
    where = "activation == 'relu' and depth > 3"
    found = judged(trials, measure="final_eval_metric", where=where, take=take, at_least=expected - 1e-9)
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.reproduced
    assert found.figures[0].trials == 10
    assert not judged(trials, measure="final_eval_metric", where=where, take=take, at_least=expected + 1e-9).reproduced
    assert not judged(trials, measure="final_eval_metric", where=where, take=take, at_most=expected - 1e-9).reproduced


def test_a_condition_is_a_share(trials: Trials, frame: pd.DataFrame) -> None:
    found = judged(trials, measure="final_eval_metric > 0.5", at_least=0)
    assert found.value == pytest.approx((frame.final_eval_metric > 0.5).mean())


@pytest.mark.parametrize(("step", "at"), [("first", 0), (None, 0), ("last", 20), (20, 20)])
def test_statistics_of_layers_at_a_record(trials: Trials, frame: pd.DataFrame, step: Any, at: int) -> None:
    found = judged(trials, measure="activation_rms.last / activation_rms.first", step=step, at_most=100)
    assert found.value == pytest.approx((frame[f"last{at}"] / frame[f"first{at}"]).mean())


def test_it_must_hold_in_each_group(trials: Trials, frame: pd.DataFrame) -> None:
    means = frame.groupby(["depth", "activation"]).gradient_decay.mean()
    bounds = {"at_least": 0.5, "at_most": means.max() - 1e-9}
    found = judged(trials, measure="gradient_decay", by=["depth", "activation"], **bounds)
    assert {tuple(value for _, value in one.settings): one.value for one in found.figures} == pytest.approx(
        means.to_dict()
    )
    assert not found.reproduced
    assert found.value == pytest.approx(means.max())
    assert judged(trials, measure="gradient_decay", by=["depth", "activation"], at_most=means.max() + 1e-9).reproduced


def test_groups_over_and_minus_others(trials: Trials, frame: pd.DataFrame) -> None:
    means = frame.groupby(["activation", "width"]).gradient_decay.mean()
    question = {"measure": "gradient_decay", "by": ["width"], "where": "activation == 'relu'", "at_least": -100}
    found = judged(trials, **question, over="activation == 'tanh'")
    assert [one.value for one in found.figures] == pytest.approx((means["relu"] / means["tanh"]).tolist())
    found = judged(trials, **question, minus="activation == 'tanh'")
    assert [one.value for one in found.figures] == pytest.approx((means["relu"] - means["tanh"]).tolist())


def test_a_slope_of_groups(trials: Trials, frame: pd.DataFrame) -> None:
    points = frame.groupby(["depth", "width"]).gradient_decay.var()
    places = [depth / width for depth, width in points.index]
    expected = np.polyfit(places, points, 1)[0]
    question = {"measure": "gradient_decay", "by": ["depth", "width"], "take": "variance", "along": "depth / width"}
    found = judged(trials, **question, at_most=expected + 1e-9)
    assert found.value == pytest.approx(expected)
    assert found.reproduced
    assert not judged(trials, **question, at_least=expected + 1e-9).reproduced


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"measure": "gradient_decay", "where": "activation == 'selu'"}, "no trial has activation 'selu'"),
        ({"measure": "gradient_decay", "where": "depth > 100"}, "there are no trials where depth > 100"),
        ({"measure": "gradient_dekay"}, "no column gradient_dekay; did you mean gradient_decay"),
        ({"measure": "activation_rms"}, "activation_rms.first or activation_rms.last"),
        ({"measure": "gradient_decay", "by": ["cell"]}, "no column cell to group by"),
        ({"measure": "activation"}, "not numbers"),
        ({"measure": "activation_rms.first", "step": 7}, "not every trial has a value"),
        ({"measure": "diverged_step"}, "not every trial has a value"),
        ({"measure": "depth", "where": "depth == 3", "by": ["width"], "over": "width == 4"}, "no trials to compare"),
        ({"measure": "depth", "by": ["width"], "along": "seed * 0"}, "a slope needs figures at two places"),
    ],
)
def test_what_cannot_be_measured_is_not_reproduced(trials: Trials, settings: dict[str, Any], told: str) -> None:
    found = judged(trials, **settings, at_least=-1e300)
    assert not found.reproduced
    assert math.isnan(found.value)
    assert told in str(found.problem)


def test_one_trial_without_a_value_is_not_passed_over(tmp_path: Any) -> None:
    made = [
        FakeTrial("a", 0, results={"final_eval_metric": 0.9}),
        FakeTrial("b", 1, results={"final_eval_metric": None, "status": "diverged"}),
    ]
    run = read_trials([make_run(tmp_path, [made])])
    assert not judged(run, measure="final_eval_metric", at_least=0.5).reproduced
    assert judged(run, measure="final_eval_metric > 0.5", at_most=0.5).reproduced


def test_room() -> None:
    statement = Statement(says="x", measure="depth", because="y", at_least=1, at_most=4)
    assert [room(statement, value) for value in (1, 2, 3.5, 4, 5, 0)] == [0, 1, 0.5, 0, -1, -1]
    assert room(statement, math.nan) == -math.inf
    assert room(statement, math.inf) == -math.inf
