"""The columns of every table, from where they are declared."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from gradlab.store.tables import DESCRIPTIONS, TABLES
from website.blocks import Generator, table

_TYPES = {pa.int64(): "whole number", pa.float64(): "number", pa.string(): "text", pa.bool_(): "true or false"}


def generators(defined: frozenset[str] = frozenset()) -> dict[str, Generator]:
    """Name of a generated part -> what makes it: a table's columns, linked to those that `statistics.md` defines."""
    return {f"columns {name}": partial(_columns, name, defined) for name in TABLES}


def _columns(name: str, defined: frozenset[str]) -> str:
    rows = []
    for column, kind in TABLES[name].items():
        link = f"[`{column}`](statistics.md#{column})" if column in defined else f"`{column}`"
        rows.append([link, _TYPES.get(kind, str(kind)), DESCRIPTIONS[name][column]])
    return table(["column", "type", "is"], rows)
