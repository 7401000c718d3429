"""Run directories as readers see them: several at once, of different sweeps, in any state."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlab.errors import UsageError
from gradlab.store.finding import find_runs
from gradlab.store.reading import Trials, parts_of, read_trials
from gradlab.store.records import Records, read_records
from gradlab.store.tables import SCHEMA_VERSION
from tests.store.synthetic import FakeTrial, arrow, make_run


def layers_of(trials: Trials) -> Records:
    return read_records(trials, "layers", ["layer", "delta_rms"], "last")


def test_runs_are_found_in_folders_of_folders_each_once(tmp_path):
    one = make_run(tmp_path / "monday", [], "one")
    two = make_run(tmp_path / "monday", [], "two")
    three = make_run(tmp_path, [], "three")
    runs, skipped = find_runs([tmp_path, tmp_path / "monday", one.path])
    assert [run.path for run in runs] == [one.path, two.path, three.path]
    assert skipped == ()


def test_runs_of_one_name_are_told_apart(tmp_path):
    make_run(tmp_path / "old", [[FakeTrial("a")]])
    make_run(tmp_path / "new", [[FakeTrial("a")]])
    make_run(tmp_path / "new", [], "other")
    runs, _ = find_runs([tmp_path / "old", tmp_path / "new"])
    assert [run.name for run in runs] == ["old/fake-01234567", "new/fake-01234567", "other-01234567"]
    assert read_trials(runs).frame["run"].tolist() == ["old/fake-01234567", "new/fake-01234567"]


def test_what_is_no_run_is_skipped_by_name(tmp_path):
    run = make_run(tmp_path / "runs", [])
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "file.txt").write_text("")
    paths = [tmp_path / "runs", tmp_path / "file.txt", tmp_path / "absent", run.path / "layers"]
    runs, skipped = find_runs(paths)
    assert [found.path for found in runs] == [run.path]
    said = "\n".join(map(str, skipped))
    assert [miss.path.name for miss in skipped] == ["notes", "file.txt", "absent", "layers"]
    assert "is a file" in said
    assert "does not exist" in said
    assert f"part of the run directory {run.path}" in said


def test_no_run_at_all_is_a_usage_error_with_the_remedy(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"absent does not exist(.|\n)*gradlab run CONFIG") as caught:
        find_runs([tmp_path / "empty", tmp_path / "absent"])
    assert caught.value.exit_code == 2


def test_a_run_of_a_newer_gradlab_is_skipped(tmp_path):
    make_run(tmp_path, [], "old")
    make_run(tmp_path, [], "new").write_info({"schema_version": SCHEMA_VERSION + 1})
    runs, skipped = find_runs([tmp_path])
    assert [run.path.name for run in runs] == ["old-01234567"]
    assert "newer gradlab" in str(skipped[0])


def test_schemas_that_differ_are_united(tmp_path):
    make_run(tmp_path, [[FakeTrial("a", settings={"train.weight_decay": 0.1, "model.kwargs.k": 3})]], "one")
    make_run(tmp_path, [[FakeTrial("b", settings={"model.kwargs.k": "deep", "train.momentum": 1})]], "two")
    make_run(tmp_path, [[FakeTrial("c", settings={"train.momentum": 0.5})]], "zed")
    found = read_trials(find_runs([tmp_path])[0])
    trials = found.frame.set_index("trial_id")
    assert found.skipped == ()
    assert trials["train.weight_decay"].isna().tolist() == [False, True, True]
    assert trials["model.kwargs.k"].tolist()[:2] == ["3", "deep"]
    assert trials["train.momentum"].tolist()[1:] == [1.0, 0.5]
    assert not any(isinstance(kind, pd.CategoricalDtype) for kind in trials.dtypes)


def test_whole_numbers_stay_whole_where_some_runs_have_none(tmp_path):
    one = make_run(tmp_path, [[FakeTrial("a", settings={"model.kwargs.heads": 4})]], name="one")
    other = make_run(tmp_path, [[FakeTrial("b")]], name="other")
    heads = read_trials([one, other]).frame["model.kwargs.heads"].tolist()
    assert heads == [4, None]
    assert isinstance(heads[0], int)


def test_dictionary_columns_come_as_plain_strings(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")]])
    part = run.parts("trials")[0]
    table = pq.read_table(part)
    place = table.schema.get_field_index("activation")
    pq.write_table(table.set_column(place, "activation", table["activation"].dictionary_encode()), part)
    trials = read_trials([run])
    assert trials.skipped == ()
    assert trials.frame["activation"].tolist() == ["tanh"]
    assert not isinstance(trials.frame["activation"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize("table", ["trials", "layers"])
def test_broken_and_foreign_parts_are_skipped_with_a_warning(tmp_path, table):
    run = make_run(tmp_path, [[FakeTrial("a")], [FakeTrial("b")], [FakeTrial("c")]])
    (run.path / table / "part-0.parquet").write_bytes(run.parts(table)[0].read_bytes()[:-50])
    pq.write_table(pa.table({"price": [1.0]}), run.path / table / "part-1.parquet")
    (run.path / table / "notes.txt").write_text("not a table")
    trials = read_trials([run])
    layers = layers_of(trials)
    assert trials.frame["trial_id"].iloc[np.unique(layers.trial)].tolist() == ["c"]
    skipped = trials.skipped if table == "trials" else layers.skipped
    assert [miss.path.name for miss in skipped] == ["part-0.parquet", "part-1.parquet"]
    assert "broken" in skipped[0].reason
    assert "no gradlab table" in skipped[1].reason


def test_a_column_of_another_type_is_foreign(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")]])
    part = run.parts("trials")[0]
    table = pq.read_table(part)
    place = table.schema.get_field_index("depth")
    pq.write_table(table.set_column(place, "depth", pa.array(["deep"])), part)
    trials = read_trials([run])
    assert trials.frame.empty
    assert "types" in trials.skipped[0].reason


def test_rows_of_unfinished_parts_are_not_seen(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")], [FakeTrial("b")]])
    (run.path / "trials" / "part-1.parquet").unlink()
    trials = read_trials([run])
    assert trials.frame["trial_id"].tolist() == ["a"]
    assert len(layers_of(trials).trial) == 6
    assert [len(part) for part in parts_of(run, "layers")] == [12]
    assert trials.skipped == ()


def test_a_trial_in_two_parts_counts_once(tmp_path):
    failed = FakeTrial("a", results={"status": "failed"})
    run = make_run(tmp_path, [[FakeTrial("a"), FakeTrial("b")], [failed], [FakeTrial("b", top=1.0)]])
    trials = read_trials([run])
    assert trials.frame[["trial_id", "status"]].to_numpy().tolist() == [["a", "completed"], ["b", "completed"]]
    layers = layers_of(trials)
    assert np.bincount(layers.trial).tolist() == [6, 6]
    assert layers.columns["delta_rms"][layers.trial == 1].max() > 0.5
    assert sum(len(part) for part in parts_of(run, "layers")) == 2 * len(FakeTrial("a").layer_rows())


def test_an_empty_run_gives_empty_tables_with_all_columns(tmp_path):
    trials = read_trials([make_run(tmp_path, [])])
    assert trials.frame.empty
    assert {"run", "trial_id", "diagnosis"} <= set(trials.frame.columns)
    assert "no finished trials" in str(trials.skipped[0])
    assert len(layers_of(trials).trial) == 0


def test_nan_infinity_and_null_come_back(tmp_path):
    results = {"final_train_loss": float("nan"), "gradient_ratio": float("inf"), "gradient_decay": None}
    run = make_run(tmp_path, [[FakeTrial("a", results=results)]])
    row = read_trials([run]).frame.iloc[0]
    assert np.isnan(row["final_train_loss"])
    assert np.isposinf(row["gradient_ratio"])
    assert np.isnan(row["gradient_decay"])


def test_two_readers_beside_a_writer_see_whole_parts(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")]])
    with run.lock():
        first = read_trials([run])
        run.write_part("more", **arrow([FakeTrial("b")]))
        second = read_trials([run])
    assert first.frame["trial_id"].tolist() == ["a"]
    assert sorted(second.frame["trial_id"]) == ["a", "b"]
    assert len(layers_of(second).trial) == 2 * len(layers_of(first).trial)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_part_without_permission_is_skipped(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")]])
    run.parts("layers")[0].chmod(0)
    assert "ermission" in layers_of(read_trials([run])).skipped[0].reason
