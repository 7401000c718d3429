"""The run directory as contract section 3 has it."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import gradlab as package
from tests.end_to_end.commands import invoke, parts, read, start, train, wait_for, write_config
from tests.end_to_end.conftest import Finished

TRIALS = {
    "trial_id": str, "run": str, "seed": int, "data": str, "family": str, "depth": int, "width": int,
    "activation": str, "init": str, "norm": str, "residual": bool, "optimizer": str, "lr": float, "batch_size": int,
    "steps": int, "parameters": int, "status": str, "error": str, "diverged_step": float, "final_train_loss": float,
    "final_eval_loss": float, "final_eval_metric": float, "dead_fraction": float, "saturated_fraction": float,
    "gradient_ratio": float, "gradient_decay": float, "predicted_gradient_decay": float, "diagnosis": str,
}  # fmt: skip
STEPS = {
    "trial_id": str,
    "step": int,
    "train_loss": float,
    "eval_loss": float,
    "eval_metric": float,
    "grad_norm": float,
}
HIDDEN_ONLY = [
    "activation_mean", "activation_rms", "dead_units", "zero_gradient_units", "saturated_fraction",
]  # fmt: skip
LAYERS = {
    "trial_id": str, "step": int, "layer": int, "name": str, "kind": str, "units": int, "weight_count": int,
    "weight_grad_norm": float, "log10_weight_grad_norm": float, "bias_grad_norm": float, "delta_rms": float,
    "log10_delta_rms": float, "float32_zero_fraction": float, "preactivation_rms": float, "activation_mean": float,
    "activation_rms": float, "dead_units": float, "zero_gradient_units": float, "saturated_fraction": float,
    "weight_norm": float, "update_ratio": float, "non_finite": int,
}  # fmt: skip
AT_THE_ENDS = [f"activation_q{percent}" for percent in ("01", "05", "10", "25", "50", "75", "90", "95", "99")]
KINDS = {int: "int64", float: "float64", bool: "bool"}

DEPTHS = {"relu": [1, 3], "sigmoid": [1, 3], "leaky_relu(negative_slope=0.2)": [1, 3]}
RECORDED = [0, 3, 6, 7]


def assert_columns(table: pd.DataFrame, expected: dict[str, type]) -> None:
    listed = [name for name in table.columns if name in expected]
    assert listed == list(expected)
    for name, kind in expected.items():
        if kind is str:
            assert {type(value) for value in table[name].dropna()} <= {str}, name
            assert not isinstance(table[name].dtype, pd.CategoricalDtype), name
        else:
            assert table[name].dtype == KINDS[kind], name


def test_the_directory_and_its_files(finished: Finished) -> None:
    name, _, digest = finished.path.name.rpartition("-")
    assert name == "every.column-1"
    assert re.fullmatch("[0-9a-f]{8}", digest)
    seen = {path.name for path in finished.path.iterdir() if not path.name.startswith(".")}
    assert seen == {"config.yaml", "run.json", "trials", "steps", "layers", "regions"}
    files = [path for table in ("trials", "steps", "layers") for path in (finished.path / table).iterdir()]
    assert {path.suffix for path in files} == {".parquet"}
    resolved = yaml.safe_load((finished.path / "config.yaml").read_text())
    assert resolved["train"]["steps"] == 8
    assert resolved["train"]["optimizer"] == "sgd", "defaults are filled in"


def test_the_resolved_config_makes_the_same_run(finished: Finished, tmp_path: Path) -> None:
    answer = invoke("run", finished.path / "config.yaml", "--out", finished.path.parent, "--json")
    assert answer.code == 0
    assert json.loads(answer.stdout)["path"] == str(finished.path)
    assert "to train" not in answer.stderr


def test_the_facts_in_run_json(finished: Finished) -> None:
    facts = json.loads((finished.path / "run.json").read_text())
    assert facts["schema_version"] == 1
    assert facts["gradlab"] == package.__version__
    assert facts["torch"] == torch.__version__
    assert re.fullmatch(r"3\.\d+\.\d+.*", facts["python"])
    assert facts["device"] in {"cpu", "cuda"}
    assert facts["threads"] >= 1
    assert "git_commit" in facts
    assert datetime.fromisoformat(facts["start"]) <= datetime.fromisoformat(facts["end"])
    assert facts["recording"]["recording_seconds"] >= 0


def test_columns_and_types(finished: Finished) -> None:
    assert_columns(read(finished.path, "trials"), TRIALS)
    assert list(read(finished.path, "steps")) == list(STEPS)
    assert list(read(finished.path, "layers")) == [*LAYERS, *AT_THE_ENDS]
    assert_columns(read(finished.path, "steps"), STEPS)
    assert_columns(read(finished.path, "layers"), LAYERS)


def test_one_row_per_trial_with_its_settings(finished: Finished) -> None:
    trials = read(finished.path, "trials")
    assert len(trials) == trials["trial_id"].nunique() == 2 * (2 * 3 * 2 + 1)
    assert set(trials["run"]) == {finished.path.name}
    grid = trials[trials["data"] == "moons"]
    for activation, depths in DEPTHS.items():
        of_one = grid[grid["activation"] == activation]
        assert sorted(of_one["depth"].unique()) == depths
        assert sorted(of_one["seed"]) == [0, 0, 0, 0, 4, 4, 4, 4]
    assert set(grid["train.weight_decay"]) == {0.0, 0.01}
    extra = trials[trials["data"] == "breast_cancer"]
    assert extra[["depth", "optimizer"]].values.tolist() == [[2, "adam"]] * 2
    assert set(trials["width"]) == {6}
    assert set(trials["init"]) == {"pytorch_default"}
    assert not trials["residual"].any()
    assert set(trials["lr"]) == {0.1}


def test_parameters_are_counted_by_hand(finished: Finished) -> None:
    trials = read(finished.path, "trials")
    for row in trials.to_dict("records"):
        features = {"moons": 2, "breast_cancer": 30}[row["data"]]
        assert row["parameters"] == (features + 1) * 6 + (row["depth"] - 1) * 7 * 6 + 7


def test_what_became_of_each_trial(finished: Finished) -> None:
    trials = read(finished.path, "trials")
    assert set(trials["status"]) == {"completed"}
    assert trials["error"].isna().all()
    assert trials["diverged_step"].isna().all()
    for name in ("final_train_loss", "final_eval_loss", "gradient_ratio"):
        assert (trials[name] > 0).all(), name
    for name in ("final_eval_metric", "dead_fraction", "saturated_fraction"):
        assert trials[name].between(0, 1).all(), name
    assert set(trials["diagnosis"]) <= {"dead", "vanishing", "exploding", "dying", "saturated", "healthy"}


def test_gradient_decay_follows_from_the_layers(finished: Finished) -> None:
    trials, layers = read(finished.path, "trials"), read(finished.path, "layers")
    delta = layers[layers["step"] == 0].set_index(["trial_id", "layer"])["delta_rms"]
    for row in trials.to_dict("records"):
        ratio = delta[row["trial_id"], 1] / delta[row["trial_id"], row["depth"]]
        assert row["gradient_ratio"] == pytest.approx(ratio, rel=1e-9)
        if row["depth"] == 1:
            assert row["gradient_ratio"] == 1
            assert math.isnan(row["gradient_decay"])
            assert math.isnan(row["predicted_gradient_decay"])
        else:
            assert row["gradient_decay"] == pytest.approx(ratio ** (1 / (row["depth"] - 1)), rel=1e-9)
            assert 0 < row["predicted_gradient_decay"] < 1


def test_dead_and_saturated_shares_follow_from_the_last_record(finished: Finished) -> None:
    trials, layers = read(finished.path, "trials"), read(finished.path, "layers")
    last = layers[(layers["step"] == 7) & (layers["name"] != "output")].groupby("trial_id")
    expected = last.agg(dead=("dead_units", "sum"), units=("units", "sum"), saturated=("saturated_fraction", "mean"))
    of_trials = trials.set_index("trial_id")
    assert (of_trials["dead_fraction"] == expected["dead"] / expected["units"]).all()
    assert of_trials["saturated_fraction"].to_dict() == pytest.approx(expected["saturated"].to_dict())


def test_the_prediction_is_that_of_gradlab_predict(finished: Finished) -> None:
    answer = invoke("predict", finished.config, "--json")
    predicted = {row["trial_id"]: row["predicted_gradient_decay"] for row in json.loads(answer.stdout)["trials"]}
    trials = read(finished.path, "trials").set_index("trial_id")["predicted_gradient_decay"]
    assert predicted.keys() == set(trials.index)
    for trial_id, value in trials.items():
        assert predicted[str(trial_id)] is None if math.isnan(value) else predicted[str(trial_id)] == value


def test_rows_of_steps_and_layers(finished: Finished) -> None:
    trials, steps, layers = (read(finished.path, table) for table in ("trials", "steps", "layers"))
    assert len(steps) == len(RECORDED) * len(trials)
    assert steps.groupby("trial_id")["step"].apply(list).tolist() == [RECORDED] * len(trials)
    assert len(layers) == len(RECORDED) * (trials["depth"] + 1).sum()
    for row in trials.to_dict("records"):
        own = layers[layers["trial_id"] == row["trial_id"]]
        for step in RECORDED:
            at = own[own["step"] == step]
            assert at["layer"].tolist() == list(range(1, row["depth"] + 2))
            assert at["units"].tolist() == [6] * row["depth"] + [1]
            assert at["weight_count"].sum() + at["units"].sum() == row["parameters"]


def test_nulls_stand_where_a_column_has_no_meaning(finished: Finished) -> None:
    layers = read(finished.path, "layers")
    output = layers["layer"] == layers.groupby("trial_id")["layer"].transform("max")
    for name in LAYERS:
        assert layers.loc[output, name].isna().all() if name in HIDDEN_ONLY else layers[name].notna().all(), name
        assert layers.loc[~output, name].notna().all(), name
    spread = layers[AT_THE_ENDS].notna()
    at_an_end = layers["step"].isin([RECORDED[0], RECORDED[-1]])
    assert (spread.all(axis=1) == (at_an_end & ~output)).all()
    assert (spread.any(axis=1) == spread.all(axis=1)).all()
    assert read(finished.path, "steps").notna().all(axis=None)


def test_norms_hang_together(finished: Finished) -> None:
    layers, steps = read(finished.path, "layers"), read(finished.path, "steps")
    squares = (layers["weight_grad_norm"] ** 2 + layers["bias_grad_norm"] ** 2).groupby(
        [layers["trial_id"], layers["step"]]
    )
    whole = steps.set_index(["trial_id", "step"])["grad_norm"]
    assert (squares.sum() ** 0.5).to_dict() == pytest.approx(whole.to_dict(), rel=1e-6)
    positive = layers[layers["weight_grad_norm"] > 0]
    assert (10 ** positive["log10_weight_grad_norm"]).tolist() == pytest.approx(positive["weight_grad_norm"].tolist())
    assert (10 ** layers["log10_delta_rms"]).tolist() == pytest.approx(layers["delta_rms"].tolist())


def test_a_swept_choice_stands_under_its_label_and_a_swept_option_under_its_path(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        """
        data: {name: moons, n_samples: 40}
        model: {depth: 1, width: 4}
        train: {steps: 2, batch_size: 8}
        seeds: 1
        sweep:
          grid: {data.noise: [0.1, 0.3]}
          zip:
            - model.init: [{name: normal, sigma_w: 1.5, sigma_b: 0.1}, he_normal]
              record.probe: [8, 16]
        """,
    )
    trials = read(train(config, tmp_path / "runs"), "trials")
    assert sorted(zip(trials["init"], trials["record.probe"], strict=True)) == [
        *[("he_normal", 16)] * 2,
        *[("normal(sigma_w=1.5, sigma_b=0.1)", 8)] * 2,
    ]
    assert sorted(trials["data.noise"]) == [0.1, 0.1, 0.3, 0.3]
    assert trials["record.probe"].dtype == "int64"
    assert list(trials)[:5] == list(TRIALS)[:5]


def test_tables_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        """
        data: {name: moons, n_samples: 100}
        model: {depth: 3}
        train: {steps: 600, batch_size: 20}
        record: {every: 30}
        seeds: 2
        sweep: {grid: {model.width: [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]}}
        """,
    )
    out = tmp_path / "runs"
    process = start("run", config, "--out", out, "--quiet")
    try:
        wait_for(lambda: bool(parts(out)), process)
        (run,) = out.iterdir()
        seen = []
        while process.poll() is None:
            tables = {table: pd.read_parquet(run / table) for table in ("trials", "steps", "layers")}
            seen.append(len(tables["trials"]))
            rows = tables["steps"].groupby("trial_id").size()
            assert set(rows) == {21}, "a trial's rows appear all at once"
            assert set(tables["layers"].groupby("trial_id").size()) == {4 * 21}
    finally:
        process.kill()
        process.communicate()
    assert seen == sorted(seen)
    assert len(set(seen)) > 2, "rows came while the run went on"
    assert len(pd.read_parquet(run / "trials")) == 20
    assert process.returncode == 0


def test_diagnosis_words(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        """
        data: {name: moons, n_samples: 60}
        model: {depth: 12, width: 16}
        train: {steps: 1, batch_size: 10, lr: 0.0}
        seeds: 1
        sweep:
          include:
            - {model.activation: sigmoid}
            - {model.activation: relu, model.init: {name: normal, sigma_w: 8}}
            - {model.activation: linear, model.init: orthogonal}
            - {model.activation: relu, model.init: {name: normal, sigma_w: 0.0, sigma_b: 0.0}}
            - {model.activation: tanh, model.depth: 2, model.init: {name: normal, sigma_w: 60}}
        """,
    )
    trials = read(train(config, tmp_path / "runs"), "trials")
    found = {(row.activation, row.init): row.diagnosis for row in trials.itertuples()}
    assert found == {
        ("sigmoid", "pytorch_default"): "vanishing",
        ("relu", "normal(sigma_w=8)"): "exploding",
        ("linear", "orthogonal"): "healthy",
        ("relu", "normal(sigma_w=0)"): "dead",
        ("tanh", "normal(sigma_w=60)"): "saturated",
    }


def test_thresholds_of_the_diagnosis_can_be_set(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        """
        data: {name: moons, n_samples: 60}
        model: {depth: 3, width: 8, activation: linear}
        train: {steps: 1}
        seeds: 1
        diagnosis: {vanishing: 1.0e+5, exploding: 1.0e+6}
        """,
    )
    assert read(train(config, tmp_path / "runs"), "trials")["diagnosis"].tolist() == ["vanishing"]
