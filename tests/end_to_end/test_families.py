"""Sweeps of the families rnn and transformer: one run of all, its tables, and what users can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.commands import invoke, read, same_runs, train, write_config

SWEEP = """
    data: {name: delayed_recall, n_samples: 80, n_symbols: 4}
    model: {family: rnn, width: 6}
    train: {steps: 5, batch_size: 16}
    record: {every: 2, probe: 16}
    seeds: 2
    sweep:
      grid:
        model.cell: [rnn, lstm, gru]
        model.sequence_length: [4, 7]
      include:
        - {model.family: transformer, model.depth: 3, model.heads: 2, model.norm: post}
        - {model.family: custom, model.factory: "net.py:flat"}
    """

NET = """
from torch import nn

def flat(in_features, out_features):
    return nn.Sequential(nn.Flatten(), nn.Linear(20 * in_features, out_features))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    (folder / "net.py").write_text(NET)
    return train(write_config(folder, SWEEP), folder / "runs")


def test_tables_of_all_families(run: Path) -> None:
    trials, layers = read(run, "trials"), read(run, "layers")
    assert len(trials) == 2 * (6 + 1 + 1)
    assert set(trials["status"]) == {"completed"}
    assert trials["predicted_gradient_decay"].isna().all()
    cells, lengths = trials["model.cell"], trials["model.sequence_length"]
    assert set(cells[trials["family"] == "rnn"]) == {"rnn", "lstm", "gru"}
    assert cells[trials["family"] != "rnn"].isna().all()
    assert (lengths[trials["family"] != "rnn"] == 20).all()
    for trial in trials.itertuples():
        own = layers[(layers["trial_id"] == trial.trial_id) & (layers["step"] == 0)]
        kinds = own["kind"].value_counts().to_dict()
        if trial.family == "transformer":
            assert kinds == {"layer": 4}
        elif trial.family == "custom":
            assert kinds == {"layer": 1}
        else:
            steps = int(lengths[trial.Index])
            assert kinds == {"layer": 2, "time": steps}
            along = own[own["kind"] == "time"].sort_values("layer")
            assert along["layer"].tolist() == list(range(1, steps + 1))
            assert (along["units"] == 6).all()
            ratio = along["delta_rms"].iloc[0] / along["delta_rms"].iloc[-1]
            assert trial.gradient_ratio == pytest.approx(ratio, rel=1e-9)
            assert trial.gradient_decay == pytest.approx(ratio ** (1 / (steps - 1)), rel=1e-9)


def test_two_workers_leave_the_same_tables(run: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    same_runs(train(write_config(tmp_path, SWEEP), tmp_path / "runs", "--workers", "2"), run)


def test_a_finished_run_is_found_again(run: Path) -> None:
    config = run.parent.parent / "config.yaml"
    answer = invoke("run", config, "--out", run.parent)
    assert answer.code == 0
    assert "16 trials finished before" in answer.stderr
    answer = invoke("run", run / "config.yaml", "--out", run.parent, "--dry-run")
    assert answer.code == 0


def test_predict_has_no_number_for_them(tmp_path: Path) -> None:
    config = write_config(tmp_path, "model: {family: rnn}\nsweep: {grid: {model.family: [rnn, transformer, mlp]}}")
    trials = json.loads(invoke("predict", config, "--json").stdout)["trials"]
    known = {trial["family"]: trial["predicted_gradient_decay"] is not None for trial in trials}
    assert known == {"rnn": False, "transformer": False, "mlp": True}


WRONG = [
    ("data: {name: gaussian}\nmodel: {family: rnn, sequence_length: 3}", "2:39", "must divide the 20 features"),
    ("data: {name: adding}\nmodel: {family: rnn, sequence_length: 1}", "2:39", "must be at least 2"),
    (
        "data: {name: digits}\nmodel: {family: transformer}\nsweep: {grid: {model.sequence_length: [8, 5]}}",
        "3:43",
        "must divide the 64 features",
    ),
    ("data: {name: adding}", "1:14", "model.family must be one of rnn, transformer, custom"),
    ("model: {family: transformer, heads: 7}", "1:37", "model.heads (7) must divide model.width (64)"),
]


@pytest.mark.parametrize(("text", "place", "message"), WRONG)
def test_what_does_not_fit_is_told_before_any_training(tmp_path: Path, text: str, place: str, message: str) -> None:
    config = write_config(tmp_path, text)
    answer = invoke("run", config, "--out", tmp_path / "runs")
    assert answer.code == 2
    assert f"{config}:{place}: " in answer.stderr
    assert message in answer.stderr
    assert not (tmp_path / "runs").exists()


def test_the_example_configs_load() -> None:
    configs = Path(__file__).parents[2] / "configs"
    for name in ("rnn.yaml", "transformer.yaml"):
        answer = invoke("run", configs / name, "--dry-run", "--json")
        assert answer.code == 0
        assert len(json.loads(answer.stdout)["trials"]) == 18
        assert np.unique([trial["family"] for trial in json.loads(answer.stdout)["trials"]]) == [name.split(".")[0]]
