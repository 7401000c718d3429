"""The tables of run directories as their readers see them: one table over several runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gradlab.errors import UsageError
from gradlab.store.finding import Skipped
from gradlab.store.part_files import at_once, read_part
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import OPTIONAL, TRIALS
from gradlab.store.uniting import conformed, united_schema


@dataclass(frozen=True)
class Part:
    """A part of a run: some of its trials, and where the rows of these stand.

    Attributes:
        files: `steps` or `layers` -> its files, in the order in which they were written. Those that a training adds
            after its trial was read are not among them, so that every question sees the same rows.
    """

    run: RunDirectory
    name: str
    files: Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Trials:
    """The trials table of one or more runs, and where the trials' other rows are.

    Attributes:
        frame: `[trial]`, the rows, with the run's name in `run`.
        part: `[trial]`, the place in `parts` of the part that holds the trial; never falls.
        parts: the parts of all runs.
        skipped: what could not be read.
        nan: column -> `[trial]`, where it says NaN itself, which in `frame` is no other than null; of columns in which
            it does.
    """

    frame: pd.DataFrame
    part: npt.NDArray[np.int64]
    parts: tuple[Part, ...]
    skipped: tuple[Skipped, ...] = ()
    nan: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)

    @cached_property
    def seeds(self) -> npt.NDArray[np.int64]:
        """`[trial]`, a number for the seed of each, from 0."""
        return np.unique(self.frame["seed"].to_numpy(), return_inverse=True)[1].reshape(-1)

    def is_nan(self, column: str) -> npt.NDArray[np.bool_]:
        """`[trial]`, where this column is not a number: it was measured, and came out as NaN."""
        return self.nan.get(column, np.zeros(len(self.frame), np.bool_))

    def where(self, mask: npt.NDArray[np.bool_]) -> Trials:
        """The chosen trials."""
        nan = {name: flags[mask] for name, flags in self.nan.items()}
        return replace(self, frame=self.frame[mask].reset_index(drop=True), part=self.part[mask], nan=nan)


@dataclass(frozen=True)
class _Finished:
    """What is taken of a part: `rows` of its trials table, and their `ids` (None: all that stand in the part)."""

    rows: pa.Table
    ids: pa.Array | None


def read_trials(runs: Sequence[RunDirectory]) -> Trials:
    """The finished trials of several runs.

    The schema is the union over all parts: a swept field that only some runs have is null in the others. Where a trial
    stands in two parts of a run, the later part (by name) counts, one that did not fail before one that did.
    """
    skipped: list[Skipped] = []
    pieces: list[tuple[str, pa.Table]] = []
    parts: list[Part] = []
    for run in runs:
        finished, misses = _finished(run, None)
        skipped += misses
        files = {table: run.files_of(table, finished) for table in ("steps", "layers")}
        for name, taken in finished.items():
            pieces.append((run.name, taken.rows))
            parts.append(Part(run, name, {table: found[name] for table, found in files.items()}))
    table = _united(pieces)
    part = np.repeat(np.arange(len(pieces)), [piece.num_rows for _, piece in pieces])
    return Trials(_as_frame(table), part, tuple(parts), tuple(skipped), _nan(table))


def readable_trials(runs: Sequence[RunDirectory]) -> Trials:
    """The same, where some can be read or there are none yet.

    Raises:
        UsageError: there are trials, and none can be read.
    """
    trials = read_trials(runs)
    if not len(trials.frame) and any(run.parts("trials") for run in runs):
        raise UsageError("no trials can be read:" + "".join(f"\n  {reason}" for reason in trials.skipped))
    return trials


def parts_of(run: RunDirectory, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table | Skipped]:
    """A table of one run, part by part as `read_trials` counts them, and in between what could not be read.

    Swept fields may differ in type between parts, and a column may be missing.

    Args:
        run: one that `find_runs` found.
        table: its name.
        columns: the columns to read, `trial_id` always among them; all of them if None.

    Yields:
        The rows that belong to each part's finished trials, one file after the other.
    """
    finished, skipped = _finished(run, ["status"])
    yield from skipped
    files = run.files_of(table, finished)
    for name, part in finished.items():
        for path in files[name]:
            if table in OPTIONAL and not path.exists():
                continue
            piece = read_part(path, table, columns)
            if part.ids is not None and not isinstance(piece, Skipped):
                piece = piece.filter(pc.is_in(piece["trial_id"], value_set=part.ids))
            yield piece


def _finished(run: RunDirectory, columns: Sequence[str] | None) -> tuple[dict[str, _Finished], list[Skipped]]:
    """Part name -> what to take from it, and what cannot be read."""
    skipped: list[Skipped] = []
    holders: dict[str, tuple[bool, str]] = {}
    content: dict[str, tuple[pa.Table, list[str]]] = {}
    paths = run.parts("trials")
    for path, part in zip(paths, at_once(lambda path: read_part(path, "trials", columns), paths), strict=True):
        if isinstance(part, Skipped):
            skipped.append(part)
            continue
        name, ids = path.stem, part["trial_id"].to_pylist()
        if len(set(ids)) < len(ids):
            skipped.append(Skipped(path, "holds a trial twice"))
            continue
        content[name] = part, ids
        for trial_id, status in zip(ids, part["status"].to_pylist(), strict=True):
            holders[trial_id] = max(holders.get(trial_id, (False, "")), (status != "failed", name))
    finished: dict[str, _Finished] = {}
    for name, (part, ids) in content.items():
        taken = [holders[trial_id][1] == name for trial_id in ids]
        if all(taken):
            finished[name] = _Finished(part, None)
        else:
            kept = part.filter(pa.array(taken, pa.bool_()))
            finished[name] = _Finished(kept, kept["trial_id"].unique())
    if not finished and not skipped:
        skipped.append(Skipped(run.path, "has no finished trials yet"))
    return finished, skipped


def _united(pieces: list[tuple[str, pa.Table]]) -> pa.Table:
    """Pieces of trials tables, each with the name of its run, as one table of all columns, the run first."""
    wanted = united_schema(piece.schema for _, piece in pieces)
    wanted = pa.schema([wanted.field("run"), *(field for field in wanted if field.name != "run")])
    cast = [conformed(_of_run(piece, run), wanted) for run, piece in pieces]
    return pa.concat_tables(cast) if cast else wanted.empty_table()


def _as_frame(table: pa.Table) -> pd.DataFrame:
    """The table with whole numbers of swept fields whole, also where some runs have none."""
    frame: pd.DataFrame = table.to_pandas()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name not in TRIALS and pa.types.is_integer(column.type) and column.null_count:
            frame[name] = pd.Series(column.to_pylist(), frame.index, dtype=object)
    return frame


def _nan(table: pa.Table) -> dict[str, npt.NDArray[np.bool_]]:
    """Column -> where it is NaN, not null; of columns in which it is so anywhere."""
    reals = [
        name for name, kind in zip(table.column_names, table.schema.types, strict=True) if pa.types.is_floating(kind)
    ]
    found = {name: np.asarray(pc.fill_null(pc.is_nan(table[name]), False), np.bool_) for name in reals}
    return {name: flags for name, flags in found.items() if flags.any()}


def _of_run(piece: pa.Table, run: str) -> pa.Table:
    # The directory's name, not the column's: a run that was copied or renamed is another one beside the first.
    names = pa.repeat(pa.scalar(run, pa.string()), piece.num_rows)
    place = piece.schema.get_field_index("run")
    return piece.append_column("run", names) if place < 0 else piece.set_column(place, "run", names)
