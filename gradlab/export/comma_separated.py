"""A run as CSV files: its tables with every digit, for spreadsheets and for whatever reads no Parquet."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from gradlab.export.selection import Rows
from gradlab.store.tables import OPTIONAL, schema


def write_csv(trials: pa.Table, rows: Rows, folder: Path) -> None:
    """Write `trials.csv`, `steps.csv`, `layers.csv` and, where there are such rows, `regions.csv`, part by part.

    Numbers have as many digits as bring back the same float64. Null is an empty cell, infinity `inf`, not a number
    `nan`; texts stand in quotes, flags are `true` and `false`.

    Raises:
        OSError: disk full, no permission.
    """
    _write(folder / "trials.csv", trials.schema, [trials])
    for table in ("steps", "layers"):
        _write(folder / f"{table}.csv", schema(table), rows(table))
    for table in OPTIONAL:
        parts = rows(table)
        if (first := next(parts, None)) is not None:
            _write(folder / f"{table}.csv", schema(table), itertools.chain([first], parts))


def _write(path: Path, columns: pa.Schema, parts: Iterable[pa.Table]) -> None:
    with path.open("wb") as stream, csv.CSVWriter(stream, columns) as writer:
        for part in parts:
            writer.write_table(part)
