"""Trials tables with other columns beside each other: settings that only some of them have."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from gradlab.store.opening import plain_type
from gradlab.store.tables import TRIALS, schema

_PANDAS_INDEX = "__index_level_"
"""How the columns begin in which pandas leaves the row numbers of a frame."""


def united_schema(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The schema of all columns of some trials tables, each of a type that holds all its values."""
    extra: dict[str, pa.DataType] = {}
    for one in schemas:
        for field in one:
            if field.name not in TRIALS and not field.name.startswith(_PANDAS_INDEX):
                extra[field.name] = _common_type(extra.get(field.name), plain_type(field.type))
    return schema("trials", extra)


def conformed(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """The table with the columns of a united schema, null where it has none."""
    columns = dict(zip(table.column_names, table.columns, strict=True))
    arrays = []
    for field in wanted:
        column = columns.get(field.name)
        if column is None:
            column = pa.nulls(table.num_rows, field.type)
        arrays.append(column if column.type == field.type else column.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=wanted)


def _common_type(one: pa.DataType | None, other: pa.DataType) -> pa.DataType:
    if one is None or one == other or pa.types.is_null(one):
        return other
    if pa.types.is_null(other):
        return one
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()
