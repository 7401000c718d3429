"""Run directories as their readers see them: find them, and read a table over several."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gradlab.errors import UsageError
from gradlab.store.rundir import CONFIG_NAME, VERSION_KEY, RunDirectory, is_run_directory, unreadable_version
from gradlab.store.tables import SCHEMA_VERSION, TABLES

_KEYS = {
    "trials": {"trial_id", "seed", "status"},
    "steps": {"trial_id", "step"},
    "layers": {"trial_id", "step", "layer"},
}
"""Columns without which a file is no table of ours."""


@dataclass(frozen=True)
class Skipped:
    """Something that was not read, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


@dataclass(frozen=True)
class Tables:
    """The three tables of one or more runs, `run` a column of each, and what could not be read."""

    trials: pd.DataFrame
    steps: pd.DataFrame
    layers: pd.DataFrame
    skipped: tuple[Skipped, ...] = ()


def find_runs(paths: Iterable[Path]) -> tuple[tuple[RunDirectory, ...], tuple[Skipped, ...]]:
    """The runs at `paths`, each a run directory or a folder of them (two levels deep), every run once.

    Runs of one directory name get labels that tell them apart.

    Raises:
        UsageError: there is no run at all.
    """
    found: dict[Path, Path] = {}
    skipped: list[Skipped] = []
    for path in paths:
        runs, misses = _search(Path(path))
        skipped += misses
        for run in runs:
            found.setdefault(run.resolve(), run)
    if not found:
        reasons = "".join(f"\n  {miss}" for miss in skipped)
        raise UsageError(
            f"no run directory found{':' if reasons else ''}{reasons}\n"
            "name a run directory or a folder of them, or make one with `gradlab run CONFIG`"
        )
    labels = _labels(list(found))
    return tuple(RunDirectory(path, label) for path, label in zip(found.values(), labels, strict=True)), tuple(skipped)


def read(
    runs: Sequence[RunDirectory], table: str, columns: Sequence[str] | None = None
) -> tuple[pd.DataFrame, tuple[Skipped, ...]]:
    """A table over several runs, and the part files that could not be read.

    The schema is the union over all parts: a swept field that only some runs have is null in the others. Only
    finished trials are read, so a part that is still being written is not seen. Where a trial stands in two parts of
    a run, the later part (by name) counts, one that did not fail before one that did.

    Args:
        runs: what `find_runs` found.
        table: `trials`, `steps` or `layers`.
        columns: the columns to read, `trial_id` always among them; all of them if None.

    Returns:
        The rows, with the run's name in `run`, and the warnings.

    Raises:
        UsageError: a column that no table has.
    """
    skipped: list[Skipped] = []
    pieces: list[tuple[str, pa.Table]] = []
    for run in runs:
        for piece in parts_of(run, table, columns):
            if isinstance(piece, Skipped):
                skipped.append(piece)
            else:
                pieces.append((run.name, piece))
    wanted = _union_schema(table, [piece for _, piece in pieces])
    if columns is not None:
        wanted = _chosen(wanted, columns)
    cast = [_cast(piece, run, wanted) for run, piece in pieces]
    whole = pa.concat_tables(cast) if cast else wanted.empty_table()
    return whole.to_pandas(), tuple(skipped)


def parts_of(run: RunDirectory, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table | Skipped]:
    """A table of one run, part by part as `read` counts them, and in between what could not be read.

    Swept fields may differ in type between parts, and a column may be missing; `read` unites them.

    Args:
        run: one that `find_runs` found.
        table: `trials`, `steps` or `layers`.
        columns: the columns to read, `trial_id` always among them; all of them if None.

    Yields:
        The rows that belong to each part's finished trials.
    """
    finished, skipped = _finished(run)
    yield from skipped
    if not finished and not skipped:
        yield Skipped(run.path, "has no finished trials yet")
    for part, ids in finished.items():
        piece = _read_part(run.path / table / part, table, columns)
        if ids is not None and not isinstance(piece, Skipped):
            piece = piece.filter(pc.is_in(piece["trial_id"], value_set=pa.array(sorted(ids), pa.string())))
        yield piece


def load(runs: Sequence[RunDirectory]) -> Tables:
    """All three tables of `runs`, each warning once."""
    frames, skipped = {}, {}
    for table in TABLES:
        frames[table], misses = read(runs, table)
        skipped.update(dict.fromkeys(misses))
    return Tables(**frames, skipped=tuple(skipped))


def _search(path: Path) -> tuple[list[Path], list[Skipped]]:
    try:
        if not path.exists():
            return [], [Skipped(path, "does not exist")]
        if is_run_directory(path):
            return _readable(path)
        owner = next((parent for parent in path.absolute().parents if is_run_directory(parent)), None)
        if owner is not None:
            return [], [Skipped(path, f"is a part of the run directory {owner}; name that")]
        if not path.is_dir():
            return [], [Skipped(path, "is a file, not a run directory")]
        found: list[Path] = []
        skipped: list[Skipped] = []
        for child in _folders(path):
            runs = [run for run in ((child,) if is_run_directory(child) else _folders(child)) if is_run_directory(run)]
            if not runs:
                skipped.append(Skipped(child, f"is no run directory (it has no {CONFIG_NAME} with trials/ beside it)"))
            for run in runs:
                good, bad = _readable(run)
                found += good
                skipped += bad
    except OSError as error:
        return [], [Skipped(path, f"cannot be read ({error.strerror or error})")]
    return found, skipped if found or skipped else [Skipped(path, "holds no run directory")]


def _readable(path: Path) -> tuple[list[Path], list[Skipped]]:
    reason = unreadable_version(RunDirectory(path).read_info().get("schema_version", SCHEMA_VERSION))
    return ([], [Skipped(path, reason)]) if reason else ([path], [])


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    except PermissionError:
        return []


def _labels(paths: list[Path]) -> list[str]:
    """The shortest ends of the resolved paths that are all different where the last parts aren't."""
    labels = [path.name for path in paths]
    length = 1
    while (repeated := {label for label, count in Counter(labels).items() if count > 1}) and length < 100:
        length += 1
        labels = [
            "/".join(path.parts[-length:]) if label in repeated else label
            for path, label in zip(paths, labels, strict=True)
        ]
    return labels


def _finished(run: RunDirectory) -> tuple[dict[str, set[str] | None], list[Skipped]]:
    """Part name -> the trials to take from it (None: all of them), and the trial parts that cannot be read."""
    skipped: list[Skipped] = []
    holders: dict[str, tuple[bool, str]] = {}
    content: dict[str, set[str]] = {}
    for path in run.parts("trials"):
        part = _read_part(path, "trials", ["status"])
        if isinstance(part, Skipped):
            skipped.append(part)
            continue
        content[path.name] = set()
        for trial_id, status in zip(part["trial_id"].to_pylist(), part["status"].to_pylist(), strict=True):
            content[path.name].add(trial_id)
            holders[trial_id] = max(holders.get(trial_id, (False, "")), (status != "failed", path.name))
    finished: dict[str, set[str] | None] = {}
    for name, ids in content.items():
        kept = {trial_id for trial_id in ids if holders[trial_id][1] == name}
        finished[name] = None if kept == ids else kept
    return finished, skipped


def _read_part(path: Path, table: str, columns: Sequence[str] | None) -> pa.Table | Skipped:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if missing := _KEYS[table] - set(names):
                return Skipped(path, f"is no gradlab table of {table} (no column {', '.join(sorted(missing))})")
            version = (file.schema_arrow.metadata or {}).get(VERSION_KEY, SCHEMA_VERSION)
            if reason := unreadable_version(version):
                return Skipped(path, reason)
            chosen = names if columns is None else [name for name in names if name in {"trial_id", *columns}]
            part = file.read(columns=chosen)
    except FileNotFoundError:
        return Skipped(path, "is missing")
    except pa.ArrowInvalid as error:
        return Skipped(path, f"is broken or no Parquet file ({str(error).splitlines()[0]})")
    except OSError as error:
        return Skipped(path, f"cannot be read ({error.strerror or str(error).splitlines()[0]})")
    declared = [pa.field(name, TABLES[table].get(name, part.schema.field(name).type)) for name in chosen]
    try:
        return part.cast(pa.schema(declared))
    except pa.ArrowException as error:
        return Skipped(path, f"has columns of other types ({str(error).splitlines()[0]})")


def _union_schema(table: str, pieces: list[pa.Table]) -> pa.Schema:
    types = dict(TABLES[table])
    for piece in pieces:
        for field in piece.schema:
            if field.name not in TABLES[table]:
                types[field.name] = _common_type(types.get(field.name), _plain_type(field.type))
    return pa.schema([("run", pa.string()), *((name, kind) for name, kind in types.items() if name != "run")])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return kind
    if pa.types.is_integer(kind):
        return pa.int64()
    return pa.float64() if pa.types.is_floating(kind) else pa.string()


def _common_type(one: pa.DataType | None, other: pa.DataType) -> pa.DataType:
    if one is None or one == other or pa.types.is_null(one):
        return other
    if pa.types.is_null(other):
        return one
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()


def _chosen(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    for column in columns:
        if column not in schema.names:
            near = difflib.get_close_matches(column, schema.names, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(schema.names)}"
            raise UsageError(f"no column '{column}'{hint}")
    return pa.schema([field for field in schema if field.name in {"run", "trial_id", *columns}])


def _cast(piece: pa.Table, run: str, schema: pa.Schema) -> pa.Table:
    # The directory's name, not the column's: a run that was copied or renamed is another one beside the first.
    given = {"run": pa.array([run] * piece.num_rows, pa.string())}
    arrays = []
    for field in schema:
        column = given.get(field.name, piece[field.name] if field.name in piece.schema.names else None)
        arrays.append(pa.nulls(piece.num_rows, field.type) if column is None else column.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
