"""What of a run is exported: the trials that a condition selects, and the rows that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from gradlab.analysis.where.condition import parse_where
from gradlab.errors import UsageError
from gradlab.store.finding import Skipped
from gradlab.store.reading import parts_of
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import schema

Rows: TypeAlias = Callable[[str], Iterator[pa.Table]]
"""`steps` or `layers` -> the table's rows, part by part, every row once, with all declared columns and no others."""


@dataclass(frozen=True)
class Selection:
    """The trials of a run that are exported.

    Attributes:
        run: where they stand.
        trials: their rows of the trials table; columns that a part lacks are null.
        skipped: the parts that could not be read so far, each once.
    """

    run: RunDirectory
    trials: pa.Table
    skipped: dict[Skipped, None] = field(default_factory=dict)

    def rows(self, table: str, advance: Callable[[], object] = lambda: None) -> Iterator[pa.Table]:
        """The trials' rows of `steps` or `layers`, as `Rows` has them.

        Trials that finish in the meantime are left out, so that the tables of one export belong together.

        Args:
            table: its name.
            advance: called after each part.
        """
        ids = self.trials["trial_id"].unique()
        for part in parts_of(self.run, table):
            if isinstance(part, Skipped):
                self.skipped[part] = None
            else:
                yield _conformed(part.filter(pc.is_in(part["trial_id"], value_set=ids)), schema(table))
            advance()


def select(run: RunDirectory, where: str | None = None) -> Selection:
    """The trials of `run` that satisfy the condition `where` (all of them if None).

    Raises:
        UsageError: there are none; the condition makes no sense.
    """
    parts: list[pa.Table] = []
    skipped: dict[Skipped, None] = {}
    for part in parts_of(run, "trials"):
        if isinstance(part, Skipped):
            skipped[part] = None
        else:
            parts.append(part)
    if not parts:
        raise UsageError("there is nothing to export:" + "".join(f"\n  {miss}" for miss in skipped))
    try:
        trials = pa.concat_tables([*parts, schema("trials").empty_table()], promote_options="permissive")
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{run.path}: its parts don't hold trials of one sweep ({reason})") from None
    if not trials.num_rows:
        raise UsageError(f"{run.path}: there is nothing to export: its parts hold no trials")
    if where is not None:
        chosen = trials.filter(pa.array(parse_where(where).mask(trials.to_pandas())))
        if not chosen.num_rows:
            raise UsageError(f"--where {where}: none of {trials.num_rows} trials satisfies it")
        trials = chosen
    return Selection(run, trials, skipped)


def _conformed(part: pa.Table, columns: pa.Schema) -> pa.Table:
    arrays = [
        part[column.name] if column.name in part.column_names else pa.nulls(part.num_rows, column.type)
        for column in columns
    ]
    return pa.Table.from_arrays(arrays, schema=columns)
