"""SIGINT and SIGTERM: what a command does about them, and that it ends soon in any case."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

GRACE = 1.5
"""Seconds after which a process that was to stop is ended, whatever it is doing."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_EXIT_CODE = 128 + signal.SIGINT


def take_signals() -> None:
    """From now on these signals end this process at once, with exit code 130, until something else is asked for.

    An exception would not do while modules are loaded: some don't survive it, and some swallow it.
    """
    _answer(_Answer("interrupted", _end))
    theirs, ours = os.pipe()
    os.set_blocking(ours, False)
    # Python writes there in the very moment of a signal, even while a long call into C keeps its handlers waiting.
    signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch, (theirs,))


def ignore_signals() -> None:
    """All is done, and Python is about to end: it would let these signals kill it while it tidies up."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def raised(message: str = "interrupted") -> Iterator[None]:
    """Within, these signals raise KeyboardInterrupt; `GRACE` later, or at a second one, the process ends.

    Args:
        message: for stderr where the process has to be ended.
    """
    with _answering(_Answer(message, _raise)):
        yield


@contextmanager
def noted(message: str) -> Iterator[Callable[[], None]]:
    """Within, these signals are noted: the function that this yields raises KeyboardInterrupt once one has come.

    So does the end. `GRACE` later, or at a second signal, the process ends.

    Args:
        message: for stderr where the process has to be ended.
    """
    answer = _Answer(message, lambda message: None)

    def stop_if_wanted() -> None:
        if answer.wanted:
            raise KeyboardInterrupt

    with _answering(answer):
        yield stop_if_wanted
        stop_if_wanted()


class _Answer:
    """To these signals: a handler. The second one always ends the process."""

    def __init__(self, message: str, first: Callable[[str], None]) -> None:
        self.message, self.first, self.wanted = message, first, False

    def __call__(self, _number: int, _frame: object) -> None:
        if self.wanted:
            _end(self.message)
        self.wanted = True
        self.first(self.message)


@contextmanager
def _answering(answer: _Answer) -> Iterator[None]:
    """Within, `answer` is the answer; in a program that hasn't taken the signals they are left alone."""
    before = signal.getsignal(signal.SIGTERM)
    if not isinstance(before, _Answer):
        yield
        return
    _answer(answer)
    try:
        yield
    finally:
        _answer(before)


def _answer(answer: _Answer) -> None:
    for number in _NUMBERS:
        signal.signal(number, answer)


def _raise(_message: str) -> None:
    raise KeyboardInterrupt


def _watch(descriptor: int) -> None:
    """A thread: waits for a signal, and then for the process to end."""
    while not set(os.read(descriptor, 64)).intersection(_NUMBERS):
        pass
    time.sleep(GRACE)
    answer = signal.getsignal(signal.SIGTERM)
    _end(answer.message if isinstance(answer, _Answer) else "interrupted")


def _end(message: str) -> None:
    """End the process and the workers beside it, without a further look at anything that they do."""
    children = getattr(sys.modules.get("multiprocessing"), "active_children", list)  # it may be half loaded
    for worker in children():
        worker.kill()
    shown_again = "\x1b[?25h" if os.isatty(2) else ""  # the cursor, which a progress bar hides
    with suppress(OSError):
        os.write(2, f"{shown_again}{message}\n".encode())
    os._exit(_EXIT_CODE)
