"""Part files for those who read many of them: what is in each, or why it can't be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from gradlab.store.finding import Skipped
from gradlab.store.opening import UnreadablePartError, declared, opened

Found = TypeVar("Found")
Item = TypeVar("Item")

_THREADS = 4
"""Parts that are read at the same time, at most."""


def from_part(path: Path, table: str, read: Callable[[pq.ParquetFile], Found]) -> Found | Skipped:
    """What `read` finds in a part file of a table."""

    def checked() -> Found:
        with opened(path, table) as file:
            return read(file)

    return unless_broken(path, checked)


def unless_broken(path: Path, read: Callable[[], Found]) -> Found | Skipped:
    """What `read` finds in the part file at `path`, or why it can't be read."""
    try:
        return read()
    except UnreadablePartError as error:
        return Skipped(path, str(error))


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
