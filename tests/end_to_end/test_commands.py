"""Every command and option that doesn't need a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.end_to_end.commands import identities, invoke, only_run, read, train, write_config
from tests.end_to_end.conftest import Finished

TINY = """
    data: {name: moons, n_samples: 40}
    model: {depth: 2, width: 4}
    train: {steps: 4, batch_size: 8}
    seeds: 2
    """


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_config(tmp_path, TINY, "tiny.yaml")


def test_dry_run_lists_the_trials_and_trains_nothing(finished: Finished, tmp_path: Path) -> None:
    answer = invoke("run", finished.config, "--dry-run", "--out", tmp_path / "runs")
    assert answer.code == 0
    assert "26 trials" in answer.stdout
    assert "leaky_relu(negative_slope=0.2)" in answer.stdout
    assert not (tmp_path / "runs").exists()


def test_dry_run_as_json_holds_the_trials_that_run(finished: Finished) -> None:
    rows = json.loads(invoke("run", finished.config, "--dry-run", "--json").stdout)
    assert rows["count"] == len(rows["trials"]) == 26
    trained = read(finished.path, "trials").set_index("trial_id")
    for row in rows["trials"]:
        assert trained.loc[row["trial_id"], "seed"] == row["seed"]
        assert trained.loc[row["trial_id"], "activation"] == row["activation"]


def test_set_overrides_a_field_and_may_be_repeated(tiny: Path, tmp_path: Path) -> None:
    run = train(tiny, tmp_path / "out", "--set", "model.depth=3", "--set", "train.lr=1e-3", "--set", "seeds=[7]")
    assert read(run, "trials")[["depth", "lr", "seed"]].values.tolist() == [[3, 1e-3, 7]]
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["depth"] == 3


def test_set_may_add_a_sweep(tiny: Path, tmp_path: Path) -> None:
    sweep = "sweep.grid={model.activation: [tanh, {name: elu, alpha: 0.5}]}"
    run = train(tiny, tmp_path / "out", "--set", sweep)
    assert set(read(run, "trials")["activation"]) == {"tanh", "elu(alpha=0.5)"}


def test_out_is_runs_by_default(tiny: Path, tmp_path: Path) -> None:
    assert invoke("run", tiny, "--quiet").code == 0
    assert only_run(tmp_path / "runs").name.startswith("tiny-")


def test_fresh_starts_over(tiny: Path, tmp_path: Path) -> None:
    run = train(tiny, tmp_path / "out")
    before, rows = identities(run), read(run, "layers")
    (run / "note.txt").write_text("mine")
    assert train(tiny, tmp_path / "out", "--fresh") == run
    assert identities(run).keys() == before.keys()
    assert all(identities(run)[part] != before[part] for part in before)
    pd.testing.assert_frame_equal(read(run, "layers"), rows, check_exact=True)


def test_quiet_leaves_the_table_and_nothing_on_stderr(tiny: Path, tmp_path: Path) -> None:
    answer = invoke("run", tiny, "--out", tmp_path / "out", "--quiet")
    assert answer.stderr == ""
    assert "diagnosis" in answer.stdout


def test_without_a_terminal_progress_is_plain_lines(finished: Finished) -> None:
    assert "training 26 trials" in finished.stderr
    assert "\x1b" not in finished.stderr + finished.stdout
    assert "\r" not in finished.stderr
    assert str(finished.path) in finished.stderr
    assert "gradlab compare" in finished.stderr


def test_the_summary_table_has_a_row_for_each_group(finished: Finished) -> None:
    rows = [line for line in finished.stdout.splitlines() if "healthy" in line or "vanishing" in line]
    assert len([line for line in rows if "relu" in line or "sigmoid" in line]) >= 12
    for word in ("|grad W|", "predicted", "dead", "loss", "diagnosis", "gradient"):
        assert word in finished.stdout


def test_run_as_json_aggregates_over_seeds(tiny: Path, tmp_path: Path) -> None:
    answer = invoke("run", tiny, "--out", tmp_path / "out", "--json")
    found = json.loads(answer.stdout)
    (group,) = found["groups"]
    assert group["trials"] == 2
    trials = read(only_run(tmp_path / "out"), "trials")
    assert group["eval_loss"]["value"] == pytest.approx(trials["final_eval_loss"].mean())
    decay = (trials["gradient_decay"].iloc[0] * trials["gradient_decay"].iloc[1]) ** 0.5
    assert group["decay"]["value"] == pytest.approx(decay), "norms have geometric means"


def test_predict_as_json_has_the_factor_columns(finished: Finished) -> None:
    rows = json.loads(invoke("predict", finished.config, "--json").stdout)["trials"]
    assert len(rows) == 26
    factors = {"data", "family", "depth", "width", "activation", "init", "norm", "residual", "optimizer", "lr"}
    for row in rows:
        assert row.keys() >= factors | {"predicted_gradient_ratio", "predicted_gradient_decay", "train.weight_decay"}
        if row["depth"] > 1:
            implied = row["predicted_gradient_decay"] ** (row["depth"] - 1)
            assert row["predicted_gradient_ratio"] == pytest.approx(implied)


def test_predict_in_words(finished: Finished) -> None:
    answer = invoke("predict", finished.config)
    assert answer.code == 0
    assert "sigmoid" in answer.stdout


def test_compare_puts_runs_side_by_side(finished: Finished, tiny: Path, tmp_path: Path) -> None:
    other = train(tiny, tmp_path / "out")
    answer = invoke("compare", finished.path.parent, other, "--json")
    assert answer.code == 0
    found = json.loads(answer.stdout)
    assert {source["run"] for source in found["runs"]} == {finished.path.name, other.name}
    assert sum(group["trials"] for group in found["groups"]) == 28
    table = invoke("compare", finished.path, other)
    assert finished.path.name in table.stdout
    assert other.name in table.stdout


def test_compare_of_nothing_is_a_usage_error(tmp_path: Path) -> None:
    answer = invoke("compare", tmp_path / "nowhere")
    assert answer.code == 2
    assert "nowhere" in answer.stderr
    assert answer.stdout == ""


def test_show_a_run_and_one_of_its_trials(finished: Finished) -> None:
    trial_id = read(finished.path, "trials")["trial_id"].iloc[3]
    whole, one = invoke("show", finished.path), invoke("show", finished.path, "--trial", trial_id[:6])
    assert whole.code == one.code == 0
    assert "hidden_1" in whole.stdout
    assert trial_id in one.stdout
    (group,) = json.loads(invoke("show", finished.path, "--trial", trial_id, "--json").stdout)["groups"]
    assert [row["layer"] for row in group["layers"]] == list(range(1, len(group["layers"]) + 1))


def test_show_an_unknown_trial_is_a_usage_error(finished: Finished) -> None:
    answer = invoke("show", finished.path, "--trial", "zzzz")
    assert answer.code == 2
    assert "zzzz" in answer.stderr


def test_activations_as_table_and_figure(tmp_path: Path) -> None:
    answer = invoke("activations", "-o", tmp_path / "curves.png")
    assert answer.code == 0
    for name in ("linear", "sigmoid", "tanh", "leaky_relu", "selu", "gelu", "silu", "softplus", "hardtanh"):
        assert name in answer.stdout
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG\r\n")
    rows = json.loads(invoke("activations", "--json").stdout)["activations"]
    assert len(rows) == 11


def test_the_starter_config_runs(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    assert invoke("init", file).code == 0
    assert invoke("init", file).code == 2, "what is there is not overwritten"
    steps = ("--set", "train.steps=2", "--set", "seeds=1", "--set", "model.width=4")
    trials = read(train(file, tmp_path / "out", *steps), "trials")
    assert set(trials["status"]) == {"completed"}
    assert set(trials["steps"]) == {2}


def test_the_schema_accepts_the_starter_s_keys(tmp_path: Path) -> None:
    schema = json.loads(invoke("schema").stdout)
    assert invoke("init", tmp_path / "mine.yaml").code == 0
    starter = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert starter.keys() <= schema["properties"].keys()
    assert schema["additionalProperties"] is False
