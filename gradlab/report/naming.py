"""How rows of a table are named: by settings, by layers, and by labels too long for a line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gradlab.analysis.wording import NOTHING, network_line, setting, settings_line
from gradlab.report.layout import Column
from gradlab.report.numbers import broken_setting

__all__ = ["change_columns", "key_columns", "name_column", "network_line", "settings_line", "wrapped"]

_NARROW, _SETTING, _CHANGE = 16, 20, 24
"""Characters of a line of a long name, setting or change of a setting where there is little room."""

_JOIN = " + "
"""Between the columns, and their settings, of a joint factor."""

_PLAIN_NAME = r"[^\W\d_]+_?{layer}|output"
"""A layer's name that says no more than its number."""


def key_columns(keys: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns that name rows: some factors of their settings."""
    columns = []
    for key in keys:
        values = [row.get(key) for row in settings]
        numeric = all(isinstance(value, int | float | None) for value in values)
        narrow = [wrapped(broken_setting(value), _SETTING) for value in values]
        header = key.replace(".", ".\n", 1)
        columns.append(Column(key, [*map(setting, values)], right=numeric, narrow=narrow, narrow_header=header))
    return columns


def change_columns(changes: Sequence[tuple[str, Any, Any]]) -> list[Column]:
    """The columns `factor` and `setting` of changes of a factor from one setting to another.

    Columns that always change together make one factor: where there is little room each stands on lines of its own,
    its settings beside it.

    Args:
        changes: the factor, the setting before and the setting after.
    """
    wide = [(factor, f"{setting(after)} vs {setting(before)}") for factor, before, after in changes]
    narrow = [_narrow_change(*change) for change in changes]
    return [
        Column(header, [row[side] for row in wide], right=False, narrow=[row[side] for row in narrow])
        for side, header in enumerate(("factor", "setting"))
    ]


def _narrow_change(factor: str, before: Any, after: Any) -> tuple[str, str]:
    parts = [text.split(_JOIN) for text in (factor, setting(before), setting(after))]
    if len(set(map(len, parts))) > 1:  # one of the settings has a plus of its own
        parts = [[factor], [setting(before)], [setting(after)]]
    left: list[str] = []
    right: list[str] = []
    for number, (name, start, end) in enumerate(zip(*parts, strict=True)):
        left += wrapped(f"+ {name}" if number else name, _NARROW).split("\n")
        pair = f"{end} vs {start}"
        pieces = [pair] if len(pair) <= _CHANGE else [end, f"vs {start}"]
        right += [line for piece in pieces for line in wrapped(piece, _CHANGE).split("\n")]
        height = max(len(left), len(right))
        left, right = (lines + [""] * (height - len(lines)) for lines in (left, right))
    return "\n".join(left), "\n".join(right)


def name_column(rows: Sequence[tuple[int, str | None]], idle: int, telling: int) -> Column:
    """The column of layers' names.

    Args:
        rows: number and name of each.
        idle: the column's rank where names say no more than numbers, as `hidden_3` or one name throughout.
        telling: its rank where they do.
    """
    names = [name for _, name in rows]
    plain = all(name is None or re.fullmatch(_PLAIN_NAME.format(layer=layer), name) for layer, name in rows)
    rank = idle if plain or len(set(names)) == 1 < len(names) else telling
    cells = [name or NOTHING for name in names]
    return Column("name", cells, rank, right=False, narrow=[wrapped(name, _NARROW) for name in cells])


def wrapped(text: str, width: int) -> str:
    """A label in lines of at most `width` characters, broken after dots, underscores, colons, slashes and spaces."""
    lines = [""]
    for piece in re.findall(r"[^._:/\s]*[._:/\s]*", text):
        for start in range(0, len(piece), width):
            part = piece[start : start + width]
            if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
                lines.append("")
            lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)
