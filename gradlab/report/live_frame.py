"""One picture of a run that goes on: a row for each group of trials, as many as the terminal has room for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from gradlab.printable import printable
from gradlab.report.groups_seen import AT_WORK, FINISHED, WAITING, GroupSeen, GroupsSeen
from gradlab.report.numbers import NOTHING, number, percent, power, setting
from gradlab.report.strip import ASCII_BARS, BARS, NO_NUMBER, ZERO, Scale, colour, strip

_GAP = 2
"""Characters between two columns."""

_STRIP_LEAST, _STRIP_MOST = 8, 48
_BAR_LEAST, _BAR_MOST = 10, 40
_NAMES_LEAST = 12
"""Characters of a group's name at least; a longer one is cut where there is no room."""

_LEGEND_FROM = 16
"""Lines of a terminal from which on one of them explains the bars."""

_MARKS = {WAITING: "·", AT_WORK: "▸", FINISHED: "✓"}
_ASCII_MARKS = {WAITING: " ", AT_WORK: ">", FINISHED: "+"}
_MARK_STYLES = {WAITING: "dim", AT_WORK: "bold cyan", FINISHED: "green"}

_STRIP = "gradient"
_RANKS = ("trials", "loss", "dead", "lost", "decay")
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
    """Draws groups again and again; columns don't jump and the scale doesn't shrink in between."""

    def __init__(self, groups: GroupsSeen) -> None:
        self._groups = groups
        self._keys = groups.grouping.telling
        names = [[printable(setting(row.get(key))) for key in self._keys] for row in groups.grouping.settings]
        widths = [max(map(cell_len, column)) for column in zip(self._keys, *names, strict=True)]
        self._names = [(" " * _GAP).join(map(_padded, row, widths)) for row in names]
        self._heading = (" " * _GAP).join(map(_padded, map(printable, self._keys), widths))
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
            lines.append(_legend(scale, any(row.along_time for row in rows), ascii_only))
        lines.append(_progress_line(progress, width, ascii_only))
        for line in lines:
            line.truncate(width)
            line.no_wrap = True
        return lines[-max(1, height - 1) :]

    def _scale(self, rows: Sequence[GroupSeen]) -> Scale:
        """The scale of all strips, in whole decades; it only ever grows, so that what moves is the gradient."""
        finite = [value for row in rows for value in row.profile if math.isfinite(value)]
        self._low = min([self._low, *map(math.floor, finite)])
        self._high = max([self._high, *map(math.ceil, finite)])
        return Scale.of([self._low, self._high])

    def _table(
        self, places: Sequence[int], rows: Sequence[GroupSeen], scale: Scale, width: int, ascii_only: bool
    ) -> list[Text]:
        cells = {"step": [NOTHING if row.step is None else str(row.step) for row in rows]}
        cells["trials"] = [f"{row.seen}/{row.trials}" for row in rows]
        cells["loss"] = [number(row.loss) for row in rows]
        cells["dead"] = [percent(row.dead) for row in rows]
        cells["decay"] = [number(row.decay) for row in rows]
        cells["lost"] = [_lost(row) for row in rows]
        for name, column in cells.items():
            self._widths[name] = max([self._widths.get(name, len(name)), *map(len, column)])
        if not any(cells["lost"]) and self._widths["lost"] == len("lost"):
            del cells["lost"]
        names = cell_len(self._heading)
        names, shown = self._fit([name for name in cells], names, width)
        room = width - 2 - names - sum(self._widths[name] + _GAP for name in shown) - _GAP
        longest = max([len(row.profile) for row in rows], default=0)
        strip_width = max(1, min(room, _STRIP_MOST, max(longest, len(_STRIP))))
        left = [name for name in shown if name != "lost"]
        heading = "  " + _cut(self._heading, names, ascii_only)
        heading += "".join(" " * _GAP + name.rjust(self._widths[name]) for name in left)
        lines = [Text(f"{heading}{' ' * _GAP}{_STRIP}", "bold")]
        marks = _ASCII_MARKS if ascii_only else _MARKS
        for index, (place, row) in enumerate(zip(places, rows, strict=True)):
            line = Text(marks[row.state] + " ", _MARK_STYLES[row.state])
            told = _cut(self._names[place], names, ascii_only)
            told += "".join(" " * _GAP + cells[name][index].rjust(self._widths[name]) for name in left)
            line.append(told + " " * _GAP, "dim" if row.state == WAITING else "none")
            bars = strip(row.profile, scale, strip_width, ascii_only)
            line.append_text(bars)
            if "lost" in shown:
                line.append(" " * (strip_width - len(bars) + _GAP))
                line.append(cells["lost"][index], "bold red")
            lines.append(line)
        return lines

    def _fit(self, columns: list[str], names: int, width: int) -> tuple[int, list[str]]:
        """The width of the names and the columns that there is room for, beside a strip."""

        def spare(names: int, shown: Sequence[str]) -> int:
            return width - 2 - names - sum(self._widths[name] + _GAP for name in shown) - _GAP - _STRIP_LEAST

        shown = list(columns)
        for name in _RANKS:
            if spare(min(names, 2 * _NAMES_LEAST), shown) >= 0:
                break
            if name in shown:
                shown.remove(name)
        return max(_NAMES_LEAST, min(names, names + spare(names, shown))), shown

    def _more(self, shown: Sequence[GroupSeen]) -> str:
        hidden = self._groups.states()
        for row in shown:
            hidden[row.state] -= 1
        told = ", ".join(f"{count} {state}" for state, count in hidden.items() if count)
        return f"  and {sum(hidden.values())} more: {told}"


def _lost(row: GroupSeen) -> str:
    return ", ".join(f"{count}/{row.trials} {status}" for status, count in row.lost.items())


def _padded(text: str, width: int) -> str:
    return set_cell_size(text, width)


def _cut(text: str, width: int, ascii_only: bool) -> str:
    """A text in so many characters, a mark at its end where something is missing."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + ("~" if ascii_only else "…")


def _legend(scale: Scale, along_time: bool, ascii_only: bool) -> Text:
    bars = ASCII_BARS if ascii_only else BARS
    text = Text("  ")
    text.append(bars[0], colour(0))
    text.append(f" {power(scale.low)}{' or less' if scale.cut else ''} ")
    for level in range(1, len(bars) - 1):
        text.append(bars[level], colour(level))
    text.append(f" {power(scale.high)} ")
    text.append(bars[-1], colour(len(bars) - 1))
    along = "time step" if along_time else "hidden layer"
    text.append(f"  delta in each {along}, the first on the left; {ZERO} exactly 0, {NO_NUMBER} no number", "dim")
    return text


def _progress_line(progress: Progress, width: int, ascii_only: bool) -> Text:
    """The bar, and beside it what is told."""
    told = f"{progress.share:4.0%}  {progress.told}".replace("%", " %", 1)
    room = min(_BAR_MOST, width - cell_len(told) - 4)
    text = Text("  ")
    if room >= _BAR_LEAST:
        done = round(progress.share * room)
        text.append(("=" if ascii_only else "━") * done, "cyan")
        text.append(("-" if ascii_only else "━") * (room - done) + "  ", "bright_black")
    return text.append(told)
