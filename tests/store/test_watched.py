"""The run directory of watched trainings as its writers see it: many at once, whole files, nothing lost."""

import errno
import itertools
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from gradlab.errors import MachineError, UsageError
from gradlab.store import atomic
from gradlab.store.finding import find_run
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import SCHEMA_VERSION, column_type, schema
from gradlab.store.watched import WatchedRun
from tests.store.synthetic import TABLES, FakeTrial, arrow, make_run

FORK = multiprocessing.get_context("fork")


def open_at(path: Path, name: str = "mine") -> WatchedRun:
    return WatchedRun.open(path, f"name: {name}\n", {"started": "now"})


def write(run: WatchedRun, trial: FakeTrial, number: int = 0) -> None:
    tables = arrow([trial])
    run.write_rows(trial.trial_id, number, tables["steps"], tables["layers"])
    run.replace_trials(trial.trial_id, tables["trials"])


def names(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*.parquet"))


def test_it_stands_at_exactly_the_path_that_was_named(tmp_path):
    run = open_at(tmp_path / "deep" / "mine")
    assert find_run(tmp_path / "deep" / "mine")[0].path == run.path
    assert (run.path / "config.yaml").read_text() == "name: mine\n"
    assert run.directory.read_info() == {"schema_version": SCHEMA_VERSION, "watched": True, "started": "now"}
    assert [path.name for path in run.path.parent.iterdir()] == ["mine"]


def test_one_that_stands_there_is_opened_and_left_as_it_is(tmp_path):
    write(open_at(tmp_path / "mine"), FakeTrial("a"))
    run = open_at(tmp_path / "mine", "other")
    write(run, FakeTrial("b"))
    assert (run.path / "config.yaml").read_text() == "name: mine\n"
    assert run.directory.finished_trials() == {"a": "completed", "b": "completed"}


def test_an_empty_folder_becomes_one(tmp_path):
    (tmp_path / "mine").mkdir()
    assert open_at(tmp_path / "mine").directory.read_info()["watched"]


@pytest.mark.parametrize("make", ["files", "file", "run", "inside", "newer"])
def test_what_else_stands_there_is_refused_and_left_alone(tmp_path, make):
    path = tmp_path / "mine"
    if make == "files":
        path.mkdir()
        (path / "thesis.tex").write_text("text")
    elif make == "file":
        path.write_text("text")
    elif make == "run":
        path = make_run(tmp_path, [[FakeTrial("a")]]).path
    elif make == "inside":
        path = make_run(tmp_path, [[FakeTrial("a")]]).path / "layers"
    else:
        RunDirectory(open_at(path).path).write_info({"schema_version": SCHEMA_VERSION + 1})
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(UsageError, match=r"choose another folder \(out=\)") as caught:
        open_at(path)
    assert str(path) in str(caught.value)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("fresh", [False, True])
def test_a_sweep_never_takes_one_for_its_own(tmp_path, fresh):
    run = open_at(tmp_path / "depth-01234567")
    write(run, FakeTrial("a"))
    with pytest.raises(UsageError, match=r"gradlab\.watch"):
        RunDirectory.create_or_continue(tmp_path, "depth", "0123456789", "name: depth\n", fresh)
    assert run.directory.finished_trials() == {"a": "completed"}


def test_tables_are_read_by_pandas_alone(tmp_path):
    run = open_at(tmp_path / "mine")
    trial = FakeTrial("a", depth=3)
    for number in range(3):
        write(run, trial, number)
    assert names(run.path / "layers") == ["a-0000.parquet", "a-0001.parquet", "a-0002.parquet"]
    assert len(pd.read_parquet(run.path / "layers")) == 3 * len(trial.layer_rows())
    assert len(pd.read_parquet(run.path / "steps")) == 3 * len(trial.step_rows())
    assert len(pd.read_parquet(run.path / "trials")) == 1


def test_rows_are_never_rewritten_and_trials_are_replaced(tmp_path):
    run = open_at(tmp_path / "mine")
    write(run, FakeTrial("a"))
    with pytest.raises(ValueError, match="a-0000"):
        write(run, FakeTrial("a"))
    run.replace_trials("a", arrow([FakeTrial("a", results={"status": "diverged"})])["trials"])
    assert run.directory.finished_trials() == {"a": "diverged"}


def test_a_full_disk_leaves_what_stood_there(tmp_path, monkeypatch):
    run = open_at(tmp_path / "mine")
    write(run, FakeTrial("a"))
    before = names(run.path)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    tables = arrow([FakeTrial("a", results={"status": "diverged"})])
    with pytest.raises(MachineError, match="No space"):
        run.write_rows("a", 1, tables["steps"], tables["layers"])
    with pytest.raises(MachineError, match="No space"):
        run.replace_trials("a", tables["trials"])
    assert names(run.path) == before
    assert not list(run.path.rglob("*.tmp"))
    assert run.directory.finished_trials() == {"a": "completed"}


def test_a_training_that_stands_there_is_refused_unless_it_is_to_be_replaced(tmp_path):
    run = open_at(tmp_path / "mine")
    with run.claim("a"):
        write(run, FakeTrial("a"))
        write(run, FakeTrial("a-1"))
    with pytest.raises(UsageError, match=r"recorded there already.*fresh=True"):
        run.claim("a")
    (run.path / "layers" / ".a-0001.parquet.77.tmp").write_bytes(b"PAR1 half")
    with run.claim("a", fresh=True):
        left = sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*a*.parquet*"))
    assert left == ["layers/a-1-0000.parquet", "steps/a-1-0000.parquet", "trials/a-1.parquet"]


def test_one_writer_for_a_training_any_number_for_a_directory(tmp_path):
    run = open_at(tmp_path / "mine")
    with run.claim("a") as held:
        with pytest.raises(UsageError, match="being recorded there right now"):
            open_at(tmp_path / "mine").claim("a", fresh=True)
        with run.claim("b"):
            pass
        held.close()
        with run.claim("a"):
            pass


def test_rows_without_their_trial_are_swept_away_by_the_next_training_of_that_name(tmp_path):
    run = open_at(tmp_path / "mine")
    write(run, FakeTrial("a"))
    write(run, FakeTrial("b"))
    (run.path / "trials" / "a.parquet").unlink()
    with run.claim("a"):
        assert names(run.path) == ["layers/b-0000.parquet", "steps/b-0000.parquet", "trials/b.parquet"]


def _train(path: Path, name: str) -> None:
    run = open_at(path)
    with run.claim(name):
        for number in range(5):
            write(run, FakeTrial(name), number)
            run.update_info({"weight_prints": {name: [0.5, float(number)]}, f"end_{name}": number})


def test_several_processes_and_threads_lose_nothing(tmp_path):
    path = tmp_path / "mine"
    processes = [FORK.Process(target=_train, args=(path, f"p{number}")) for number in range(4)]
    threads = [threading.Thread(target=_train, args=(path, f"t{number}")) for number in range(4)]
    for one in [*processes, *threads]:
        one.start()
    for one in [*processes, *threads]:
        one.join()
    assert [process.exitcode for process in processes] == [0] * 4
    known = {f"{kind}{number}" for kind in "pt" for number in range(4)}
    info = RunDirectory(path).read_info()
    assert info["weight_prints"] == {name: [0.5, 4.0] for name in known}
    assert {key for key in info if key.startswith("end_")} == {f"end_{name}" for name in known}
    assert info["watched"] is True
    assert set(RunDirectory(path).finished_trials()) == known
    assert len(names(path)) == 8 * (1 + 5 + 5)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def _train_until_killed(path: Path) -> None:
    run = open_at(path)
    with run.claim("a"):
        for number in range(100_000):
            write(run, FakeTrial("a"), number)


def test_a_killed_writer_leaves_whole_files_and_lets_go(tmp_path):
    path = tmp_path / "mine"
    process = FORK.Process(target=_train_until_killed, args=(path,))
    process.start()
    while len(names(path / "steps")) < 3:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    for table in TABLES:
        assert len(pd.read_parquet(path / table))
    with WatchedRun.open(path, "", {}).claim("a", fresh=True):
        assert names(path) == []


def with_settings(trial_id: str, **settings: object) -> pa.Table:
    plain = arrow([FakeTrial(trial_id)])["trials"].to_pylist()
    kinds = {name: column_type([value]) for name, value in settings.items()}
    return pa.Table.from_pylist([row | settings for row in plain], schema=schema("trials", kinds))


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_settings_of_some_trainings_are_columns_for_any_reader(tmp_path, order):
    """pandas takes the columns of a folder from one of its files, whichever is the first."""
    own = {"a": {}, "b": {"heads": 2, "warm": True}, "c": {"heads": 0.5, "cell": "gru"}}
    run = open_at(tmp_path / "mine")
    for trial_id in (*order, *order):
        run.replace_trials(trial_id, with_settings(trial_id, **own[trial_id]))
    read = pd.read_parquet(run.path / "trials").set_index("trial_id").sort_index()
    assert read.heads.tolist()[1:] == [2, 0.5]
    assert read.heads.isna().tolist() == [True, False, False]
    assert read.warm.tolist()[1] is True
    assert read.cell.tolist()[2] == "gru"
    assert read.seed.notna().all()
