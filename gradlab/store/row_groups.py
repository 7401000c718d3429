"""How rows stand in a part file: by step, so that a question about one record reads a small piece of the file."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gradlab.store.atomic import write_whole
from gradlab.store.seal import sealed
from gradlab.store.tables import SCHEMA_VERSION, VERSION_KEY

ROWS = 1 << 16
"""Rows of a row group between the first and the last step, about: large enough to compress, small enough to skip."""


@dataclass(frozen=True)
class PartFiles:
    """One part of each table as it will stand in its file: what a worker process sends, and who writes only writes.

    Attributes:
        trial_ids: the trials of the part.
        content: table -> its part file.
    """

    trial_ids: frozenset[str]
    content: Mapping[str, bytes]

    @classmethod
    def of(cls, tables: Mapping[str, pa.Table]) -> PartFiles:
        """The files of the rows of each table, by `gradlab.store.tables`."""
        ids = frozenset(tables["trials"]["trial_id"].to_pylist())
        return cls(ids, {name: encoded(rows) for name, rows in tables.items()})


def write_table(target: Path, table: pa.Table) -> None:
    """Write a part file, whole or not at all; rows that have steps stand by step.

    Raises:
        MachineError: the machine said no.
    """
    content = encoded(table)
    write_whole(target, lambda stream: stream.write(content))


def encoded(table: pa.Table) -> bytes:
    """A table as a Parquet file of this schema version, with checksums; rows that have steps stand by step."""
    stamp = {**(table.schema.metadata or {}), VERSION_KEY: str(SCHEMA_VERSION)}
    rows = table.replace_schema_metadata(stamp)
    stream = io.BytesIO()
    write = write_by_step if "step" in rows.column_names else _write_rows
    write(rows, stream)
    return sealed(stream.getvalue())


def _write_rows(table: pa.Table, stream: Any) -> None:
    # Columns of some hundred values: to start a zstd stream for each would take three times as long as to read them.
    pq.write_table(table, stream, compression="snappy", write_page_checksum=True)


def write_by_step(table: pa.Table, stream: Any) -> None:
    """Write a steps or layers table to `stream` as Parquet, sorted by step, otherwise in the order that it has.

    The first step and the last one have row groups of their own, since these are asked for most; a step never stands
    in two row groups unless it has more than a million rows. The footer holds the least and the greatest step of each
    row group, as it does for every column, and readers of any kind skip by them.
    """
    table = table.take(pa.array(np.argsort(table["step"].to_numpy(), kind="stable")))
    # Measured numbers hardly repeat: a dictionary of them costs as much as the rest, and space.
    repeating = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    options = {"compression": "zstd", "use_dictionary": repeating, "write_page_checksum": True}
    with pq.ParquetWriter(stream, table.schema, **options) as writer:
        if not table.num_rows:
            writer.write_table(table)
        for start, end in itertools.pairwise(_edges(table["step"].to_numpy())):
            writer.write_table(table.slice(start, end - start))


def _edges(steps: np.ndarray[Any, np.dtype[np.int64]]) -> list[int]:
    """Where row groups begin, and where the last one ends."""
    begins = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)]
    if len(steps) == 0:
        return []
    edges = begins[:2]
    for begin, end in itertools.pairwise(begins[1:-1]):
        if end - edges[-1] > ROWS and begin > edges[-1]:
            edges.append(begin)
    for edge in begins[-2:]:
        if edge > edges[-1]:
            edges.append(edge)
    return edges
