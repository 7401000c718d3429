"""One record of each trial: the right rows, and no more of the files than that takes."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.store import row_groups
from gradlab.store.finding import find_runs
from gradlab.store.reading import read_trials
from gradlab.store.records import _Source, read_records
from tests.store.synthetic import FakeTrial, make_run

COLUMNS = ["layer", "log10_delta_rms", "dead_units", "name"]


def naive(run, trials, when):
    """The same rows by pandas alone, from all of the table."""
    layers = pd.read_parquet(run.path / "layers")
    wanted = layers.groupby("trial_id")["step"].max() if when == "last" else 0 if when == "first" else when
    step = layers["trial_id"].map(wanted) if when == "last" else wanted
    layers = layers[(layers["step"] == step) & layers["trial_id"].isin(trials.frame["trial_id"])]
    return layers.set_index(["trial_id", "layer"]).sort_index()


@pytest.mark.parametrize("when", ["first", "last", 20, 7, 999])
@pytest.mark.parametrize("shuffled", [False, True])
def test_the_rows_are_those_that_pandas_finds(tmp_path, when, shuffled, monkeypatch):
    monkeypatch.setattr(row_groups, "ROWS", 10)
    trials = [
        FakeTrial(f"t{n}", n, depth=2 + n % 3, decay=0.1 + 0.1 * n, last_step=(20, 7, 50)[n % 3]) for n in range(7)
    ]
    run = make_run(tmp_path, [trials[:4], trials[4:]])
    if shuffled:  # as another writer may leave them: no order, no row groups by step
        for part in run.parts("layers"):
            table = pq.read_table(part)
            order = np.random.default_rng(0).permutation(table.num_rows)
            pq.write_table(table.take(pa.array(order)), part, write_statistics=False)
    found = read_trials(find_runs([tmp_path])[0])
    found = found.where((found.frame["trial_id"] != "t5").to_numpy())
    records = read_records(found, "layers", COLUMNS, when)
    expected = naive(run, found, when)
    ids = found.frame["trial_id"].to_numpy(object)[records.trial]
    rows = pd.DataFrame(dict(records.columns) | {"trial_id": ids, "step": records.step})
    rows["layer"] = rows["layer"].astype(int)
    rows = rows.set_index(["trial_id", "layer"]).sort_index()
    assert rows.index.tolist() == expected.index.tolist()
    assert rows["step"].tolist() == expected["step"].tolist()
    assert rows["name"].tolist() == expected["name"].tolist()
    for column in ("log10_delta_rms", "dead_units"):
        np.testing.assert_array_equal(rows[column], expected[column].astype(float))


@pytest.mark.parametrize("steps", [(0, 50), (50, 7, 20), (3,), "every"])
def test_several_records_are_those_of_each_step(tmp_path, steps, monkeypatch):
    monkeypatch.setattr(row_groups, "ROWS", 10)
    trials = [FakeTrial(f"t{n}", n, depth=2 + n % 3, last_step=(20, 7, 50)[n % 3]) for n in range(7)]
    make_run(tmp_path, [trials[:4], trials[4:]])
    found = read_trials(find_runs([tmp_path])[0])
    several = read_records(found, "layers", COLUMNS, steps)
    for step in (0, 7, 20, 50):
        own, alone = several.at(step), read_records(found, "layers", COLUMNS, step)
        if steps == "every" or step in steps:
            np.testing.assert_array_equal(own.trial, alone.trial)
            np.testing.assert_array_equal(own.columns["log10_delta_rms"], alone.columns["log10_delta_rms"])
        else:
            assert len(own.trial) == 0
    assert not set(several.step) - {0, 7, 20, 50}


def groups_read(monkeypatch):
    seen = []
    read = _Source.read
    monkeypatch.setattr(_Source, "read", lambda self, group: seen.append(group) or read(self, group))
    return seen


def test_only_the_row_groups_that_hold_the_record_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(row_groups, "ROWS", 5)
    middle = [FakeTrial(f"m{n}", n, depth=4, last_step=step) for n, step in enumerate((10, 20, 30))]
    run = make_run(tmp_path, [[*middle, FakeTrial("long", 9, depth=4, last_step=40)]])
    assert pq.ParquetFile(run.parts("layers")[0]).num_row_groups == 5
    trials = read_trials([run])
    for when, expected in (("first", [0]), (30, [3]), ("last", [4, 3, 2, 1]), (35, [])):
        seen = groups_read(monkeypatch)
        read_records(trials, "layers", ["layer"], when)
        assert seen == expected, when
    seen = groups_read(monkeypatch)
    read_records(trials.where((trials.frame["trial_id"] == "long").to_numpy()), "layers", ["layer"], "last")
    assert seen == [4]


def test_parts_without_a_chosen_trial_are_not_opened(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")], [FakeTrial("b")]])
    run.parts("layers")[1].write_bytes(b"broken")
    trials = read_trials([run])
    assert len(read_records(trials, "layers", ["layer"], "first").skipped) == 1
    only_a = trials.where((trials.frame["trial_id"] == "a").to_numpy())
    assert read_records(only_a, "layers", ["layer"], "first").skipped == ()


def test_a_column_that_a_file_lacks_is_unknown(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a", depth=1)]])
    part = run.parts("layers")[0]
    pq.write_table(pq.read_table(part).drop_columns("dead_units"), part)
    records = read_records(read_trials([run]), "layers", ["dead_units", "layer"], "first")
    assert np.isnan(records.columns["dead_units"]).tolist() == [True, True]
    assert records.columns["layer"].tolist() == [1, 2]


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 20))
def test_row_groups_cut_between_steps_and_keep_every_row(steps, size):
    table = pa.table({"step": pa.array(steps, pa.int64()), "row": pa.array(range(len(steps)), pa.int64())})
    stream = pa.BufferOutputStream()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_groups, "ROWS", size)
        row_groups.write_by_step(table, stream)
    file = pq.ParquetFile(pa.BufferReader(stream.getvalue()))
    assert file.read().to_pylist() == sorted(table.to_pylist(), key=lambda row: row["step"])
    found = [file.read_row_group(group)["step"].to_pylist() for group in range(file.num_row_groups)]
    holding = [set(group) for group in found]
    for step in set(steps):
        assert sum(step in group for group in holding) == 1
    if steps:
        assert holding[0] == {min(steps)}
        assert holding[-1] == {max(steps)}
        for group in holding[1:-1]:
            assert len(group) == 1 or sum(steps.count(step) for step in group) <= size
