"""How rows of a table are named: by settings, by layers, and by labels too long for a line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gradlab.report.layout import Column
from gradlab.report.numbers import NOTHING, broken_setting, setting

_NARROW = 16
"""Characters of a line of a long name where there is little room."""

_PLAIN_NAME = r"[^\W\d_]+_?{layer}|output"
"""A layer's name that says no more than its number."""


def settings_line(settings: Mapping[str, Any]) -> str:
    """Settings in one line."""
    return " ".join(f"{key}={setting(value)}" for key, value in settings.items())


def key_columns(keys: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns that name rows: some factors of their settings."""
    columns = []
    for key in keys:
        values = [row.get(key) for row in settings]
        numeric = all(isinstance(value, int | float | None) for value in values)
        columns.append(Column(key, [*map(setting, values)], right=numeric, narrow=[*map(broken_setting, values)]))
    return columns


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
