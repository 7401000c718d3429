"""Event files, read back with TensorBoard's own reader, hold what the tables hold, in float32."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS

from gradlab.export.selection import select
from gradlab.export.tensorboard import EVENT_FILE, start_of, write_tensorboard
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import LAYERS
from tests.export.runs import AWKWARD, awkward_run
from tests.store.synthetic import FakeTrial, make_run

START = 1_700_000_000.0

Points = dict[str, dict[int, float]]
"""Tag -> step -> value."""


def exported(run: RunDirectory, folder: Path) -> Path:
    folder.mkdir()
    selection = select(run)
    write_tensorboard(selection.trials, selection.rows, folder, START)
    return folder


def accumulated(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def points(log: EventAccumulator) -> Points:
    return {tag: {event.step: event.value for event in log.Scalars(tag)} for tag in log.Tags()["scalars"]}


def session(log: EventAccumulator) -> tuple[Any, Any]:
    """What the HPARAMS tab takes for a trial's start and end."""
    content = log.SummaryMetadata
    return (
        metadata.parse_session_start_info_plugin_data(content(metadata.SESSION_START_INFO_TAG).plugin_data.content),
        metadata.parse_session_end_info_plugin_data(content(metadata.SESSION_END_INFO_TAG).plugin_data.content),
    )


def value(parameter: Any) -> Any:
    return getattr(parameter, parameter.WhichOneof("kind"))


def wanted(trial: FakeTrial) -> Points:
    """The points of a trial by the rules of docs/tables.md."""
    found: Points = defaultdict(dict)

    def add(tag: str, step: int, number: Any) -> None:
        if number is not None:
            with np.errstate(over="ignore", under="ignore"):
                found[tag][step] = float(np.float32(number))

    tags = {"train_loss": "loss/train", "eval_loss": "loss/eval", "eval_metric": "metric/eval"}
    for row in trial.step_rows():
        for column, tag in tags.items():
            add(tag, row["step"], row.get(column))
        add("gradient/norm", row["step"], row["grad_norm"])
        add("gradient/log10_norm", row["step"], math.log10(row["grad_norm"]))
    told = LAYERS.keys() - {"trial_id", "step", "layer", "name", "kind", "units", "weight_count", "non_finite"}
    told = {column for column in told if not column.startswith("activation_q")}  # null in runs made by hand
    for row in trial.layer_rows():
        for column in told - {"weight_grad_norm", "delta_rms", "bias_grad_norm"}:
            add(f"{column}/{row['layer']:02d} {row['name']}", row["step"], row[column])
    end = trial.trial_row()
    for column in ("final_train_loss", "final_eval_loss", "final_eval_metric", "dead_fraction", "saturated_fraction"):
        add(f"result/{column}", end["steps"], end[column])
    for column in ("gradient_decay", "predicted_gradient_decay"):
        add(f"result/{column}", end["steps"], end[column])
    add("result/log10_gradient_ratio", end["steps"], math.log10(end["gradient_ratio"]))
    return found


def log_of(trial: FakeTrial, folder: Path) -> Path:
    (found,) = (path for path in folder.iterdir() if trial.trial_id.startswith(path.name.rpartition(",")[2]))
    return found


@pytest.mark.parametrize("trial", AWKWARD, ids=lambda trial: trial.trial_id)
def test_scalars_are_those_of_the_tables(trial: FakeTrial, tmp_path: Path) -> None:
    folder = exported(awkward_run(tmp_path), tmp_path / "out")
    found, oracle = points(accumulated(log_of(trial, folder))), wanted(trial)
    assert sorted(found) == sorted(oracle)
    for tag in oracle:
        assert list(found[tag]) == list(oracle[tag]), tag
        np.testing.assert_array_equal(list(found[tag].values()), list(oracle[tag].values()), err_msg=tag)


def test_a_norm_that_float32_loses_is_told_by_its_logarithm(tmp_path: Path) -> None:
    folder = exported(awkward_run(tmp_path), tmp_path / "out")
    found = points(accumulated(log_of(AWKWARD[0], folder)))
    assert found["log10_weight_grad_norm/01 layer1"][0] == -400.25
    assert found["result/log10_gradient_ratio"] == {21: -300.0}


def test_the_hparams_tab_compares_trials_by_what_varies(tmp_path: Path) -> None:
    folder = exported(awkward_run(tmp_path), tmp_path / "out")
    content = accumulated(folder).SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    assert {info.name for info in experiment.hparam_infos} == {"depth", "activation", "lr", "train.momentum", "seed"}
    domains = {info.name: list(info.domain_discrete) for info in experiment.hparam_infos}
    assert domains["depth"] == [2, 3]
    assert domains["train.momentum"] == [0.1 + 0.2, 0.9]
    tags = {info.name.tag for info in experiment.metric_infos}
    for trial in AWKWARD:
        log = accumulated(log_of(trial, folder))
        start, end = session(log)
        row = trial.trial_row()
        settings = {name: value(parameter) for name, parameter in start.hparams.items()}
        for name in domains:
            # The tab's numbers are float64, whole ones, too.
            oracle = row.get(name)
            assert settings.get(name) == (float(oracle) if isinstance(oracle, int) else oracle)
        assert settings["family"] == "mlp"
        assert "status" not in settings
        assert start.group_name == trial.trial_id
        assert (start.start_time_secs, end.end_time_secs) == (START, START + row["steps"])
        assert end.status == (STATUS_FAILURE if row["status"] == "failed" else STATUS_SUCCESS)
        assert {tag for tag in log.Tags()["scalars"] if tag.startswith("result/")} <= tags


def test_step_k_stands_k_seconds_after_the_start(tmp_path: Path) -> None:
    folder = exported(make_run(tmp_path, [[FakeTrial("00000000aaaa")]]), tmp_path / "out")
    (trial,) = (path for path in folder.iterdir() if path.is_dir())
    log = accumulated(trial)
    assert {(e.step, e.wall_time) for e in log.Scalars("loss/train")} == {(0, START), (20, START + 20)}
    assert log.FirstEventTimestamp() == START


def test_the_same_trials_in_other_parts_make_the_same_bytes(tmp_path: Path) -> None:
    one = exported(make_run(tmp_path, [AWKWARD], "one"), tmp_path / "1")
    two = exported(make_run(tmp_path, [AWKWARD[:2], AWKWARD[2:]], "two"), tmp_path / "2")
    files = sorted(path.relative_to(one) for path in one.rglob(EVENT_FILE))
    assert files == sorted(path.relative_to(two) for path in two.rglob(EVENT_FILE))
    assert len(files) == 1 + len(AWKWARD)
    for file in files:
        assert (one / file).read_bytes() == (two / file).read_bytes()


def test_rows_in_any_order_make_the_same_points(tmp_path: Path) -> None:
    run = awkward_run(tmp_path)
    selection = select(run)

    def shuffled(table: str) -> Any:
        for part in selection.rows(table):
            yield part.take(pa.array(np.random.default_rng(0).permutation(part.num_rows)))

    (tmp_path / "shuffled").mkdir()
    write_tensorboard(selection.trials, shuffled, tmp_path / "shuffled", START)
    exported(run, tmp_path / "out")
    for trial in AWKWARD:
        found, oracle = (points(accumulated(log_of(trial, tmp_path / name))) for name in ("shuffled", "out"))
        assert {tag: list(at) for tag, at in found.items()} == {tag: list(at) for tag, at in oracle.items()}


def test_layers_of_a_deep_network_keep_their_order(tmp_path: Path) -> None:
    run = make_run(tmp_path, [[FakeTrial("00000000aaaa", depth=120)]])
    (trial,) = (path for path in exported(run, tmp_path / "out").iterdir() if path.is_dir())
    tags = [tag for tag in points(accumulated(trial)) if tag.startswith("weight_norm/")]
    assert [int(tag.split("/")[1].split()[0]) for tag in tags] == list(range(1, 122))


@pytest.mark.parametrize(
    ("info", "seconds"),
    [
        ({"start": "1970-01-01T00:01:00+00:00"}, 60.0),
        ({"start": "yesterday"}, 0.0),
        ({"start": 5}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_start_of_a_run(info: dict[str, Any], seconds: float) -> None:
    assert start_of(info) == seconds
