"""Where parts are worked on: in this process, or in worker processes beside it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Any, Callable[[float], None]], Result]

REPORT_EVERY = 0.1
"""Seconds between a worker's reports of its progress."""

ATTEMPTS = 2
"""How often an item is tried whose worker process dies."""


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """An item and what came of it; `result` is None where its worker process died each time, for `reason`."""

    item: Item
    result: Result | None
    reason: str | None = None


def run_here(
    items: Sequence[Item], work: Work[Result], progress: Callable[[float], None]
) -> Generator[Done[Item, Result]]:
    """Work on the items one by one in this process; `progress` hears the share of the current item."""
    for item in items:
        yield Done(item, work(item, progress))


def can_fork() -> bool:
    """Whether worker processes can be had: they inherit what this process has loaded."""
    return "fork" in multiprocessing.get_all_start_methods()


def run_in_workers(
    items: Sequence[Item], work: Work[Result], workers: int, progress: Callable[[float], None]
) -> Generator[Done[Item, Result]]:
    """Work on the items in forked processes, in the given order, results as they come.

    A worker that dies is replaced, and its item tried once more. Leaving the generator ends the workers at once.

    Args:
        progress: hears how many items' worth of work is in progress, as a sum of shares.
    """
    pool = [_Worker(items, work) for _ in range(min(workers, len(items)))]
    waiting = list(reversed(range(len(items))))
    attempts = [0] * len(items)
    try:
        for worker in pool:
            worker.give(waiting.pop())
        while any(worker.busy for worker in pool):
            ready = wait([worker.connection for worker in pool if worker.busy])
            for worker in [worker for worker in pool if worker.connection in ready]:
                index = worker.index
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, OSError):
                    reason = worker.death()
                    attempts[index] += 1
                    pool[pool.index(worker)] = worker = _Worker(items, work)
                    if attempts[index] < ATTEMPTS:
                        worker.give(index)
                        continue
                    yield Done(items[index], None, reason)
                else:
                    if kind == "progress":
                        worker.share = value
                        progress(sum(other.share for other in pool if other.busy))
                        continue
                    if kind == "raised":
                        raise value
                    worker.index, worker.share = -1, 0.0
                    yield Done(items[index], value)
                if waiting:
                    worker.give(waiting.pop())
    finally:
        for worker in pool:
            worker.end()


class _Worker:
    """One forked process, and this side of the pipe to it."""

    def __init__(self, items: Sequence[Any], work: Work[Any]) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, items, work, os.getpid()), daemon=True)
        with _interrupts_held():
            self.process.start()
        theirs.close()
        self.index, self.share = -1, 0.0

    @property
    def busy(self) -> bool:
        return self.index >= 0

    def give(self, index: int) -> None:
        self.index, self.share = index, 0.0
        self.connection.send(index)

    def death(self) -> str:
        """Why the process is gone."""
        self.process.join(1)
        code = self.process.exitcode
        self.end()
        if code is not None and code < 0:
            return f"its worker process was killed by {signal.Signals(-code).name}"
        return f"its worker process ended with exit code {code}"

    def end(self) -> None:
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(0.5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
    reported = 0.0

    def report(share: float) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= REPORT_EVERY:
            reported = now
            if os.getppid() != parent:
                os._exit(1)
            connection.send(("progress", share))

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
            error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
            answer = ("raised", error)
        connection.send(answer)
