"""A part file, opened with care: whatever stands there, its reader gets a table of ours or one reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gradlab.config.bounded import UnreadableFileError, check_regular
from gradlab.config.document import shorten
from gradlab.config.schema import MAX_TRIALS
from gradlab.errors import MachineError
from gradlab.store.seal import seal_is_broken
from gradlab.store.tables import SCHEMA_VERSION, TABLES, VERSION_KEY

MOST = 10**9
"""The largest number of a step, a layer or a time step: what configs allow."""

OUT_OF_RANGE = f"has a {{}} that is no number from 0 to {MOST:,}"
"""What is wrong where one isn't, with the name of its column."""

_COUNTED = {"step", "layer"}
"""Columns whose every cell is a whole number from 0 to `MOST`."""

_REMEDY = "; restore it, or remove it and its part in trials/ and run the config again"

_KEYS = {
    "trials": {"trial_id", "seed", "status"},
    "steps": {"trial_id", "step"},
    "layers": {"trial_id", "step", "layer"},
    "regions": {"trial_id", "step", "kind", "x", "y", "class"},
}
"""Columns without which a file is no table of ours."""


class UnreadablePartError(Exception):
    """A part file that can't be read; the message says why, what comes after `FILE `."""


class NewerPartError(UnreadablePartError):
    """A part file that another gradlab wrote."""


@contextmanager
def opened(path: Path, table: str, **options: Any) -> Iterator[pq.ParquetFile]:
    """A part file of a table; its footer and each page that is read are compared with their checksums.

    Args:
        options: of `pyarrow.parquet.ParquetFile`; with its `metadata` the footer is known, and not looked at again.

    Raises:
        UnreadablePartError: it is missing, broken, of another kind or of a newer gradlab; also of reading from it.
        MachineError: out of memory.
    """
    with told(path):
        check_regular(path)
        if "metadata" not in options and seal_is_broken(path):
            raise UnreadablePartError(f"is damaged (its footer is not the one that was written){_REMEDY}")
        with pq.ParquetFile(path, page_checksum_verification=True, **options) as file:
            _check_schema(file.schema_arrow, table)
            if table == "trials" and file.metadata.num_rows > MAX_TRIALS:
                raise UnreadablePartError(f"has more than {MAX_TRIALS:,} trials, which no sweep has")
            yield file


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns what reading a part file can raise into an UnreadablePartError.

    Raises:
        MachineError: out of memory.
    """
    try:
        yield
    except FileNotFoundError:
        raise UnreadablePartError("is missing") from None
    except UnreadableFileError as error:
        raise UnreadablePartError(error.reason) from None
    except pa.ArrowMemoryError as error:
        why = f"out of memory ({_first_line(error)})"
        raise MachineError(f"{path}: {why}; it is damaged, or larger than the memory that there is") from None
    except OSError as error:
        if error.strerror:
            raise UnreadablePartError(f"cannot be read ({error.strerror})") from None
        raise _broken(error) from None
    except (pa.ArrowException, UnicodeDecodeError, OverflowError) as error:
        raise _broken(error) from None


def unreadable_version(version: Any) -> str | None:
    """Why tables of this schema version (of run.json or a part's footer) cannot be read; None if they can."""
    try:
        number = int(version)
    except (TypeError, ValueError, OverflowError):
        return f"has an unknown schema version {shorten(repr(version))}; upgrade gradlab"
    if number <= SCHEMA_VERSION:
        return None
    told = f"schema version {shorten(str(number), 20)}, this one reads up to {SCHEMA_VERSION}"
    return f"was written by a newer gradlab ({told}); upgrade gradlab"


def declared(rows: pa.Table, table: str) -> pa.Table:
    """Rows of a table, each column of the type that is declared for it or, if none is, of a plain one.

    Plain are flags, whole numbers of 64 bits, reals and texts.

    Raises:
        UnreadablePartError: the types can't be had, a trial has no id, or a step or layer is none.
    """
    types = [TABLES[table].get(field.name, plain_type(field.type)) for field in rows.schema]
    try:
        if types != rows.schema.types:
            rows = rows.cast(pa.schema(list(zip(rows.column_names, types, strict=True))))
        for column, kind in zip(rows.columns, types, strict=True):
            if pa.types.is_string(kind):
                column.validate(full=True)  # texts of a Parquet file may be any bytes
    except pa.ArrowException as error:
        raise UnreadablePartError(f"has columns of other types ({_first_line(error)})") from None
    for name in _COUNTED & set(rows.column_names):
        _check_range(name, rows[name])
    if "trial_id" in rows.column_names:
        check_ids(rows["trial_id"])
    return rows.replace_schema_metadata(None)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The plain type in which a column of another type is read."""
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return kind
    if pa.types.is_integer(kind):
        return pa.int64()
    return pa.float64() if pa.types.is_floating(kind) else pa.string()


def check_ids(ids: pa.ChunkedArray) -> None:
    """Make sure that every row says which trial it is about.

    Raises:
        UnreadablePartError: one doesn't.
    """
    texts = pa.chunked_array([chunk.dictionary for chunk in ids.chunks]) if pa.types.is_dictionary(ids.type) else ids
    if ids.null_count or pc.any(pc.equal(pc.binary_length(texts), 0)).as_py():
        raise UnreadablePartError("has rows without a trial_id")


def _check_range(name: str, column: pa.ChunkedArray) -> None:
    ends = pc.min_max(column).as_py()
    if column.null_count or (len(column) and not in_range(ends["min"], ends["max"])):
        raise UnreadablePartError(OUT_OF_RANGE.format(name))


def in_range(least: int, greatest: int) -> bool:
    """Whether these can be the ends of a column of steps or layers."""
    return 0 <= least <= greatest <= MOST


def _check_schema(schema: pa.Schema, table: str) -> None:
    names = schema.names
    if missing := _KEYS[table] - set(names):
        raise UnreadablePartError(f"is no gradlab table of {table} (no column {', '.join(sorted(missing))})")
    if reason := unreadable_version((schema.metadata or {}).get(VERSION_KEY, SCHEMA_VERSION)):
        raise NewerPartError(reason)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UnreadablePartError(f"has two columns of one name ({shorten(', '.join(twice))})")
    if nested := [field.name for field in schema if pa.types.is_nested(field.type)]:
        more = f"{shorten(', '.join(nested))}: more than one value in a cell"
        raise UnreadablePartError(f"has columns of other types ({more})")


def _broken(error: Exception) -> UnreadablePartError:
    return UnreadablePartError(f"is broken or no Parquet file ({_first_line(error)}){_REMEDY}")


def _first_line(error: Exception) -> str:
    return shorten(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)
