"""A run that is stopped, however it is stopped, and continued."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.commands import (
    KEYS,
    identities,
    invoke,
    only_run,
    parts,
    read,
    same_runs,
    start,
    train,
    wait_for,
    write_config,
)

SLOW = """
    name: stopped
    data: {name: moons, n_samples: 100}
    model: {depth: 3}
    train: {steps: 80, batch_size: 20}
    record: {every: 8}
    seeds: 2
    sweep:
      grid:
        model.width: [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
        model.activation: [sigmoid, relu]
    """
TRIALS = 40


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    return train(write_config(folder, SLOW), folder / "runs")


def processes_of(group: int) -> list[int]:
    """Processes of a process group that have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(entry.name))
    return found


def ended(group: int, within: float) -> bool:
    """Whether all processes of a group end within some seconds."""
    deadline = time.monotonic() + within
    while processes_of(group):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("number", "to_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["Ctrl-C", "SIGTERM"]
)
def test_interrupted_and_continued(number: signal.Signals, to_group: bool, undisturbed: Path, tmp_path: Path) -> None:
    config, out = write_config(tmp_path, SLOW), tmp_path / "runs"
    process = start("run", config, "--out", out, "--workers", "2")
    wait_for(lambda: bool(parts(out)), process)
    second = invoke("run", config, "--out", out)
    assert second.code == 5, "another command doesn't write to the same run"
    assert f"process {process.pid}" in second.stderr
    sent = time.monotonic()
    os.killpg(process.pid, number) if to_group else process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert time.monotonic() - sent < 2
    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "continue" in stderr
    assert ended(process.pid, 2), "no worker outlives the command"

    run = only_run(out)
    kept, before = read(run, "trials"), identities(run)
    assert 0 < len(kept) < TRIALS
    assert not list(run.glob("*/.*")), "no half-written file"
    assert set(pd.read_parquet(run / "layers")["trial_id"]) >= set(kept["trial_id"])

    answer = invoke("run", config, "--out", out, "--json")
    assert answer.code == 0
    assert f"{len(kept)} trials finished before" in answer.stderr
    assert sum(group["trials"] for group in json.loads(answer.stdout)["groups"]) == TRIALS
    assert identities(run).items() >= before.items(), "a finished part is never rewritten"
    same_runs(run, undisturbed)


def test_interrupted_in_the_middle_of_a_fork(tmp_path: Path) -> None:
    """Python drops a KeyboardInterrupt raised in a hook that runs at a fork; the user's Ctrl-C must not get lost."""
    program = """
        import os, signal, sys
        sent = []

        def interrupt():
            if not sent:
                sent.append(1)
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass

        os.register_at_fork(after_in_parent=interrupt)
        from gradlab.cli import main
        main()
        """
    config, out = write_config(tmp_path, SLOW), tmp_path / "runs"
    endless = ["--set", "train.steps=100000000", "--set", "record.every=100000000"]
    options = ["--out", str(out), "--workers", "2", "--quiet", *endless]
    command = [sys.executable, "-c", textwrap.dedent(program), "run", str(config), *options]
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, stderr = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        _, stderr = process.communicate()
        raise AssertionError(f"the interrupt was lost: {stderr}") from None
    assert process.returncode == 130
    assert "Exception ignored" not in stderr
    assert ended(process.pid, 2)


def test_killed_at_random_moments_and_continued(undisturbed: Path, tmp_path: Path) -> None:
    config, out = write_config(tmp_path, SLOW), tmp_path / "runs"
    before: dict[str, tuple[int, int]] = {}
    for _ in range(2):
        process = start("run", config, "--out", out, "--workers", "2", "--quiet")
        count = len(parts(out, "layers"))
        wait_for(lambda count=count: len(parts(out, "layers")) > count, process)  # type: ignore[misc]
        time.sleep(random.uniform(0, 0.2))  # noqa: S311
        process.kill()
        process.communicate()
        assert ended(process.pid, 5), "workers end when their parent is gone"
        now = identities(only_run(out))
        assert now.items() >= before.items(), "a finished part is never rewritten"
        before = now
    run = train(config, out)
    assert identities(run).items() >= before.items()
    assert not list(run.glob("*/.*"))
    same_runs(run, undisturbed)


def test_killed_between_the_tables_of_a_part(undisturbed: Path, tmp_path: Path) -> None:
    """As a crash leaves it that hits between two renames: `layers` of a part, without its `trials`."""
    config, out = write_config(tmp_path, SLOW), tmp_path / "runs"
    run = train(config, out)
    first, second = sorted(path.name for path in (run / "trials").iterdir())[:2]
    (run / "trials" / first).unlink()
    (run / "trials" / second).unlink()
    (run / "steps" / second).unlink()
    (run / "layers" / f".{second}.123.tmp").write_bytes(b"half")
    before = identities(run)
    assert train(config, out) == run
    assert identities(run).items() >= before.items()
    assert not list(run.glob("*/.*"))
    same_runs(run, undisturbed)


def test_a_finished_run_trains_nothing_again(undisturbed: Path) -> None:
    config, before = undisturbed.parent.parent / "config.yaml", identities(undisturbed)
    tables = {table: read(undisturbed, table) for table in KEYS}
    answer = invoke("run", config, "--out", undisturbed.parent)
    assert answer.code == 0
    assert f"{TRIALS} trials finished before" in answer.stderr
    assert "diagnosis" in answer.stdout, "the summary is there as it was"
    assert identities(undisturbed) == before
    for table, rows in tables.items():
        pd.testing.assert_frame_equal(read(undisturbed, table), rows, check_exact=True)


def test_another_config_of_the_same_name_has_another_directory(tmp_path: Path) -> None:
    config = write_config(tmp_path, SLOW)
    small = ("--set", "sweep={}", "--set", "train.steps=2")
    train(config, tmp_path / "runs", *small)
    assert invoke("run", config, "--out", tmp_path / "runs", *small, "--set", "model.depth=4", "--quiet").code == 0
    assert len(list((tmp_path / "runs").glob("stopped-*"))) == 2
