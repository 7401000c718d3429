"""Watched trainings as readers see them: rows of several kinds in several files, at any moment."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from gradlab.analysis.gradients import LayerRecords
from gradlab.store import records as records_module
from gradlab.store.finding import Skipped, find_runs
from gradlab.store.reading import parts_of, read_trials
from gradlab.store.records import _Source, read_records
from tests.store.synthetic import FakeTrial, make_run
from tests.store.watched_runs import WatchedTrial, make_watched, recurrent

COLUMNS = ["layer", "log10_delta_rms", "dead_units", "name"]
TRAININGS = (
    WatchedTrial("a", 0, draw=1),
    WatchedTrial("b", 1, files=((0, 10, 20), (30,), (40, 50)), draw=2),
    WatchedTrial("c", 0, recurrent(5), ((0,), (10,)), draw=3),
    WatchedTrial("d", 1, recurrent(3, ("rnn", "gru.l0", "gru.l0_reverse")), ((0, 10, 20),), draw=4),
)


def naive(path, when, which):
    """The same rows by pandas alone, from all of the table, in its order."""
    layers = pd.read_parquet(path / "layers")
    last = layers.groupby("trial_id")["step"].transform("max")
    layers = layers[layers["step"] == (last if when == "last" else 0 if when == "first" else when)]
    if which == "all":
        return layers
    pieces = []
    for _, rows in layers.groupby("trial_id", sort=False):
        time, layer = rows["kind"] == "time", rows["kind"].fillna("layer") == "layer"
        along = time & (rows["name"] == rows["name"][time].iloc[0]) if time.any() else layer
        pieces.append(rows[along | layer if which == "profile and layers" else along])
    return pd.concat(pieces) if pieces else layers


@pytest.mark.parametrize("which", ["profile", "profile and layers", "all"])
@pytest.mark.parametrize("when", ["first", "last", 20, 10, 999])
def test_the_rows_are_those_that_pandas_finds(tmp_path, when, which):
    make_watched(tmp_path / "watched", TRAININGS)
    make_run(tmp_path, [[FakeTrial("s", depth=2), FakeTrial("t", 1, depth=4)]])
    trials = read_trials(find_runs([tmp_path])[0])
    found = read_records(trials, "layers", COLUMNS, when, which)
    expected = pd.concat([naive(run, when, which) for run in sorted(tmp_path.iterdir())])
    ids = trials.frame["trial_id"].to_numpy(object)[found.trial]
    rows = pd.DataFrame(dict(found.columns) | {"trial_id": ids, "step": found.step, "time": found.is_time})
    expected = expected.assign(time=expected["kind"] == "time")
    key = ["trial_id", "step", "name", "layer"]
    pd.testing.assert_frame_equal(
        rows.sort_values(key)[[*key, "time", "log10_delta_rms", "dead_units"]].reset_index(drop=True),
        expected.sort_values(key)[[*key, "time", "log10_delta_rms", "dead_units"]].reset_index(drop=True),
        check_dtype=False,
    )
    assert found.is_norm.sum() == (expected["kind"] == "norm").sum()
    assert found.skipped == ()


def test_rows_stand_in_the_order_of_the_record(tmp_path):
    trial = WatchedTrial("a", rows=recurrent(3))
    run = make_watched(tmp_path / "watched", [trial])
    records = read_records(read_trials([run.directory]), "layers", ["name", "layer"], "last", "all")
    assert list(zip(records.columns["name"], records.columns["layer"], strict=True)) == [
        (name, number) for name, _, number in trial.rows
    ]


def test_files_without_the_column_hold_layers_alone(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a", depth=3)]])
    part = run.parts("layers")[0]
    pq.write_table(pq.read_table(part).drop_columns("kind"), part)
    records = read_records(read_trials([run]), "layers", ["layer"], "first")
    assert records.columns["layer"].tolist() == [1, 2, 3, 4]
    assert not records.is_time.any()


def test_the_column_is_not_read_where_the_footer_tells(tmp_path, monkeypatch):
    layers_only = tuple((f"layer{number}", "layer", number) for number in (1, 2, 3))
    seen = []
    monkeypatch.setattr(records_module, "_kinds", lambda column: seen.append(len(column)) or np.zeros(len(column), int))
    run = make_watched(tmp_path / "plain", [WatchedTrial("a", rows=layers_only)])
    read_records(read_trials([run.directory]), "layers", ["layer"], "last")
    assert seen == []
    run = make_watched(tmp_path / "mixed", [WatchedTrial("a")])
    read_records(read_trials([run.directory]), "layers", ["layer"], "last")
    assert seen == [4]


def test_the_last_record_is_found_in_the_newest_file_alone(tmp_path, monkeypatch):
    run = make_watched(tmp_path / "run", [WatchedTrial("a", files=tuple((10 * n, 10 * n + 5) for n in range(12)))])
    seen = []
    read = _Source.read
    monkeypatch.setattr(_Source, "read", lambda self, group: seen.append((self.path.name, group)) or read(self, group))
    assert set(read_records(read_trials([run.directory]), "layers", ["layer"], "last").step) == {115}
    assert seen == [("a-0011.parquet", 1)]


def test_more_files_than_four_digits_count_stand_in_order(tmp_path):
    run = make_watched(tmp_path / "run", [WatchedTrial("a", files=())])
    trial = WatchedTrial("a")
    for number in (0, 9999, 10000):
        run.write_rows("a", number, trial.steps_of([number]), trial.layers_of([number]))
    files = run.directory.files_of("steps", ["a"])["a"]
    assert [file.name for file in files if file.exists()] == [f"a-{n:04d}.parquet" for n in (0, 9999, 10000)]
    assert len(files) == 10001


def test_one_question_sees_the_rows_of_one_moment(tmp_path):
    trial = WatchedTrial("a")
    run = make_watched(tmp_path / "run", [trial])
    trials = read_trials([run.directory])
    run.write_rows("a", 2, trial.steps_of([40]), trial.layers_of([40]))
    assert set(read_records(trials, "layers", ["layer"], "last").step) == {30}
    assert set(read_records(read_trials([run.directory]), "layers", ["layer"], "last").step) == {40}


def test_a_training_that_was_killed_between_its_files_is_read_as_far_as_it_got(tmp_path):
    run = make_watched(tmp_path / "run", [WatchedTrial("a"), WatchedTrial("b", 1)])
    newer = WatchedTrial("a").layers_of([40])
    run.write_rows("a", 2, WatchedTrial("a").steps_of([40]), newer)
    (run.path / "steps" / "a-0002.parquet").unlink()
    (run.path / "layers" / ".a-0003.parquet.7.tmp").write_bytes(b"PAR1")
    (run.path / "trials" / "b.parquet").unlink()
    trials = read_trials([run.directory])
    assert trials.frame["trial_id"].tolist() == ["a"]
    layers, steps = (read_records(trials, table, [], "last") for table in ("layers", "steps"))
    assert set(layers.step) == {40}
    assert set(steps.step) == {30}
    assert layers.skipped == steps.skipped == trials.skipped == ()
    assert sum(len(part) for part in parts_of(run.directory, "layers")) == 5 * 4
    assert set(run.directory.unfinished_parts()) == {"b-0000", "b-0001"}
    assert pd.read_parquet(run.path / "layers")["trial_id"].value_counts().to_dict() == {"a": 20, "b": 16}


@pytest.mark.parametrize("harm", ["lost", "broken"])
def test_a_file_that_is_lost_or_broken_is_told_and_the_others_are_read(tmp_path, harm):
    run = make_watched(tmp_path / "run", [WatchedTrial("a", files=((0,), (10,), (20,)))])
    file = run.path / "layers" / "a-0001.parquet"
    file.unlink() if harm == "lost" else file.write_bytes(file.read_bytes()[:-20])
    trials = read_trials([run.directory])
    for when in ("first", "last"):
        records = read_records(trials, "layers", ["layer"], when)
        assert records.columns["layer"].tolist() == [1, 2, 3]
        assert [miss.path for miss in records.skipped] == [file]
    pieces = list(parts_of(run.directory, "layers"))
    assert [isinstance(piece, Skipped) for piece in pieces] == [False, True, False]


def test_the_gradient_is_followed_along_time_where_there_are_time_steps(tmp_path):
    trainings = [
        WatchedTrial(
            "flat", rows=(("a", "layer", 1), ("n", "norm", 0), ("b", "layer", 2), ("c", "layer", 3)), decay=0.5
        ),
        WatchedTrial("deep", rows=recurrent(6), decay=0.25),
        WatchedTrial("short", rows=recurrent(1), decay=0.25),
    ]
    run = make_watched(tmp_path / "run", trainings)
    trials = read_trials([run.directory])
    records = LayerRecords.read(trials, "first", ("units", "dead_units"))
    order = [trials.frame["trial_id"].tolist().index(name) for name in ("flat", "deep", "short")]
    assert records.steps[order].tolist() == [2, 6, 1]
    assert records.hidden[order].tolist() == [2, 2, 2]
    np.testing.assert_allclose(10 ** records.ratio().logs[order], [0.5, 0.25**5, 1.0])
    np.testing.assert_allclose(10 ** records.decay().logs[order[:2]], [0.5, 0.25])
    assert np.isnan(records.decay().logs[order[2]])
    table = pd.read_parquet(run.path / "layers")
    table = table[(table["step"] == 0) & (table["kind"] == "layer")]
    hidden = table[table["layer"] < 3].groupby("trial_id")
    dead = (hidden["dead_units"].sum() / hidden["units"].sum())[["flat", "deep", "short"]]
    np.testing.assert_allclose(records.share_of_units("dead_units")[order], dead)
    first = table[table["layer"] == 1].set_index("trial_id")["log10_weight_grad_norm"][["flat", "deep", "short"]]
    np.testing.assert_allclose(records.logs_at(records.weight_grad, records.is_first).logs[order], first)
