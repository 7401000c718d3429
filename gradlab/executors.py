"""Where parts are worked on: in this process, or in worker processes beside it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

REPORT_EVERY = 0.1
"""Seconds between a worker's reports of its progress."""

ATTEMPTS = 2
"""How often an item is tried whose worker process dies."""

LOOK_EVERY = 0.2
"""Seconds after which workers that say nothing are looked at: whether they are alive."""

_PR_SET_PDEATHSIG = 1
"""As Linux numbers it."""


@dataclass(frozen=True)
class Report:
    """How work on an item speaks, while it goes on, to the process that asked for it.

    Attributes:
        progress: hears the share of the work that is done; calling the report is the same.
        tell: hears anything else, which must survive being sent.
    """

    progress: Callable[[float], None]
    tell: Callable[[Any], None]

    def __call__(self, share: float) -> None:
        """So much is done."""
        self.progress(share)


Work = Callable[[Any, Report], Result]


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """An item and what came of it; `result` is None where its worker process died each time, for `reason`."""

    item: Item
    result: Result | None
    reason: str | None = None


def run_here(
    items: Sequence[Item],
    work: Work[Result],
    progress: Callable[[float], None],
    hear: Callable[[Any], None] = lambda message: None,
) -> Generator[Done[Item, Result]]:
    """Work on the items one by one in this process.

    Args:
        progress: hears the share of the current item.
        hear: hears what else the work tells.
    """
    for item in items:
        yield Done(item, work(item, Report(progress, hear)))


def can_fork() -> bool:
    """Whether worker processes can be had: they inherit what this process has loaded."""
    return "fork" in multiprocessing.get_all_start_methods()


def run_in_workers(
    items: Sequence[Item],
    work: Work[Result],
    workers: int,
    progress: Callable[[float], None],
    pause: Callable[[], None] = lambda: None,
    hear: Callable[[Any], None] = lambda message: None,
) -> Generator[Done[Item, Result]]:
    """Work on the items in forked processes, in the given order, results as they come.

    A worker that dies is replaced, and its item tried once more. Leaving the generator ends the workers at once.

    Args:
        progress: hears how many items' worth of work is in progress, as a sum of shares.
        pause: is called several times a second; what it raises ends the work.
        hear: hears what else the work tells.

    Raises:
        OSError: the machine has no further process, or no further file, for a worker.
    """
    pool: list[_Worker] = []
    waiting = list(reversed(range(len(items))))
    attempts = [0] * len(items)
    try:
        for _ in range(min(workers, len(items))):
            pool.append(_Worker(items, work))
            pool[-1].give(waiting.pop())
        while any(worker.busy for worker in pool):
            for worker in _ready([worker for worker in pool if worker.busy], pause):
                index = worker.index
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, OSError):
                    reason = worker.death()
                    attempts[index] += 1
                    pool.remove(worker)
                    pool.append(worker := _Worker(items, work))
                    if attempts[index] < ATTEMPTS:
                        worker.give(index)
                        continue
                    yield Done(items[index], None, reason)
                else:
                    if kind == "progress":
                        worker.share = value
                        progress(sum(other.share for other in pool if other.busy))
                        continue
                    if kind == "told":
                        hear(value)
                        continue
                    if kind == "raised":
                        raise value
                    worker.index, worker.share = -1, 0.0
                    yield Done(items[index], value)
                if waiting:
                    worker.give(waiting.pop())
    finally:
        for worker in pool:
            worker.process.kill()
        for worker in pool:
            worker.end()


class _Worker:
    """One forked process, and this side of the pipe to it."""

    def __init__(self, items: Sequence[Any], work: Work[Any]) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, items, work, os.getpid()), daemon=True)
        try:
            with _interrupts_held():
                self.process.start()
        except OSError:
            self.connection.close()
            raise
        finally:
            theirs.close()
        self.index, self.share = -1, 0.0

    @property
    def busy(self) -> bool:
        return self.index >= 0

    def give(self, index: int) -> None:
        self.index, self.share = index, 0.0
        with suppress(OSError):  # it has died already: what reads its answer will notice
            self.connection.send(index)

    def death(self) -> str:
        """Why the process is gone."""
        self.process.join(1)
        code = self.process.exitcode
        self.end()
        if code == -signal.SIGKILL:
            return "its worker process was killed by SIGKILL, as the system does where memory runs out"
        if code is not None and code < 0:
            return f"its worker process was killed by {_signal_name(-code)}"
        return f"its worker process ended with exit code {code}"

    def end(self) -> None:
        """End the process, if it hasn't ended: it holds nothing that would have to be put in order."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _ready(busy: Sequence[_Worker], pause: Callable[[], None]) -> list[_Worker]:
    """Workers that have something to say, or are dead; waits for one."""
    while True:
        pause()
        if speaking := wait([worker.connection for worker in busy], LOOK_EVERY):
            return [worker for worker in busy if worker.connection in speaking]
        # A dead worker's end of the pipe lives on in processes that the user's own code has forked there.
        dead = [worker for worker in busy if not worker.process.is_alive() and not worker.connection.poll()]
        for worker in dead:
            worker.connection.close()
        if dead:
            return dead


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_INTERRUPTS = {signal.SIGINT, signal.SIGTERM}


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Interrupts wait until the end: Python drops an exception that is raised in the middle of a fork."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, items: Sequence[Any], work: Work[Any], parent: int) -> None:
    """A worker's life: take an index, work on its item, send what came of it; end when the parent is gone."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
    _die_with_parent()
    _die_before_parent()
    reported = 0.0

    def progress(share: float) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= REPORT_EVERY:
            reported = now
            if os.getppid() != parent:
                os._exit(1)
            connection.send(("progress", share))

    report = Report(progress, lambda message: connection.send(("told", message)))
    while os.getppid() == parent:
        if not connection.poll(1.0):
            continue
        try:
            index = connection.recv()
        except EOFError:
            return
        try:
            answer = ("done", work(items[index], report))
        except Exception as error:  # a bug: it is raised again where its traceback is seen
            answer = ("raised", _sendable(error))
        connection.send(answer)


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note, or one that says the same where it doesn't survive being sent."""
    told = "in a worker process:\n" + "".join(traceback.format_exception(error))
    try:
        same = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here, in this line
    except Exception:
        same = None
    sent = error if type(same) is type(error) else RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(told)
    return sent


def _die_with_parent() -> None:
    """Where the system can, it kills this process as soon as its parent is gone, even one that hangs."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _die_before_parent() -> None:
    """Where memory runs out, the system kills this process rather than its parent, which keeps what is finished."""
    with suppress(OSError, ValueError):
        path = Path("/proc/self/oom_score_adj")
        path.write_text(str(min(1000, int(path.read_text()) + 500)))
