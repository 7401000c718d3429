"""How a run is getting on, on stderr: a bar where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gradlab.config.sweep import Trial
from gradlab.report.numbers import count_of
from gradlab.sighting import Sighting

BAR_EVERY = 0.2
"""Seconds between two moves of the bar."""

LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""

KNOWN_SHARE, KNOWN_SECONDS = 0.05, 3.0
"""Before so much is done, and so long ago, nobody knows how long the rest takes: what comes first is slow."""


def time_left(share: float, elapsed: float) -> str:
    """How long the rest will take at the speed so far, or "" where that isn't known yet or nothing is left.

    Args:
        share: of the work, done in so many seconds `elapsed`.
    """
    if not KNOWN_SHARE <= share < 1 or elapsed < KNOWN_SECONDS:
        return ""
    seconds = elapsed * (1 - share) / share
    return f"about {seconds:.0f} s left" if seconds < 120 else f"about {seconds / 60:.0f} min left"


class ProgressDisplay:
    """Listens to a run and shows it; a context manager.

    What moves is drawn as news comes in, without a thread of its own: a lock that a thread holds while a worker process
    is forked stays locked there, and a model that prints would wait for it forever.
    """

    sighted: Callable[[Sighting], None] | None = None

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._trials = self._stored = self._troubled = 0
        self._started = self._spoken = self._next = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, trials: Sequence[Trial], finished: Collection[str], parts: int) -> None:
        """Say what there is to do."""
        self._trials, self._stored = len(trials), len(finished)
        self._started = self._spoken = time.monotonic()
        if self._quiet:
            return
        if finished:
            left = self._trials - self._stored
            kept = f"{count_of(self._stored, 'trial')} finished before and kept"
            self._console.print(f"{kept}, {left} to train" if left else f"{kept}; --fresh starts over", highlight=False)
        if parts:
            self._open(trials, finished)

    def _open(self, trials: Sequence[Trial], finished: Collection[str]) -> None:
        """There is something to do: show that."""
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
            )
            self._bar = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
            self._bar.start()
            self._task = self._bar.add_task(self._description(), total=1.0, left="")
        else:
            self._console.print(f"training {count_of(self._trials - self._stored, 'trial')}", highlight=False)

    def progress(self, share: float) -> None:
        """Move the bar, or say a line when it is time for one."""
        now = time.monotonic()
        left = time_left(share, now - self._started)
        if self._bar is not None:
            self._bar.update(self._task, completed=share, description=self._description(), left=left)
            if now >= self._next:
                self._next = now + BAR_EVERY
                self._bar.refresh()
            return
        if self._quiet or now - self._spoken < LINE_EVERY or not 0 < share < 1:
            return
        self._spoken = now
        told = ", ".join(filter(None, [f"{share:.0%} done", self._description(), left]))
        self._console.print(told, highlight=False)

    def stored(self, statuses: Mapping[str, str]) -> None:
        """Count what has been written."""
        self._stored += len(statuses)
        self._troubled += sum(status != "completed" for status in statuses.values())

    def _description(self) -> str:
        troubled = f", {self._troubled} diverged or failed" if self._troubled else ""
        return f"{self._stored}/{self._trials} trials stored{troubled}"
