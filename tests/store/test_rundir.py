"""The run directory as its writer sees it: whole files, one writer, continued after any crash."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from gradlab.errors import MachineError, UsageError
from gradlab.store import atomic, rundir
from gradlab.store.locking import HeldError
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import SCHEMA_VERSION
from tests.store.synthetic import DIGEST, TABLES, FakeTrial, arrow, make_run


def contents(path: Path) -> dict[str, str]:
    files = (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_new_directory_holds_the_config_and_empty_tables(tmp_path):
    run = RunDirectory.create_or_continue(tmp_path / "deep" / "runs", "depth", DIGEST, "name: depth\n")
    assert run.path == tmp_path / "deep" / "runs" / "depth-01234567"
    assert (run.path / "config.yaml").read_text() == "name: depth\n"
    assert sorted(p.name for p in run.path.iterdir() if p.is_dir()) == ["layers", "steps", "trials"]
    assert run.read_info() == {"schema_version": SCHEMA_VERSION, "config_digest": DIGEST}
    assert [p.name for p in run.path.parent.iterdir()] == [run.path.name]


def test_parts_are_read_by_pandas_alone(tmp_path):
    trials = [FakeTrial("a", 0, depth=3), FakeTrial("b", 1, depth=3)]
    run = make_run(tmp_path, [trials[:1], trials[1:]])
    for table, rows in (("trials", 2), ("steps", 4), ("layers", 16)):
        assert len(pd.read_parquet(run.path / table)) == rows
    footer = pq.read_metadata(run.parts("layers")[0])
    assert footer.metadata[b"gradlab.schema_version"] == str(SCHEMA_VERSION).encode()
    assert footer.row_group(0).column(0).compression == "ZSTD"


def test_finished_trials_are_those_in_the_trials_table(tmp_path):
    failed = FakeTrial("b", results={"status": "failed", "error": "out of memory"})
    run = make_run(tmp_path, [[FakeTrial("a")], [failed], [FakeTrial("c")]])
    (run.path / "trials" / "part-2.parquet").unlink()
    assert run.finished_trials() == {"a": "completed", "b": "failed"}
    assert run.unfinished_parts() == {"part-2": ("c",)}


@pytest.mark.parametrize("lost", [("trials",), ("trials", "steps"), ("trials", "steps", "layers")])
def test_a_run_killed_between_two_tables_is_completed_and_nothing_is_rewritten(tmp_path, lost):
    part = [FakeTrial("a", 0), FakeTrial("b", 1)]
    run = make_run(tmp_path, [[FakeTrial("z", 9)], part])
    for table in lost:
        (run.path / table / "part-1.parquet").unlink()
    (run.path / "layers" / ".part-1.parquet.99.tmp").write_bytes(b"PAR1 half")
    before = {file: (run.path / file).stat() for file in contents(run.path) if not file.endswith(".tmp")}
    run = make_run(tmp_path, [[FakeTrial("z", 9)], part])
    assert run.finished_trials() == dict.fromkeys("zab", "completed")
    assert not list(run.path.rglob("*.tmp"))
    for file, stat in before.items():
        after = (run.path / file).stat()
        assert (after.st_ino, after.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)


def test_a_crash_while_writing_leaves_no_part(tmp_path, monkeypatch):
    run = make_run(tmp_path, [])

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(MachineError, match=r"layers.*No space left.*free some space") as caught:
        run.write_part("p", **arrow([FakeTrial("a")]))
    assert caught.value.exit_code == 5
    assert [list((run.path / table).iterdir()) for table in TABLES] == [[], [], []]


def test_the_trials_table_comes_last(tmp_path, monkeypatch):
    run, seen = make_run(tmp_path, []), []
    replace = Path.replace

    def watched(self, target):
        seen.append(Path(target).parent.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    run.write_part("p", **arrow([FakeTrial("a")]))
    assert seen == ["layers", "steps", "trials"]


def test_a_broken_part_is_written_again(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")]])
    (run.path / "trials" / "part-0.parquet").write_bytes(b"PAR1 torn")
    assert run.finished_trials() == {}
    run.write_part("part-0", **arrow([FakeTrial("a")]))
    assert run.finished_trials() == {"a": "completed"}


def test_a_part_of_other_trials_is_no_continuation(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")]])
    with pytest.raises(UsageError, match=r"part-0.parquet holds other trials.*--fresh"):
        run.write_part("part-0", **arrow([FakeTrial("b")]))


def test_fresh_starts_over(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")]])
    again = RunDirectory.create_or_continue(tmp_path, "fake", DIGEST, "name: fake\n", fresh=True)
    assert again == run
    assert again.finished_trials() == {}
    assert [p.name for p in tmp_path.iterdir()] == [run.path.name]


@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_no_run_directory_is_left_alone(tmp_path, fresh):
    theirs = tmp_path / f"fake-{DIGEST[:8]}"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="--out"):
        RunDirectory.create_or_continue(tmp_path, "fake", DIGEST, "", fresh=fresh)
    assert (theirs / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_becomes_the_run(tmp_path):
    (tmp_path / f"fake-{DIGEST[:8]}").mkdir()
    assert make_run(tmp_path, [[FakeTrial("a")]]).finished_trials() == {"a": "completed"}


def test_another_config_with_the_same_first_digits_is_refused(tmp_path):
    make_run(tmp_path, [])
    with pytest.raises(UsageError, match="another config"):
        make_run(tmp_path, [], digest=DIGEST[:8] + "f" * 56)


def test_a_newer_schema_is_refused(tmp_path):
    run = make_run(tmp_path, [])
    run.write_info({"schema_version": SCHEMA_VERSION + 1})
    with pytest.raises(UsageError, match="newer gradlab"):
        make_run(tmp_path, [])


def test_out_that_is_a_file_is_named_with_a_remedy(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(MachineError, match=r"runs.*--out"):
        make_run(tmp_path / "runs", [])


def test_info_keeps_the_identity_and_survives_damage(tmp_path):
    run = make_run(tmp_path, [])
    run.write_info({"torch": "2.13.0", "threads": 2})
    assert run.read_info() == {
        "schema_version": SCHEMA_VERSION,
        "config_digest": DIGEST,
        "torch": "2.13.0",
        "threads": 2,
    }
    (run.path / "run.json").write_text("{")
    assert run.read_info() == {}
    assert json.loads((make_run(tmp_path, []).path / "run.json").read_text())["config_digest"] == DIGEST


def test_a_second_writer_is_refused_and_told_what_to_do(tmp_path):
    run = make_run(tmp_path, [])
    with run.lock():
        with pytest.raises(MachineError, match=rf"process {os.getpid()} .*--out"), run.lock():
            pass
        with pytest.raises(MachineError, match="another gradlab run"):
            RunDirectory.create_or_continue(tmp_path, "fake", DIGEST, "", fresh=True)
    with run.lock():
        assert run.path.exists()


def test_the_lock_of_a_killed_process_does_not_block(tmp_path):
    run = make_run(tmp_path, [])
    program = (
        "import sys, time, pathlib\n"
        "from gradlab.store.locking import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(MachineError, match=f"process {process.pid}"), run.lock():
            pass
        process.kill()
        process.wait()
    assert (run.path / ".lock").exists()
    with run.lock():
        pass


def test_a_directory_that_another_process_starts_over_in_this_moment(tmp_path, monkeypatch):
    """It is gone between the look at it and the lock."""
    run = make_run(tmp_path, [])

    def check_ours(self, digest, fresh):
        shutil.rmtree(run.path)

    monkeypatch.setattr(RunDirectory, "_check_ours", check_ours)
    with pytest.raises(HeldError, match=r"another gradlab run is starting over.*--out"):
        RunDirectory.create_or_continue(tmp_path, "fake", DIGEST, "name: fake\n", fresh=True)


def test_nothing_half_made_is_left_where_a_directory_cannot_be_made(tmp_path, monkeypatch):
    def no_space(path, write):
        raise MachineError("no space left")

    monkeypatch.setattr(rundir, "write_whole", no_space)
    with pytest.raises(MachineError, match="no space left"):
        make_run(tmp_path, [])
    assert not list(tmp_path.rglob("*fake*"))
