"""One record of every trial: the rows of the steps or layers table at the first step, the last one or any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gradlab.store.finding import Skipped
from gradlab.store.part_files import at_once, declared, from_part
from gradlab.store.reading import PartFile, Trials

When = Literal["first", "last"] | int
"""Step 0, each trial's last record, or a step."""

Codes = npt.NDArray[np.int64]

_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True)
class Records:
    """Rows of one table.

    Attributes:
        trial: `[row]`, the row of its trial in the trials table.
        step: `[row]`.
        columns: name -> `[row]`, NaN for null and for a column that a file doesn't have; text as objects.
        skipped: what could not be read.
    """

    trial: Codes
    step: Codes
    columns: Mapping[str, npt.NDArray[Any]]
    skipped: tuple[Skipped, ...] = ()


def read_records(trials: Trials, table: str, columns: Sequence[str], when: When) -> Records:
    """One record of each trial.

    Only these columns are read, only of parts that hold a chosen trial, and only the row groups that the least and
    greatest step in the file's footer don't rule out. At any moment a few parts are in memory, beside the result.

    Args:
        trials: the trials to read, as `read_trials` gave them or fewer.
        table: `steps` or `layers`.
        columns: columns of the table.
        when: which record.
    """
    holders = np.flatnonzero(np.bincount(trials.part, minlength=len(trials.parts)))
    bounds = np.searchsorted(trials.part, np.append(holders, len(trials.parts)))
    ids = trials.frame["trial_id"]

    def one(place: int) -> _Piece | Skipped:
        start, end = bounds[place], bounds[place + 1]
        numbers = dict(zip(ids.iloc[start:end].tolist(), range(start, end), strict=True))
        return _read_part(trials.parts[holders[place]], table, columns, when, numbers)

    found = at_once(one, range(len(holders)))
    rows = _joined([piece for piece in found if not isinstance(piece, Skipped)], columns)
    skipped = tuple(piece for piece in found if isinstance(piece, Skipped))
    return Records(rows.trial, rows.step, rows.columns, skipped)


@dataclass(frozen=True)
class _Piece:
    trial: Codes
    step: Codes
    columns: dict[str, npt.NDArray[Any]]

    def take(self, rows: npt.NDArray[np.bool_]) -> _Piece:
        return _Piece(self.trial[rows], self.step[rows], {name: column[rows] for name, column in self.columns.items()})


def _read_part(
    part: PartFile, table: str, columns: Sequence[str], when: When, numbers: Mapping[str, int]
) -> _Piece | Skipped:
    path = part.path(table)

    def read(plain: pq.ParquetFile) -> _Piece:
        with pq.ParquetFile(path, metadata=plain.metadata, read_dictionary=["trial_id"]) as file:
            source = _Source(file, table, tuple(columns), numbers)
            rows = _last(source) if when == "last" else _at(source, 0 if when == "first" else when)
            return _joined(list(rows), columns)

    return from_part(path, table, read)


def _at(source: _Source, step: int) -> Iterator[_Piece]:
    for group, (low, high) in enumerate(source.step_ranges()):
        if low <= step <= high:
            piece = source.read(group)
            yield piece.take(piece.step == step)


def _last(source: _Source) -> Iterator[_Piece]:
    """From the latest row group back, until no earlier one can hold a trial's last record."""
    ranges = source.step_ranges()
    first = min(source.numbers.values())
    last = np.full(len(source.numbers), -1, np.int64)
    pieces = []
    for group in sorted(range(len(ranges)), key=lambda group: -ranges[group][1]):
        if ranges[group][1] < last.min():
            break
        piece = source.read(group)
        np.maximum.at(last, piece.trial - first, piece.step)
        pieces.append(piece)
    for piece in pieces:
        yield piece.take(piece.step == last[piece.trial - first])


def _joined(pieces: Sequence[_Piece], columns: Sequence[str]) -> _Piece:
    empty = _Piece(np.zeros(0, np.int64), np.zeros(0, np.int64), dict.fromkeys(columns, np.zeros(0)))
    pieces = pieces or [empty]
    return _Piece(
        np.concatenate([piece.trial for piece in pieces]),
        np.concatenate([piece.step for piece in pieces]),
        {name: np.concatenate([piece.columns[name] for piece in pieces]) for name in columns},
    )


@dataclass(frozen=True)
class _Source:
    """A part file of which some columns are wanted, for the trials whose ids are in `numbers`."""

    file: pq.ParquetFile
    table: str
    columns: tuple[str, ...]
    numbers: Mapping[str, int]

    def read(self, group: int) -> _Piece:
        """The rows of one row group that belong to these trials."""
        names = set(self.file.schema_arrow.names)
        wanted = [name for name in ("trial_id", "step", *self.columns) if name in names]
        rows = self.file.read_row_group(group, columns=list(dict.fromkeys(wanted)), use_threads=False)
        ids = rows["trial_id"].combine_chunks()
        number = np.array([self.numbers.get(text, -1) for text in ids.dictionary.to_pylist()] or [-1], np.int64)
        trial = number[np.asarray(pc.fill_null(ids.indices, 0))]
        rows = declared(rows.drop_columns("trial_id"), self.table)
        nothing = np.full(len(trial), np.nan)
        columns = {name: _values(rows[name]) if name in names else nothing for name in self.columns}
        piece = _Piece(trial, np.asarray(rows["step"], np.int64), columns)
        return piece if (trial >= 0).all() else piece.take(trial >= 0)

    def step_ranges(self) -> list[tuple[int, int]]:
        """The least and greatest step of each row group; everything where the footer doesn't say."""
        place = self.file.schema_arrow.names.index("step")
        ranges = []
        for group in range(self.file.num_row_groups):
            known = self.file.metadata.row_group(group).column(place).statistics
            ends = (known.min, known.max) if known is not None and known.has_min_max else (_LEAST, _GREATEST)
            ranges.append(ends)
        return ranges


def _values(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if pa.types.is_string(column.type):
        return np.asarray(column.to_numpy(), object)
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
