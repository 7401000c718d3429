"""Worker processes: what they send, how they die, what is left of them."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gradlab.executors import ATTEMPTS, run_here, run_in_workers

Report = Callable[[float], None]


def quiet(_share: float) -> None:
    pass


def results(items: list[int], work: Callable[[int, Report], object], workers: int = 2) -> dict[int, object]:
    return {done.item: done.result for done in run_in_workers(items, work, workers, quiet)}


def test_every_item_s_result_comes_once() -> None:
    items = list(range(23))
    for workers in (1, 3, 40):
        assert results(items, lambda item, report: item**2, workers) == {item: item**2 for item in items}
    assert [done.result for done in run_here(items, lambda item, report: item**2, quiet)] == [i**2 for i in items]


@pytest.mark.parametrize("workers", [1, 2])
def test_who_dies_is_tried_again_and_then_told_with_its_reason(workers: int, tmp_path: Path) -> None:
    def work(item: int, _report: Report) -> int:
        with (tmp_path / str(item)).open("a") as tries:
            tries.write(f"{os.getpid()}\n")
        if item == 3:
            os._exit(17)
        if item == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == 7 and len((tmp_path / "7").read_text().splitlines()) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return item

    found = {done.item: done for done in run_in_workers(list(range(9)), work, workers, quiet)}
    assert len(found) == 9
    assert {item for item, done in found.items() if done.result is None} == {3, 5}
    assert "exit code 17" in str(found[3].reason)
    assert "SIGKILL" in str(found[5].reason)
    for item in (3, 5):
        tries = (tmp_path / str(item)).read_text().splitlines()
        assert len(set(tries)) == len(tries) == ATTEMPTS, "each time in a process of its own"
    assert found[7].result == 7, "once is forgiven"


def test_a_worker_that_leaves_a_process_behind_and_dies(tmp_path: Path) -> None:
    """What the user's code has forked holds the pipe open: its end is no sign of life."""

    def work(item: int, _report: Report) -> int:
        if item == 1:
            if (child := os.fork()) == 0:
                time.sleep(3600)
            with (tmp_path / "children").open("a") as children:
                children.write(f"{child}\n")
            os._exit(1)
        return item

    try:
        assert results([0, 1, 2], work) == {0: 0, 1: None, 2: 2}
    finally:
        for child in (tmp_path / "children").read_text().split():
            os.kill(int(child), signal.SIGKILL)


class UnsendableError(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


@pytest.mark.parametrize(
    ("error", "kind"), [(KeyError("a"), KeyError), (UnsendableError("one", "other"), RuntimeError)], ids=repr
)
def test_a_bug_is_raised_again_with_its_traceback(error: Exception, kind: type[Exception]) -> None:
    def broken(_item: int, _report: Report) -> None:
        raise error

    with pytest.raises(kind) as caught:
        results([1], broken)
    assert str(error) in str(caught.value)
    assert "in broken" in "".join(caught.value.__notes__)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux chooses by these numbers whom it kills")
def test_where_memory_runs_out_a_worker_is_killed_before_its_parent() -> None:
    def score(_item: int, _report: Report) -> int:
        return int(Path("/proc/self/oom_score_adj").read_text())

    own = score(0, quiet)
    assert results([1], score) == {1: min(1000, own + 500)}


def test_what_pause_raises_ends_the_work_and_the_workers(tmp_path: Path) -> None:
    def hang(_item: int, _report: Report) -> None:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(3600)

    def pause() -> None:
        if len(list(tmp_path.iterdir())) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_in_workers([1, 2, 3], hang, 2, quiet, pause))
    for process in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(process.name), 0)


def test_too_few_files_for_another_worker() -> None:
    open_now = len(os.listdir("/dev/fd"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 8, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            results(list(range(50)), lambda item, report: item, 50)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(os.listdir("/dev/fd")) <= open_now + 2, "no more than the pipe that multiprocessing was just making"
