"""`gradlab check RUN`: recorded trainings against a baseline, nothing trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.check.project import Project
from tests.end_to_end.commands import invoke, train, write_config
from tests.store.synthetic import FakeTrial, make_run
from tests.store.watched_runs import WatchedTrial, make_watched

SEEDS = 9


def record(path: Path, decay: float = 0.5, seeds: int = SEEDS, prints: float | None = 0.25, **fields: Any) -> Path:
    """The run directory of trainings whose gradient shrinks by `decay` a layer, each with prints of its own."""
    settings = {"steps": 31, "lr": 0.1} | fields.pop("settings", {})
    trainings = [WatchedTrial(f"t{seed}", seed, decay=decay, settings=settings, **fields) for seed in range(seeds)]
    taken = {one.trial_id: [prints, prints + one.seed, -prints] for one in trainings} if prints is not None else {}
    return make_watched(path, trainings, {"weight_prints": taken, "torch": "2.13"}).path


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    file = tmp_path / "baseline.json"
    answer = invoke("check", record(tmp_path / "before"), "--baseline", file, "--update")
    assert (answer.code, answer.stdout) == (0, "")
    assert f"written: {file} (1 network, {SEEDS} seeds)" in answer.stderr
    return file


def verdict(*arguments: Any) -> tuple[int, dict[str, Any]]:
    answer = invoke("check", *arguments, "--json")
    return answer.code, json.loads(answer.stdout)


def test_the_same_trainings_pass_seed_by_seed(tmp_path: Path, baseline: Path) -> None:
    code, found = verdict(record(tmp_path / "now"), "--baseline", baseline)
    assert (code, found["verdict"], found["paired"]) == (0, "pass", True)
    assert {row["step"] for row in found["rows"]} == {None, 0, 10, 30}
    assert {row["verdict"] for row in found["rows"]} == {"pass"}


def test_a_gradient_that_vanishes_faster_is_a_regression(tmp_path: Path, baseline: Path) -> None:
    run = record(tmp_path / "now", decay=0.25)
    code, found = verdict(run, "--baseline", baseline)
    assert (code, found["verdict"]) == (1, "regression")
    worst = {(row["statistic"], row["layer"]): row for row in found["rows"] if row["verdict"] == "regression"}
    assert set(worst) == {("delta_rms", 1), ("delta_rms", 2)}
    assert worst["delta_rms", 1]["ratio"] == pytest.approx(0.25, rel=1e-4)
    reports = tmp_path / "junit.xml", tmp_path / "check.md"
    answer = invoke("check", run, "--baseline", baseline, "--junit", reports[0], "--markdown", reports[1])
    assert answer.code == 1
    assert "the gradient" in answer.stdout
    assert all(report.read_text() for report in reports)


@pytest.mark.parametrize("prints", [None, 0.75])
def test_other_or_unknown_draws_are_compared_as_samples(tmp_path: Path, baseline: Path, prints: float | None) -> None:
    for decay, expected in ((0.5, (0, "pass")), (0.25, (1, "regression"))):
        run = record(tmp_path / f"now{decay}", decay=decay, prints=prints)
        code, found = verdict(run, "--baseline", baseline)
        assert (code, found["verdict"]) == expected
        assert found["paired"] is False


def test_two_runs_without_prints_are_never_paired(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    assert invoke("check", record(tmp_path / "one", prints=None), "--baseline", file, "--update").code == 0
    code, found = verdict(record(tmp_path / "two", prints=None), "--baseline", file)
    assert (code, found["verdict"], found["paired"]) == (0, "pass", False)
    assert "as distributions: initial weights that nobody took prints of" in found["headline"]


def test_a_single_training_counts_whatever_is_large(tmp_path: Path) -> None:
    file = tmp_path / "single.json"
    assert invoke("check", record(tmp_path / "one", seeds=1), "--baseline", file, "--update").code == 0
    assert verdict(record(tmp_path / "same", seeds=1), "--baseline", file)[0] == 0
    code, found = verdict(record(tmp_path / "other", decay=0.25, seeds=1), "--baseline", file)
    assert (code, found["verdict"]) == (1, "regression")


@pytest.mark.parametrize("prints", [None, 0.75])
def test_a_single_training_from_other_weights_cannot_be_compared(tmp_path: Path, prints: float | None) -> None:
    file = tmp_path / "single.json"
    assert invoke("check", record(tmp_path / "one", seeds=1), "--baseline", file, "--update").code == 0
    answer = invoke("check", record(tmp_path / "two", seeds=1, prints=prints), "--baseline", file)
    assert (answer.code, answer.stdout) == (3, "")
    assert "started from other weights" in answer.stderr
    assert f"gradlab check {tmp_path / 'two'} --baseline {file} --update" in answer.stderr


@pytest.mark.parametrize("seeds", [1, 2, 8])
def test_too_few_seeds_for_any_change_to_show_are_no_pass(tmp_path: Path, baseline: Path, seeds: int) -> None:
    run = record(tmp_path / "few", seeds=seeds)
    if seeds < 3:
        answer = invoke("check", run, "--baseline", baseline)
        assert (answer.code, answer.stdout) == (3, "")
        assert f"{seeds} against the baseline's {SEEDS} can't show" in answer.stderr
    if seeds > 1:
        answer = invoke("check", run, "--baseline", tmp_path / "new.json", "--update")
        assert (answer.code, (tmp_path / "new.json").exists()) == (2, False)
        assert f"{seeds} seeds; a baseline needs 9 at least, or one alone" in answer.stderr


def test_more_seeds_than_the_baseline_are_left_out(tmp_path: Path, baseline: Path) -> None:
    code, found = verdict(record(tmp_path / "now", seeds=12), "--baseline", baseline)
    assert (code, found["verdict"], found["paired"]) == (0, "pass", True)
    assert found["seeds"]["now"] == list(range(SEEDS))


def test_networks_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    def both(path: Path, second: float) -> Path:
        record(path, settings={"lr": 0.1})
        trainings = [
            WatchedTrial(f"u{seed}", seed, decay=second, settings={"steps": 31, "lr": 0.2}) for seed in range(SEEDS)
        ]
        return make_watched(path, trainings).path  # fmt: skip

    file = tmp_path / "baseline.json"
    assert invoke("check", both(tmp_path / "one", 0.5), "--baseline", file, "--update").code == 0
    code, found = verdict(both(tmp_path / "two", 0.1), "--baseline", file)
    assert code == 1
    assert [story["network"] for story in found["story"]] == ["lr=0.2"]
    code, found = verdict(record(tmp_path / "three", settings={"lr": 0.1}), "--baseline", file)
    assert code == 1
    (gone,) = [story for story in found["story"] if story["network"] == "lr=0.2"]
    assert gone["sentences"] == ["it is missing now"]


def test_other_trainings_are_no_regression_but_cannot_be_compared(tmp_path: Path, baseline: Path) -> None:
    answer = invoke("check", record(tmp_path / "now", settings={"lr": 0.5}), "--baseline", baseline)
    assert answer.code == 3
    assert "settings.lr is 0.5, was 0.1" in answer.stderr
    longer = record(tmp_path / "longer", files=((0, 10), (20, 40)))
    answer = invoke("check", longer, "--baseline", baseline)
    assert answer.code == 3
    assert "was recorded at steps 0, 20, 40, the baseline at 0, 10, 30" in answer.stderr


def test_failed_trials_are_named_first(tmp_path: Path) -> None:
    trials = [FakeTrial(f"a{seed}", seed) for seed in range(SEEDS)]
    run, file = make_run(tmp_path, [trials]), tmp_path / "baseline.json"
    assert invoke("check", run.path, "--baseline", file, "--update").code == 0
    before = file.read_bytes()
    broken = FakeTrial("f", 0, settings={"lr": 9.0}, results={"status": "failed", "error": "out of memory"})
    now = make_run(tmp_path / "now", [trials, [broken]])
    code, found = verdict(now.path, "--baseline", file)
    assert (code, found["verdict"]) == (4, "failed")
    assert "lr=9.0" in found["failures"][0]
    answer = invoke("check", now.path, "--baseline", file, "--update")
    assert (answer.code, file.read_bytes()) == (4, before)
    assert "out of memory" in answer.stderr


@pytest.mark.parametrize(
    "options",
    [["--set", "train.lr=1"], ["--seeds-from", "0"], ["--workers", "2"], ["--device", "cpu"]],
    ids=lambda options: options[0],
)
def test_options_of_a_training_make_no_sense(tmp_path: Path, baseline: Path, options: list[str]) -> None:
    answer = invoke("check", record(tmp_path / "now"), "--baseline", baseline, *options)
    assert (answer.code, answer.stdout) == (2, "")
    assert f"{options[0]}: nothing is trained" in answer.stderr


def test_mistakes_have_the_codes_that_they_have_elsewhere(
    tmp_path: Path, baseline: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record(tmp_path / "now")
    (tmp_path / "empty").mkdir()
    for code, told, arguments in (
        (2, "one of the two", [run]),
        (2, "--base-ref: nothing is trained", [run, "--base-ref", "HEAD"]),
        (2, "no run directory", [tmp_path / "empty", "--baseline", baseline]),
        (3, "no such baseline", [run, "--baseline", tmp_path / "absent.json"]),
        (3, "the baseline of a config", [run, "--baseline", project.baseline]),
        (3, "the baseline of a run directory", [project.config, "--baseline", baseline]),
    ):
        answer = invoke("check", *arguments)
        assert (answer.code, answer.stdout) == (code, ""), told
        assert told in answer.stderr
    monkeypatch.setenv("CI", "1")
    assert invoke("check", run, "--baseline", baseline, "--update").code == 2


def test_thresholds_are_those_of_the_config_beside_the_tables(tmp_path: Path, baseline: Path) -> None:
    run = record(tmp_path / "now", decay=0.45)
    assert invoke("check", run, "--baseline", baseline).code == 0
    (run / "config.yaml").write_text("name: now\ncheck: {delta_rms: 1.05}\n")
    assert invoke("check", run, "--baseline", baseline).code == 1
    (run / "config.yaml").write_text("name: now\ncheck: {delta_rms: small}\n")
    answer = invoke("check", run, "--baseline", baseline)
    assert answer.code == 2
    assert f"{run / 'config.yaml'}:2:20: its section `check`" in answer.stderr


def test_a_sweep_of_gradlab_run(tmp_path: Path) -> None:
    config = {
        "name": "sweep", "seeds": 9, "data": {"name": "moons"}, "model": {"depth": 3, "width": 6},
        "train": {"steps": 4}, "record": {"every": 2}, "sweep": {"grid": {"model.activation": ["tanh", "relu"]}},
    }  # fmt: skip
    run, file = train(write_config(tmp_path, config), tmp_path / "one"), tmp_path / "baseline.json"
    answer = invoke("check", run, "--baseline", file, "--update")
    assert answer.code == 0, answer.stderr
    code, found = verdict(run, "--baseline", file)
    assert (code, found["verdict"]) == (0, "pass")
    assert {row["network"]["activation"] for row in found["rows"]} == {"relu", "tanh"}
    changed = config | {"model": {"depth": 3, "width": 6, "init": {"name": "normal", "sigma_w": 4.0, "sigma_b": 0.1}}}
    other = train(write_config(tmp_path / "other", changed), tmp_path / "two")
    answer = invoke("check", other, "--baseline", file)
    assert answer.code == 3
    assert "settings.init is" in answer.stderr
