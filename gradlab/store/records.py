"""Records of every trial: the rows of the steps or layers table at the first step, the last one or any others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gradlab.store.finding import Skipped
from gradlab.store.opening import OUT_OF_RANGE, check_ids, declared, in_range, opened
from gradlab.store.part_files import at_once, from_part, unless_broken
from gradlab.store.reading import Trials
from gradlab.store.tables import LAYER, NORM, TIME

When = Literal["first", "last"] | int
"""Step 0, each trial's last record, or a step."""

Steps = tuple[int, ...] | Literal["every"]
"""Several records of each trial, or all that it has."""

Rows = Literal["profile", "profile and layers", "all"]
"""Which rows of a trial's layers: those along which its gradient is followed, these and its layers, or all of them.

The profile is the time steps of the trial's first recurrent series where it has any, else its layers.
"""

Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_ANY = -(1 << 63), (1 << 63) - 1
"""The range of steps of rows of which the file doesn't say it."""

_KINDS = (LAYER, TIME, NORM)
"""Kinds of rows by the number that they have here; any other kind has the last one, too."""


@dataclass(frozen=True)
class Records:
    """Rows of one table.

    Attributes:
        trial: `[row]`, the row of its trial in the trials table.
        step: `[row]`.
        columns: name -> `[row]`, NaN for null and for a column that a file doesn't have; text as objects.
        is_time: `[row]`, whether it is about a time step.
        is_norm: `[row]`, whether it is about a normalisation, or anything else that is neither layer nor time step.
        skipped: what could not be read.
        nan: name -> `[row]`, where the file says NaN itself, not null; of columns in which it does.
    """

    trial: Codes
    step: Codes
    columns: Mapping[str, npt.NDArray[Any]]
    is_time: Flags
    is_norm: Flags
    skipped: tuple[Skipped, ...] = ()
    nan: Mapping[str, Flags] = field(default_factory=dict)

    def at(self, step: int) -> Records:
        """The rows of one step."""
        rows = np.flatnonzero(self.step == step)
        columns, nan = ({name: column[rows] for name, column in of.items()} for of in (self.columns, self.nan))
        trial, is_time, is_norm = self.trial[rows], self.is_time[rows], self.is_norm[rows]
        return Records(trial, self.step[rows], columns, is_time, is_norm, self.skipped, nan)

    def is_nan(self, name: str) -> Flags:
        """`[row]`, where the file says that this column is not a number: it was measured, and came out as NaN."""
        return self.nan.get(name, np.zeros(len(self.trial), np.bool_))


def read_records(
    trials: Trials, table: str, columns: Sequence[str], when: When | Steps, which: Rows = "profile"
) -> Records:
    """One record of each trial, or several.

    Only these columns are read, only of parts that hold a chosen trial, and only the row groups that the least and
    greatest step in the file's footer don't rule out. At any moment a few parts are in memory, beside the result.

    Args:
        trials: the trials to read, as `read_trials` gave them or fewer.
        table: `steps` or `layers`.
        columns: columns of the table.
        when: which record, or which of them.
        which: which of its rows, in the layers table.
    """
    holders = np.flatnonzero(np.bincount(trials.part, minlength=len(trials.parts)))
    bounds = np.searchsorted(trials.part, np.append(holders, len(trials.parts)))
    ids = trials.frame["trial_id"]

    def one(place: int) -> tuple[_Piece, list[Skipped]]:
        start, end = bounds[place], bounds[place + 1]
        numbers = dict(zip(ids.iloc[start:end].tolist(), range(start, end), strict=True))
        files = trials.parts[holders[place]].files[table]
        piece, skipped = _read_part(files, _Wanted(table, tuple(columns), numbers), when)
        return _chosen(piece, which), skipped

    found = at_once(one, range(len(holders)))
    rows = _joined([piece for piece, _ in found], columns)
    skipped = tuple(miss for _, misses in found for miss in misses)
    is_time, is_norm = (rows.kind == _KINDS.index(kind) for kind in (TIME, NORM))
    return Records(rows.trial, rows.step, rows.columns, is_time, is_norm, skipped, rows.nan)


@dataclass(frozen=True)
class _Piece:
    """Some rows, with the number of their kind, and of the series that a time step belongs to."""

    trial: Codes
    step: Codes
    columns: dict[str, npt.NDArray[Any]]
    kind: Codes
    series: Codes
    nan: dict[str, Flags]

    def take(self, rows: Flags) -> _Piece:
        if rows.all():
            return self
        columns, nan = ({name: column[rows] for name, column in of.items()} for of in (self.columns, self.nan))
        return _Piece(self.trial[rows], self.step[rows], columns, self.kind[rows], self.series[rows], nan)


@dataclass(frozen=True)
class _Wanted:
    """What is wanted of the files of a part: some columns of the trials whose ids are in `numbers`."""

    table: str
    columns: tuple[str, ...]
    numbers: Mapping[str, int]


def _read_part(files: Sequence[Path], wanted: _Wanted, when: When | Steps) -> tuple[_Piece, list[Skipped]]:
    footers = [from_part(path, wanted.table, lambda file: file.metadata) for path in files]
    skipped = [footer for footer in footers if isinstance(footer, Skipped)]
    sources = [
        _Source(path, footer, wanted)
        for path, footer in zip(files, footers, strict=True)
        if not isinstance(footer, Skipped)
    ]
    for source in sources:
        if not all(in_range(*ends) for ends in source.step_ranges if ends != _ANY):
            return _joined([], wanted.columns), [*skipped, Skipped(source.path, OUT_OF_RANGE.format("step"))]
    pieces = []
    for piece in _last(sources) if when == "last" else _at(sources, _steps(when)):
        if isinstance(piece, Skipped):
            return _joined([], wanted.columns), [*skipped, piece]
        pieces.append(piece)
    return _joined(pieces, wanted.columns), skipped


def _steps(when: When | Steps) -> Codes | None:
    """The steps that are asked for, in their order; None for all."""
    if when == "every":
        return None
    return np.unique(np.array(0 if when == "first" else when, np.int64))


def _at(sources: Sequence[_Source], steps: Codes | None) -> Iterator[_Piece | Skipped]:
    for source in sources:
        for group, (low, high) in enumerate(source.step_ranges):
            if steps is None:
                yield source.read(group)
            elif np.searchsorted(steps, low) < np.searchsorted(steps, high, "right"):
                piece = source.read(group)
                yield piece if isinstance(piece, Skipped) else piece.take(np.isin(piece.step, steps))


def _last(sources: Sequence[_Source]) -> Iterator[_Piece | Skipped]:
    """From the latest row group back, until no earlier one can hold a trial's last record."""
    groups = [(high, source, group) for source in sources for group, (_, high) in enumerate(source.step_ranges)]
    if not groups:
        return
    numbers = sources[0].wanted.numbers
    first = min(numbers.values())
    last = np.full(len(numbers), -1, np.int64)
    pieces = []
    for high, source, group in sorted(groups, key=lambda place: -place[0]):
        if high < last.min():
            break
        piece = source.read(group)
        if isinstance(piece, Skipped):
            yield piece
            return
        np.maximum.at(last, piece.trial - first, piece.step)
        pieces.append(piece)
    for piece in pieces:
        yield piece.take(piece.step == last[piece.trial - first])


def _chosen(piece: _Piece, which: Rows) -> _Piece:
    """The rows that were asked for."""
    if which == "all" or not piece.kind.any():
        return piece
    time, layer = piece.kind == _KINDS.index(TIME), piece.kind == _KINDS.index(LAYER)
    lowest = piece.trial.min()
    trial = piece.trial - lowest
    with_time, first = np.unique(trial[time], return_index=True)
    has_time = np.zeros(trial.max() + 1, np.bool_)
    has_time[with_time] = True
    series = np.zeros(len(has_time), np.int64)
    series[with_time] = piece.series[time][first]
    along = np.where(has_time[trial], time & (piece.series == series[trial]), layer)
    return piece.take(along | layer if which == "profile and layers" else along)


def _joined(pieces: Sequence[_Piece], columns: Sequence[str]) -> _Piece:
    nothing = np.zeros(0, np.int64)
    pieces = pieces or [_Piece(nothing, nothing, dict.fromkeys(columns, np.zeros(0)), nothing, nothing, {})]
    if len(pieces) == 1:
        return pieces[0]
    with_nan = dict.fromkeys(name for piece in pieces for name in piece.nan)
    return _Piece(
        np.concatenate([piece.trial for piece in pieces]),
        np.concatenate([piece.step for piece in pieces]),
        {name: np.concatenate([piece.columns[name] for piece in pieces]) for name in columns},
        np.concatenate([piece.kind for piece in pieces]),
        np.concatenate([piece.series for piece in pieces]),
        {
            name: np.concatenate([piece.nan.get(name, np.zeros(len(piece.trial), np.bool_)) for piece in pieces])
            for name in with_nan
        },
    )


@dataclass(frozen=True, eq=False)
class _Source:
    """A part file, its footer, and what is wanted of it."""

    path: Path
    footer: pq.FileMetaData
    wanted: _Wanted

    def read(self, group: int) -> _Piece | Skipped:
        """The rows of one row group that belong to these trials."""
        return unless_broken(self.path, lambda: self._read(group))

    def _read(self, group: int) -> _Piece:
        options = {"metadata": self.footer, "read_dictionary": ["trial_id"]}
        with opened(self.path, self.wanted.table, **options) as file:
            told = () if self._layers_only(group) else ("kind", "name")
            asked = dict.fromkeys(("trial_id", "step", *self.wanted.columns, *told))
            rows = file.read_row_group(group, [name for name in asked if name in self._names], use_threads=False)
            trial = self._trial(rows["trial_id"])
            rows = declared(rows.drop_columns("trial_id"), self.wanted.table)
        nothing, none = np.full(len(trial), np.nan), np.zeros(len(trial), np.int64)
        there = [name for name in self.wanted.columns if name in self._names]
        columns = dict.fromkeys(self.wanted.columns, nothing) | {name: _values(rows[name]) for name in there}
        nan = {name: found for name in there if (found := _is_nan(rows[name], columns[name])) is not None}
        kind = _kinds(rows["kind"]) if told else none
        series = _series(rows["name"]) if told and "name" in self._names else none
        return _Piece(trial, np.asarray(rows["step"], np.int64), columns, kind, series, nan).take(trial >= 0)

    def _trial(self, ids: pa.ChunkedArray) -> Codes:
        """`[row]`, the number of its trial; -1 where it is none of those that are wanted."""
        if not pa.types.is_dictionary(ids.type):
            ids = ids.cast(pa.string()).dictionary_encode()
        check_ids(ids)
        encoded = ids.combine_chunks()
        numbers = [self.wanted.numbers.get(text, -1) for text in encoded.dictionary.to_pylist()]
        trial: Codes = np.array(numbers or [-1], np.int64)[np.asarray(encoded.indices)]
        return trial

    @cached_property
    def step_ranges(self) -> list[tuple[int, int]]:
        """The least and greatest step of each row group; everything where the footer doesn't say."""
        found = (self._ends("step", group) for group in range(self.footer.num_row_groups))
        return [ends if ends and all(type(end) is int for end in ends) else _ANY for ends in found]

    def _layers_only(self, group: int) -> bool:
        return "kind" not in self._names or self._ends("kind", group) == (LAYER, LAYER)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.footer.schema.to_arrow_schema().names)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.footer.schema.names)}

    def _ends(self, column: str, group: int) -> tuple[Any, Any] | None:
        """The least and the greatest value of a column in a row group, if the footer says."""
        place = self._places.get(column)
        known = None if place is None else self.footer.row_group(group).column(place).statistics
        return (known.min, known.max) if known is not None and known.has_min_max else None


def _values(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if pa.types.is_string(column.type):
        return np.asarray(column.to_numpy(), object)
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def _is_nan(column: pa.ChunkedArray, values: npt.NDArray[Any]) -> Flags | None:
    """`[row]`, which of a column's values are NaN and not null; None where none is."""
    if values.dtype != np.float64:
        return None
    nan: Flags = np.isnan(values)
    if np.count_nonzero(nan) == column.null_count:
        return None
    nan &= np.asarray(column.is_valid(), np.bool_)
    return nan


def _kinds(column: pa.ChunkedArray) -> Codes:
    """`[row]`, the numbers of kinds; a row without one is a layer."""
    found = pc.fill_null(pc.index_in(column, pa.array(_KINDS)), _KINDS.index(NORM))
    numbers: Codes = np.asarray(pc.if_else(pc.is_null(column), 0, found), np.int64)
    return numbers


def _series(names: pa.ChunkedArray) -> Codes:
    """`[row]`, numbers that are the same for rows of the same name, in any file."""
    encoded = names.combine_chunks().dictionary_encode()
    numbers = np.array([*map(hash, encoded.dictionary.to_pylist()), 0], np.int64)
    found: Codes = numbers[np.asarray(pc.fill_null(encoded.indices, len(numbers) - 1))]
    return found
