"""A run as it goes on: the gradient's profile in each group of trials, drawn anew on the terminal now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from gradlab.config.sweep import Trial
from gradlab.report.groups_seen import GroupsSeen
from gradlab.report.live_frame import Frame, Progress
from gradlab.report.progress import ProgressDisplay, time_left
from gradlab.sighting import Sighting

FRAME_EVERY = 0.25
"""Seconds between two frames at least."""

FRAME_SHARE = 0.02
"""Share of the time that drawing may take: a frame that takes long is followed by a long pause."""


def can_watch(console: Console) -> bool:
    """Whether a picture can move there: it is a terminal, whatever is told about colours, and can move its cursor."""
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal


class LiveDisplay(ProgressDisplay):
    """Listens to a run and draws its groups; a context manager, for consoles on which `can_watch` holds.

    Args:
        clock: seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, quiet=False)
        self._clock = clock
        self._live: Live | None = None
        self._size: ConsoleDimensions | None = None
        self._share, self._next = 0.0, clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        size = options.size
        lines = self._frame.lines(self._progress(), size.width, size.height, options.ascii_only)
        yield Text("\n", no_wrap=True, end="").join(lines)

    def _open(self, trials: Sequence[Trial], finished: Collection[str]) -> None:
        self._started = self._clock()
        self._groups = GroupsSeen(trials, finished)
        self._frame = Frame(self._groups)
        self._live = Live(self, console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._live.start()
        self._draw()

    def progress(self, share: float) -> None:
        """Note the share of the work that is done."""
        self._share = share
        self._draw()

    def sighted(self, sighting: Sighting) -> None:
        """Note what was seen."""
        self._groups.see(sighting)
        self._draw()

    def stored(self, statuses: Mapping[str, str]) -> None:
        """Note what has been written."""
        super().stored(statuses)
        self._groups.end(statuses)
        self._draw()

    def _draw(self) -> None:
        """Draw a frame, if it is time for one."""
        now = self._clock()
        if self._live is None or now < self._next:
            return
        if (size := self._console.size) != self._size:
            if self._size is not None:  # lines that were wrapped or unwrapped can't be found again
                self._console.clear()
            self._size = size
        self._live.refresh()
        done = self._clock()
        self._next = max(now + FRAME_EVERY, done + (done - now) / FRAME_SHARE)

    def _progress(self) -> Progress:
        elapsed = self._clock() - self._started
        left = time_left(self._share, elapsed)
        spent = f"{elapsed // 60:.0f}:{elapsed % 60:02.0f}"
        return Progress(self._share, ", ".join(filter(None, [self._description(), spent, left])))
