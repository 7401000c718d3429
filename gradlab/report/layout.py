"""Tables that fit their console, and say what they had to leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

ALWAYS = 1_000
"""The rank of a column that is never left out."""

_ENDLESS = 100_000
"""Characters: wider than any table."""

_GAP = 2
"""Characters between two columns."""

Cell = str | Text


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        header: may have two lines.
        cells: one a row.
        rank: columns of low rank are left out first where the terminal is narrow.
        name: what to call the column where it was left out.
        right: align right, as numbers are.
        narrow: the same cells in fewer characters, tried before anything is left out; `narrow_header` likewise.
    """

    header: str
    cells: Sequence[Cell]
    rank: int = ALWAYS
    name: str = ""
    right: bool = True
    narrow: Sequence[Cell] | None = None
    narrow_header: str | None = None

    def narrowed(self) -> Column:
        """The column with its narrower cells and header, if they are."""
        header, name = self.header, self.name
        if self.narrow_header is not None:
            header, name = self.narrow_header, self.name or self.header
        found = replace(self, header=header, name=name, cells=self.cells if self.narrow is None else self.narrow)
        return found if found.width < self.width else self

    @cached_property
    def width(self) -> int:
        """Characters of the widest cell."""
        lines = (line for cell in (self.header, *self.cells) for line in str(cell).split("\n"))
        return max(map(cell_len, lines), default=0)


def print_columns(console: Console, columns: Sequence[Column], see: str = "--json") -> list[Column]:
    """Draw a table, without the columns that don't fit, and a line that names these.

    Where stdout is no terminal everything is drawn, however wide. Where even what must stay is too wide, its cells
    are folded.

    Args:
        console: where to.
        columns: all of one length.
        see: the option that shows everything.

    Returns:
        The columns that are drawn.
    """
    room = console.width if console.is_terminal else _ENDLESS
    shown, left_out = _fit(columns, room)
    table = _table(shown, fold=_width(shown) > room)
    if console.is_terminal:
        console.print(table, highlight=False)
    else:
        console.print(_Endless(table), crop=False, no_wrap=True, overflow="ignore", highlight=False)
    if left_out:
        names = ", ".join(column.name or column.header.replace("\n", " ") for column in left_out)
        say(console, f"not shown at {room} columns: {names} (use {see} or a wider terminal)", "dim")
    return shown


def say(console: Console, text: Cell, style: str = "") -> None:
    """Print a line, wrapped on a terminal only; brackets in it are text, not markup."""
    line = Text(text, style) if isinstance(text, str) else text
    console.print(line, soft_wrap=not console.is_terminal, highlight=False)


def _fit(columns: Sequence[Column], room: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit, and those that don't: by rank as many as there is room for, then as wide as possible."""

    def fits(chosen: Mapping[int, Column]) -> bool:
        return _width(list(chosen.values())) <= room

    everything = dict(enumerate(columns))
    if fits(everything):
        return list(columns), []
    shown = {place: column.narrowed() for place, column in everything.items() if column.rank >= ALWAYS}
    for place in sorted(everything.keys() - shown.keys(), key=lambda place: -columns[place].rank):
        if fits(more := shown | {place: columns[place].narrowed()}):
            shown = more
    for place in shown:
        if fits(wider := shown | {place: columns[place]}):
            shown = wider
    return [shown[place] for place in sorted(shown)], [columns[place] for place in everything if place not in shown]


def _table(columns: Sequence[Column], fold: bool = False) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            Text(column.header),
            justify="right" if column.right else "left",
            no_wrap=not fold,
            overflow="fold",
            vertical="top",
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def _width(columns: Sequence[Column]) -> int:
    """Characters that `_table` takes, without building it: a table of thousands of rows is measured many times."""
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


@dataclass(frozen=True)
class _Endless:
    """Something drawn as wide as it is, whatever the console's width."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self.content, options.update(width=_ENDLESS))
