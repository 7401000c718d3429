"""`gradlab check` as its user runs it: baselines, verdicts, exit codes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest

from tests.end_to_end.check.project import LOST_GAIN, MODEL, SEEDS, Project, change, configure
from tests.end_to_end.commands import invoke, start, wait_for

UNLUCKY_SEED = (
    "    return net",
    "    if torch.initial_seed() == 3:\n        raise ValueError('out of luck')\n    return net",
)
ONE_SEED = ("mul_(GAIN)", "mul_(50.0 if torch.initial_seed() == 3 else 1.0)")
STATISTICS = ("weight_grad_norm", "delta_rms", "activation_rms", "update_ratio", "weight_norm")


def test_the_same_code_passes(made: Project) -> None:
    before = made.baseline.read_bytes()
    answer = made.check()
    assert answer.code == 0, answer.stderr
    assert answer.stdout.startswith("pass: ")
    assert made.baseline.read_bytes() == before
    assert {path.name for path in made.folder.iterdir()} - {"__pycache__"} == {"gradlab.yaml", "model.py", "baselines"}


def test_a_baseline_has_enough_seeds_to_decide_and_is_made_again_the_same(made: Project, project: Project) -> None:
    content = json.loads(made.baseline.read_text())
    assert content["seeds"] == list(range(SEEDS)), "the config's two, and as many more as it takes"
    answer = project.check("--update")
    assert (answer.code, answer.stdout) == (0, "")
    assert project.baseline.read_bytes() == made.baseline.read_bytes()


def test_a_lost_gain_is_a_regression_in_words_and_numbers(project: Project) -> None:
    change(project, LOST_GAIN)
    answer = project.check()
    assert answer.code == 1
    assert answer.stdout.startswith("regression: ")
    assert "layer 2's weights start 5x smaller" in answer.stdout
    assert "at step 0" in answer.stdout
    found = project.verdict(code=1)
    assert found["verdict"] == "regression"
    (row,) = (row for row in found["rows"] if row["statistic"] == "weight_norm" and row["verdict"] == "regression")
    assert (row["layer"], row["name"], row["step"]) == (2, "2", 0)
    assert row["ratio"] == pytest.approx(0.2, rel=1e-3)
    assert row["low"] == pytest.approx(0.2, rel=1e-3)
    assert row["p"] == 2 / 2**SEEDS


def test_a_network_that_diverges_now_is_a_regression(project: Project) -> None:
    change(project, ("GAIN = 1.0", "GAIN = float('inf')"))
    answer = project.check()
    assert answer.code == 1
    assert "no numbers" in answer.stdout
    rows = project.verdict(code=1)["rows"]
    (diverged,) = (row for row in rows if row["statistic"] == "diverged")
    assert (diverged["baseline"], diverged["now"], diverged["verdict"]) == (0, 1, "regression")
    assert rows[0]["reason"] == "not a number"


def test_a_network_that_always_diverged_may_go_on(project: Project) -> None:
    change(project, ("GAIN = 1.0", "GAIN = float('inf')"))
    assert project.check("--update").code == 0
    assert project.check().code == 0


def test_one_seed_alone_is_inconclusive_and_no_failure(project: Project) -> None:
    change(project, ONE_SEED)
    answer = project.check()
    assert answer.code == 0
    assert answer.stdout.startswith("inconclusive: ")
    assert re.search(r"\d+ seeds", answer.stdout.split("\n", 1)[1])


def test_trials_that_fail(project: Project) -> None:
    change(project, UNLUCKY_SEED)
    before = project.baseline.read_bytes()
    answer = project.check()
    assert answer.code == 4
    assert "out of luck" in answer.stdout
    assert "seed=3" in answer.stdout
    assert project.verdict(code=4)["verdict"] == "failed"
    answer = project.check("--update")
    assert answer.code == 4
    assert "out of luck" in answer.stderr
    assert project.baseline.read_bytes() == before, "a baseline needs all its trials"


def test_no_baseline_and_the_command_that_makes_one(project: Project) -> None:
    project.baseline.unlink()
    answer = project.check("--set", "train.lr=0.2")
    assert (answer.code, answer.stdout) == (3, "")
    command = shlex.split(answer.stderr.strip().rpartition("make it with: ")[2])
    assert command[0] == "gradlab"
    assert invoke(*command[1:]).code == 0
    assert project.check("--set", "train.lr=0.2").code == 0
    assert project.check().code == 3, "other settings need another baseline"


def test_a_damaged_baseline(project: Project) -> None:
    text = project.baseline.read_text()
    for damaged in (text[: len(text) // 2], text.replace("{", "[", 1), "", "<<<<<<< HEAD\n" + text):
        project.baseline.write_text(damaged)
        answer = project.check()
        assert (answer.code, answer.stdout) == (3, "")
        assert str(project.baseline) in answer.stderr
        assert "--update" in answer.stderr


def test_a_baseline_of_another_config(project: Project) -> None:
    configure(project, "sweep: {grid: {model.kwargs.width: [8, 9]}}")
    answer = project.check()
    assert (answer.code, answer.stdout) == (3, "")
    assert "another config" in answer.stderr
    assert f"--baseline {project.baseline} --update" in answer.stderr


def test_swept_settings_of_any_kind_name_their_networks(project: Project) -> None:
    configure(project, "sweep: {grid: {train.lr: [0.1, 1e-7], model.kwargs.width: [8, 9], train.optimizer: [adam]}}")
    assert project.check("--update").code == 0
    found = project.verdict(code=0)
    assert found["notes"] == []
    networks = [row["network"] for row in found["rows"] if row["statistic"] == "final_eval_loss"]
    expected = [(rate, width) for rate in (0.1, 1e-7) for width in (8, 9)]
    assert sorted((one["train.lr"], one["model.kwargs.width"]) for one in networks) == sorted(expected)
    change(project, LOST_GAIN)
    fresh = Project(Path(shutil.copytree(project.folder, project.folder.parent / "fresh")))
    assert {row["network"]["train.lr"] for row in fresh.verdict(code=1)["rows"] if row["verdict"] != "pass"} == {
        0.1,
        1e-7,
    }


def test_swept_settings_may_be_infinite(project: Project) -> None:
    change(project, ("width=8)", "width=8, clip=1.0)"))
    configure(project, "sweep: {grid: {model.kwargs.clip: [.inf, 1.0]}}")
    assert project.check("--update").code == 0
    assert project.check().code == 0


@pytest.mark.parametrize("first", [2**64, 10**30])
def test_seeds_that_no_generator_takes_are_an_error_of_usage(first: int, made: Project) -> None:
    answer = made.check("--seeds-from", str(first))
    assert (answer.code, answer.stdout) == (2, "")


def test_what_doesn_t_change_the_networks_needs_no_new_baseline(project: Project) -> None:
    project.config.write_text(project.config.read_text().replace("guarded", "renamed").replace("seeds: 2", "seeds: 6"))
    assert project.check().code == 0


def test_ci_systems_don_t_update(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    project.baseline.unlink()
    answer = project.check("--update")
    assert (answer.code, answer.stdout) == (2, "")
    assert "--force" in answer.stderr
    assert not project.baseline.exists()
    answer = project.check("--update", "--force", "--json")
    assert answer.code == 0
    assert json.loads(answer.stdout)["verdict"] == "updated"
    assert project.check().code == 0, "checking is what CI is for"


def test_fresh_seeds_are_compared_as_distributions(project: Project) -> None:
    found = project.verdict("--seeds-from", "100", code=0)
    assert found["verdict"] != "regression"
    assert found["seeds"] == {"baseline": list(range(SEEDS)), "now": list(range(100, 100 + SEEDS))}
    assert found["paired"] is False
    change(project, LOST_GAIN)
    fresh = Project(Path(shutil.copytree(project.folder, project.folder.parent / "fresh")))
    assert fresh.verdict("--seeds-from", "100", code=1)["verdict"] == "regression"


def test_a_baseline_of_fresh_seeds(project: Project) -> None:
    assert project.check("--update", "--seeds-from", "30").code == 0
    assert project.verdict(code=0)["seeds"]["now"] == list(range(30, 30 + SEEDS))


def test_the_config_says_what_matters(project: Project) -> None:
    change(project, LOST_GAIN)
    configure(project, "check: {" + ", ".join(f"{statistic}: 1e9" for statistic in STATISTICS) + "}")
    found = project.verdict("--set", "check.final_train_loss=1e9", "--set", "check.final_eval_loss=1e9", code=0)
    assert found["verdict"] == "pass"
    assert all(row["threshold"] == pytest.approx(1e9) for row in found["rows"] if row["statistic"] in STATISTICS)


@pytest.mark.parametrize(
    ("setting", "column", "word"),
    [
        ("delta_rms: 0.9", 20, "delta_rms"),
        ("dead_units: 2", 21, "dead_units"),
        ("seeds: 5", 16, "seeds"),
        ("delta: 2", 9, "did you mean 'delta_rms'"),
    ],
)
def test_a_bad_threshold_is_an_error_of_the_config(setting: str, column: int, word: str, project: Project) -> None:
    configure(project, f"check: {{{setting}}}")
    answer = project.check()
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"{project.config}:7:{column}: ")
    assert word in answer.stderr


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--update",
        "--baseline b.json --base-ref HEAD",
        "--base-ref HEAD --update",
        "--baseline b.json --seeds-from -1",
        "--baseline b.json --workers 0",
    ],
)
def test_options_that_make_no_sense(options: str, made: Project) -> None:
    answer = invoke("check", made.config, *options.split())
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr


def test_an_interrupt_leaves_the_baseline_alone(project: Project) -> None:
    before = project.baseline.read_bytes()
    (project.folder / "model.py").write_text(
        MODEL.replace("    net =", "    open(__file__ + '.started', 'w').close()\n    net =")
    )
    process = start("check", project.config, "--baseline", project.baseline, "--set", "train.steps=1000000", "--update")
    wait_for((project.folder / "model.py.started").exists, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert project.baseline.read_bytes() == before
    assert [path.name for path in project.baseline.parent.iterdir()] == ["ci.json"]
