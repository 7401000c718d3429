"""One part file: open it, make sure that it is ours, read from it, or say why it can't be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from gradlab.store.finding import Skipped
from gradlab.store.rundir import unreadable_version
from gradlab.store.tables import SCHEMA_VERSION, TABLES, VERSION_KEY

Found = TypeVar("Found")
Item = TypeVar("Item")

_THREADS = 4
"""Parts that are read at the same time, at most."""

_KEYS = {
    "trials": {"trial_id", "seed", "status"},
    "steps": {"trial_id", "step"},
    "layers": {"trial_id", "step", "layer"},
}
"""Columns without which a file is no table of ours."""


def from_part(path: Path, table: str, read: Callable[[pq.ParquetFile], Found]) -> Found | Skipped:
    """What `read` finds in a part file of a table."""

    def checked() -> Found | Skipped:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            if missing := _KEYS[table] - set(schema.names):
                return Skipped(path, f"is no gradlab table of {table} (no column {', '.join(sorted(missing))})")
            if reason := unreadable_version((schema.metadata or {}).get(VERSION_KEY, SCHEMA_VERSION)):
                return Skipped(path, reason)
            return read(file)

    return unless_broken(path, checked)


def unless_broken(path: Path, read: Callable[[], Found]) -> Found | Skipped:
    """What `read` finds in the file at `path`, or why it can't be read."""
    try:
        return read()
    except FileNotFoundError:
        return Skipped(path, "is missing")
    except OtherTypesError as error:
        return Skipped(path, f"has columns of other types ({error})")
    except pa.ArrowException as error:
        return Skipped(path, f"is broken or no Parquet file ({_first_line(error)})")
    except OSError as error:
        return Skipped(path, f"cannot be read ({error.strerror or _first_line(error)})")


def at_once(read: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """What is read of each item, in their order, a few at the same time."""
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        return list(threads.map(read, items))


def read_part(path: Path, table: str, columns: Sequence[str] | None) -> pa.Table | Skipped:
    """A part file with `trial_id` and these columns (all if None), each of the type that is declared for it."""

    def read(file: pq.ParquetFile) -> pa.Table:
        names = file.schema_arrow.names
        chosen = names if columns is None else [name for name in names if name in {"trial_id", *columns}]
        return declared(file.read(columns=chosen, use_threads=False), table)

    return from_part(path, table, read)


def declared(rows: pa.Table, table: str) -> pa.Table:
    """The rows with the types that are declared for their columns; others keep theirs.

    Raises:
        OtherTypesError: they can't be had.
    """
    if nested := [field.name for field in rows.schema if pa.types.is_nested(field.type)]:
        raise OtherTypesError(f"{', '.join(nested)}: more than one value in a cell")
    types = [TABLES[table].get(field.name, field.type) for field in rows.schema]
    if types == rows.schema.types:
        return rows
    try:
        return rows.cast(pa.schema(list(zip(rows.column_names, types, strict=True))))
    except pa.ArrowException as error:
        raise OtherTypesError(_first_line(error)) from None


class OtherTypesError(Exception):
    """A part file's columns have types that can't be those of the table."""


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
