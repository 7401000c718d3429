"""One picture of a run that goes on: a row for each group of trials, as many as the terminal has room for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from gradlab.printable import printable
from gradlab.report.groups_seen import AT_WORK, FINISHED, WAITING, GroupSeen, GroupsSeen
from gradlab.report.numbers import NOTHING, number, percent, power, setting
from gradlab.report.strip import ASCII_BARS, BARS, NO_NUMBER, ZERO, Scale, colour, strip

_GAP = "  "
_NAME_LEAST = 6
"""Characters of a factor's value at least; a longer one is cut where there is no room."""

_STRIP_LEAST, _STRIP_GOOD, _STRIP_MOST = 10, 20, 48
_BAR_LEAST = 8

_LEGEND_FROM = 16
"""Lines of a terminal from which on one of them explains the bars."""

_ABOVE = 2
"""Decades by which the scale reaches above 1, or above the greatest gradient of an ordinary group, at most."""

_STILL = 2
"""Decades by which the scale may be too wide before it is drawn anew: else bars would jump."""

_MARKS = {WAITING: ("·", "dim"), AT_WORK: ("▸", "bold cyan"), FINISHED: ("✓", "green")}
_ASCII_MARKS = {WAITING: (" ", ""), AT_WORK: (">", "bold cyan"), FINISHED: ("+", "green")}

_STRIP, _START, _LOST = "gradient", "at step 0", "lost"

_LUXURIES = ("trials",)
"""Columns that are left out before the strip gets short."""

_FIRST_TO_GO = (*_LUXURIES, "loss", _START)
"""Columns that are left out before a factor's values are cut."""

_RANKS = (*_FIRST_TO_GO, "dead", _LOST, "decay")
"""Columns in the order in which they are left out where there is no room."""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        share: of the work, done.
        told: what else to say about it.
    """

    share: float
    told: str


class Frame:
    """Draws groups again and again; columns don't jump and the scale keeps still as long as it can."""

    def __init__(self, groups: GroupsSeen) -> None:
        self._groups = groups
        self._names = [
            _name_column(key, [row.get(key) for row in groups.grouping.settings]) for key in groups.grouping.telling
        ]
        self._widths: dict[str, int] = {}
        self._low, self._high = math.inf, -math.inf

    def lines(self, progress: Progress, width: int, height: int, ascii_only: bool) -> list[Text]:
        """The picture, no wider than `width`, in fewer than `height` lines: the last one is the cursor's."""
        explained = height >= _LEGEND_FROM
        room = max(1, height - 3 - explained)
        total = len(self._groups) - len(self._groups.finished_before)
        places = self._groups.most_telling(total if total <= room else room - 1)
        rows = [self._groups[place] for place in places]
        scale = self._scale(rows)
        lines = self._table(places, rows, scale, width, ascii_only)
        if total > len(places):
            lines.append(Text(self._more(rows), "dim"))
        if explained:
            more = any(value > scale.high for row in rows for value in row.profile)
            along = {"time step" if row.along_time else "hidden layer" for row in rows if row.profile}
            lines.append(_legend(scale, more, " or ".join(sorted(along)) or "hidden layer", ascii_only))
        lines.append(_progress_line(progress, width, ascii_only))
        for line in lines:
            line.truncate(width)
            line.no_wrap = True
        return lines[-max(1, height - 1) :]

    def _scale(self, rows: Sequence[GroupSeen]) -> Scale:
        """The scale of all strips, in whole decades; a few groups that explode don't flatten all others."""
        known = [[value for value in row.profile if math.isfinite(value)] for row in rows]
        if highest := [max(profile) for profile in known if profile]:
            high = math.ceil(min(max(highest), max(statistics.median_low(highest), 0.0) + _ABOVE))
            low = math.floor(min(min(profile) for profile in known if profile))
            if not self._low <= low <= self._low + _STILL:
                self._low = low
            if not self._high - _STILL <= high <= self._high:
                self._high = high
        return Scale.of([self._low, self._high])

    def _table(
        self, places: Sequence[int], rows: Sequence[GroupSeen], scale: Scale, width: int, ascii_only: bool
    ) -> list[Text]:
        cells = {name: ["" if row.state == WAITING else show(row) for row in rows] for name, show in _CELLS.items()}
        for name, column in cells.items():
            self._widths[name] = max([self._widths.get(name, len(name)), *map(len, column)])
        if self._widths[_LOST] == len(_LOST):
            del cells[_LOST]
        names, shown = self._fit(list(cells), width)
        room = self._spare(names, shown, width) + _STRIP_LEAST
        longest = max([len(row.profile) for row in rows], default=0)
        strip_width = max(1, min(room, _STRIP_MOST, max(longest, len(_STRIP))))
        before = [name for name in shown if name != _LOST]
        lines = [Text(f"  {self._name(0, names, ascii_only)}", "bold")]
        lines[0].append("".join(_right(name, self._widths[name]) for name in before) + _GAP + _STRIP)
        for index, (place, row) in enumerate(zip(places, rows, strict=True)):
            mark, style = (_ASCII_MARKS if ascii_only else _MARKS)[row.state]
            line = Text().append(f"{mark} ", style)
            told = self._name(place + 1, names, ascii_only)
            told += "".join(_right(cells[name][index], self._widths[name]) for name in before)
            line.append(told + _GAP, "dim" if row.state == WAITING else "none")
            bars = strip(row.profile, scale, strip_width, ascii_only)
            line.append_text(bars)
            if _LOST in shown:
                line.append(" " * (strip_width - len(bars)) + _GAP)
                line.append(cells[_LOST][index], "bold red")
            lines.append(line)
        return lines

    def _fit(self, columns: Sequence[str], width: int) -> tuple[list[int], list[str]]:
        """The widths of the factors, and the columns that there is room for, beside a strip."""
        names = [cell_len(column[0]) for column in self._names]
        least = [min(own, _NAME_LEAST) for own in names]
        shown = list(columns)
        for name in _RANKS:
            wanted = _STRIP_GOOD - _STRIP_LEAST if name in _LUXURIES else 0
            uncut = names if name in _FIRST_TO_GO else least
            if self._spare(uncut, shown, width) >= wanted:
                break
            if name in shown:
                shown.remove(name)
        while self._spare(names, shown, width) < 0 and max(names, default=0) > _NAME_LEAST:
            names[names.index(max(names))] -= 1
        return names, shown

    def _spare(self, names: Sequence[int], shown: Sequence[str], width: int) -> int:
        """Characters that are left beside a mark, names, columns and the narrowest strip."""
        taken = sum(names) + sum(self._widths[name] for name in shown)
        return width - 2 - taken - len(_GAP) * (len(names) + len(shown)) - _STRIP_LEAST

    def _name(self, row: int, widths: Sequence[int], ascii_only: bool) -> str:
        """A group by its factors; row 0 is the heading."""
        return _GAP.join(
            _cut(column[row], width, ascii_only) for column, width in zip(self._names, widths, strict=True)
        )

    def _more(self, shown: Sequence[GroupSeen]) -> str:
        hidden = self._groups.states()
        for row in shown:
            hidden[row.state] -= 1
        told = ", ".join(f"{count} {state}" for state, count in hidden.items() if count)
        return f"  and {sum(hidden.values())} more: {told}"


def _lost(row: GroupSeen) -> str:
    return ", ".join(f"{count}/{row.trials} {status}" for status, count in row.lost.items())


_CELLS: dict[str, Callable[[GroupSeen], str]] = {
    "step": lambda row: NOTHING if row.step is None else str(row.step),
    "trials": lambda row: f"{row.seen}/{row.trials}",
    "loss": lambda row: number(row.loss),
    "dead": lambda row: percent(row.dead),
    "decay": lambda row: number(row.decay),
    _START: lambda row: number(row.start),
    _LOST: _lost,
}
"""Columns in their order."""


def _name_column(key: str, values: Sequence[Any]) -> list[str]:
    """A factor and its value in each group, all of one width, numbers to the right."""
    cells = [" ".join(printable(text).split()) for text in (key, *map(setting, values))]
    width = max(map(cell_len, cells))
    if all(isinstance(value, int | float | None) for value in values):
        return [" " * (width - cell_len(cell)) + cell for cell in cells]
    return [set_cell_size(cell, width) for cell in cells]


def _right(text: str, width: int) -> str:
    return _GAP + text.rjust(width)


def _cut(text: str, width: int, ascii_only: bool) -> str:
    """A text in so many characters, a mark at its end where something is missing."""
    if cell_len(text.rstrip()) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + ("~" if ascii_only else "…")


def _legend(scale: Scale, more: bool, along: str, ascii_only: bool) -> Text:
    bars = ASCII_BARS if ascii_only else BARS
    text = Text("  ")
    text.append(bars[0], colour(0))
    text.append(f" {power(scale.low)}{' or less' if scale.cut else ''} ")
    for level in range(1, len(bars) - 1):
        text.append(bars[level], colour(level))
    text.append(f" {power(scale.high)}{' or more' if more else ''} ")
    text.append(bars[-1], colour(len(bars) - 1))
    return text.append(f"  delta by {along}; {ZERO} exactly 0, {NO_NUMBER} no number", "dim")


def _progress_line(progress: Progress, width: int, ascii_only: bool) -> Text:
    """The bar, and beside it what is told."""
    told = f"{progress.share:4.0%}  {progress.told}".replace("%", " %", 1)
    text = Text("  ")
    rooms = (room for room in (width // 4, _BAR_LEAST) if room + cell_len(told) + 4 <= width)
    if room := next(rooms, 0):
        done = round(progress.share * room)
        text.append(("=" if ascii_only else "━") * done, "cyan")
        text.append(("-" if ascii_only else "━") * (room - done) + "  ", "bright_black")
    return text.append(told)
