"""One writer at a time, by the system's locks or, where it has none, by a file that names its maker."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradlab.store import locking
from gradlab.store.locking import HeldError, locked

WITHOUT_LOCKS = """
import errno, fcntl
def flock(descriptor, operation):
    raise OSError(errno.ENOTSUP, "not supported")
fcntl.flock = flock
"""
HOLD = """
import sys, time, pathlib
from gradlab.store.locking import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["locks", "no locks"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What another process has to do first to live in the same world."""
    if request.param == "locks":
        return ""

    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(locking.fcntl, "flock", flock)
    return WITHOUT_LOCKS


def holding(system: str, folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", system + HOLD, str(folder)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_another_process_and_another_part_of_this_one_are_kept_out(system: str, tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(HeldError, match=rf"process {os.getpid()} .*--out"), locked(tmp_path):
            pass
        with locked(tmp_path, "another"):
            pass
    with holding(system, tmp_path) as process:
        try:
            with pytest.raises(HeldError, match=f"process {process.pid} on {socket.gethostname()}"), locked(tmp_path):
                pass
        finally:
            process.kill()


def test_a_dead_process_does_not_block(system: str, tmp_path: Path) -> None:
    with holding(system, tmp_path) as process:
        process.kill()
    assert list(tmp_path.iterdir()), "what it held is still there"
    for _ in range(2):
        with locked(tmp_path), pytest.raises(HeldError), locked(tmp_path):
            pass


def test_waiting_until_the_other_has_ended(system: str, tmp_path: Path) -> None:
    with holding(system, tmp_path) as process:
        waiting = multiprocessing.get_context("fork").Process(target=_take, args=(tmp_path,))
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        process.kill()
        waiting.join(20)
        assert waiting.exitcode == 0


def _take(folder: Path) -> None:
    with locked(folder, wait=True):
        os._exit(0)


def test_a_forked_process_that_lives_on_does_not_hold_the_lock(tmp_path: Path) -> None:
    """As one that hangs beside a run that was killed."""
    program = HOLD.replace(
        'print("held", flush=True)',
        "import os, signal; os.fork() or print(os.getpid(), flush=True); signal.pause()",
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            os.kill(child, 0)
            with locked(tmp_path):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    ("owner", "free"),
    [
        ("process {dead} on {host} ({started})", True),
        ("process {own} on {host} (another life)", True),
        ("process {own} on {host} ({started})", False),
        ("process {dead} on elsewhere ({started})", False),
    ],
    ids=["it is dead", "its number was given to another", "it lives", "on another machine"],
)
def test_what_an_owner_s_file_is_worth(owner: str, free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "fcntl", None)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    started = locking._started(os.getpid())
    text = owner.format(dead=ended.pid, own=os.getpid(), host=socket.gethostname(), started=started)
    (tmp_path / ".lock.owner").write_text(text)
    if free:
        with locked(tmp_path):
            assert str(os.getpid()) in (tmp_path / ".lock.owner").read_text()
        assert not list(tmp_path.iterdir())
    else:
        with pytest.raises(HeldError, match=r"remove .*\.lock\.owner"), locked(tmp_path):
            pass
        assert (tmp_path / ".lock.owner").read_text() == text


@pytest.mark.parametrize("age", [0, 3600])
def test_an_owner_s_file_without_a_name(age: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maker is about to write it, or was killed before it could."""
    monkeypatch.setattr(locking, "fcntl", None)
    path = tmp_path / ".lock.owner"
    path.write_text("")
    os.utime(path, (time.time() - age,) * 2)
    if age:
        with locked(tmp_path):
            pass
    else:
        with pytest.raises(HeldError), locked(tmp_path):
            pass


def test_some_share_and_nobody_else_comes_in(system: str, tmp_path: Path) -> None:
    with locked(tmp_path, shared=True):
        with locked(tmp_path, shared=True), pytest.raises(HeldError), locked(tmp_path):
            pass
        with pytest.raises(HeldError), locked(tmp_path):
            pass
    with locked(tmp_path):
        for shared in (True, False):
            with pytest.raises(HeldError, match=rf"process {os.getpid()} "), locked(tmp_path, shared=shared):
                pass
    with locked(tmp_path, shared=True):
        pass


def test_who_shared_and_was_killed_keeps_nobody_out(system: str, tmp_path: Path) -> None:
    sharing = HOLD.replace("sys.argv[1])", "sys.argv[1]), shared=True")
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", system + sharing, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(HeldError, match=rf"process {process.pid} "), locked(tmp_path):
        pass
    process.kill()
    process.communicate()
    with locked(tmp_path):
        pass
