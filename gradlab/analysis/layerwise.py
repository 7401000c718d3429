"""One run layer by layer: what every statistic was before training and at the last record."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gradlab.analysis.estimates import (
    Codes,
    GeometricMean,
    GeometricMeans,
    Mean,
    Means,
    Reals,
    means,
)
from gradlab.analysis.factors import Grouping, group_trials, plain_cell
from gradlab.analysis.gradients import Logs
from gradlab.errors import UsageError
from gradlab.store.finding import Skipped
from gradlab.store.reading import Trials
from gradlab.store.records import Records, Rows, When, read_records
from gradlab.store.tables import LAYER, NORM, TIME

Estimate = Mean | GeometricMean

_LOG_COLUMNS = ("weight_grad_norm", "delta_rms")
_NORM_COLUMNS = ("bias_grad_norm", "preactivation_rms", "activation_rms", "weight_norm", "update_ratio")
_PLAIN_COLUMNS = (
    "activation_mean",
    "dead_units",
    "zero_gradient_units",
    "saturated_fraction",
    "float32_zero_fraction",
    "non_finite",
)
GEOMETRIC = (*_LOG_COLUMNS, *_NORM_COLUMNS)
"""Columns of the layers table that are averaged geometrically: norms."""

STATISTICS = (*GEOMETRIC, *_PLAIN_COLUMNS)
"""Columns of the layers table that are aggregated."""


@dataclass(frozen=True)
class LayerRow:
    """A layer in a group of trials, a normalisation or a time step.

    Attributes:
        layer: from 1, nearest the input; of a normalisation that of the layer before it, 0 if none; the time step.
        name: as in the layers table.
        units: how many it has.
        first: statistic -> its mean over the seeds at step 0.
        last: the same at each trial's last record.
        kind: `layer`, `norm` or `time`.
    """

    layer: int
    name: str | None
    units: int | None
    first: Mapping[str, Estimate]
    last: Mapping[str, Estimate]
    kind: str = LAYER


@dataclass(frozen=True)
class LayerTable:
    """A group of trials layer by layer.

    Attributes:
        settings: every factor and its value.
        varying: the factors that tell this group from the others.
        trials: the rows of the trials table, as plain values.
        last_steps: the least and the greatest step of the trials' last records.
        rows: one per layer, from the input on, and one per normalisation after the layer that it follows.
        time_steps: one per time step, of one recurrent series after the other.
    """

    settings: Mapping[str, Any]
    varying: tuple[str, ...]
    trials: tuple[Mapping[str, Any], ...]
    last_steps: tuple[int, int] | None
    rows: tuple[LayerRow, ...]
    time_steps: tuple[LayerRow, ...] = ()


@dataclass(frozen=True, eq=False)
class LayerEstimates:
    """One record, aggregated over the seeds of each group, layer by layer.

    Attributes:
        group: `[row]`, the group's number, never falling.
        kind: `[row]`, `layer`, `norm` or `time`; a group's time steps stand after its layers.
        layer: `[row]`, from 1, nearest the input; of a normalisation that of the layer before it; the time step.
        name: `[row]`, as in the layers table of the first trial.
        units: `[row]`, likewise.
        estimates: statistic -> `[row]`.
        steps: `[trial]`, the step of its record; -1 where it has none.
        skipped: what could not be read.
    """

    group: Codes
    kind: Sequence[str]
    layer: Codes
    name: Sequence[str | None]
    units: Sequence[int | None]
    estimates: Mapping[str, Means | GeometricMeans]
    steps: Codes
    skipped: tuple[Skipped, ...]

    def rows_of(self, group: int) -> range:
        """The rows of one group."""
        return range(*np.searchsorted(self.group, [group, group + 1]).tolist())

    def row(self, place: int) -> Mapping[str, Estimate]:
        """Every statistic of one row."""
        return {name: column[place] for name, column in self.estimates.items()}


def layer_estimates(
    trials: Trials,
    grouping: Grouping,
    when: When,
    statistics: Sequence[str] = STATISTICS,
    which: Rows = "profile",
) -> LayerEstimates:
    """Read one record of each trial and aggregate it layer by layer; only the columns that the statistics need."""
    return _estimates(read_records(trials, "layers", _columns(statistics), when, which), grouping, statistics)


def layer_series(
    trials: Trials, grouping: Grouping, steps: tuple[int, ...], statistics: Sequence[str], which: Rows
) -> tuple[LayerEstimates, ...]:
    """The same of several steps, each of the trials that have a record there."""
    records = read_records(trials, "layers", _columns(statistics), steps, which)
    return tuple(_estimates(records.at(step), grouping, statistics) for step in steps)


def _columns(statistics: Sequence[str]) -> tuple[str, ...]:
    """The columns of the layers table that statistics need."""
    twins = [name for name in statistics if name in _LOG_COLUMNS]
    more = [*(f"log10_{name}" for name in twins), *(["non_finite"] if twins else [])]
    return tuple(dict.fromkeys(["layer", "name", "units", *statistics, *more]))


def _estimates(records: Records, grouping: Grouping, statistics: Sequence[str]) -> LayerEstimates:
    group, first, codes = _same_rows(records, grouping)
    estimates: dict[str, Means | GeometricMeans] = {}
    for name in statistics:
        values = records.columns[name]
        if name in GEOMETRIC:
            logs = Logs.of_records(records, name) if name in _LOG_COLUMNS else Logs.of(values, records.is_nan(name))
            estimates[name] = logs.means(codes, len(first))
        else:
            estimates[name] = means(codes, len(first), values)
    steps = np.full(len(grouping.codes), -1, np.int64)
    steps[records.trial] = records.step
    kinds = np.where(records.is_time, TIME, np.where(records.is_norm, NORM, LAYER))
    return LayerEstimates(
        group,
        kinds[first].tolist(),
        records.columns["layer"][first].astype(np.int64),
        [plain_cell(name) for name in records.columns["name"][first]],
        _units(records.columns["units"], codes, first),
        estimates,
        steps,
        records.skipped,
    )


def _same_rows(records: Records, grouping: Grouping) -> tuple[Codes, Codes, Codes]:
    """Which rows of a group's trials are about the same thing: layers of one place, other things of one name and place.

    Returns:
        The group of each thing, from the input on and time steps last; the first row that is about it; and `[row]`,
        which of them the row is about.
    """
    time = records.is_time
    layer = np.unique(records.columns["layer"], return_inverse=True)[1].reshape(-1)
    other = np.flatnonzero(time | records.is_norm)
    series = np.zeros(len(layer), np.int64)
    series[other] = pd.factorize(records.columns["name"][other], use_na_sentinel=False)[0] + 1
    outer, inner = np.where(time, series, layer), np.where(time, layer, series)
    size = int(max(layer.max(initial=0), series.max(initial=0))) + 1
    keys = ((grouping.codes[records.trial] * 2 + time) * size + outer) * size + inner
    found, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    return found // (2 * size * size), first, codes


def _units(units: Reals, codes: Codes, first: Codes) -> list[int | None]:
    """`[row]`, how many units the layer has; None where that differs between trials."""
    found = [plain_cell(value, "width") for value in units[first]]
    unlike = set(codes[units != units[first][codes]].tolist())
    return [None if place in unlike else value for place, value in enumerate(found)]


def layer_tables(trials: Trials) -> tuple[tuple[LayerTable, ...], tuple[Skipped, ...]]:
    """Every group of trials layer by layer, statistics aggregated over the seeds, and what could not be read."""
    grouping = group_trials(trials.frame)
    first, last = (layer_estimates(trials, grouping, when, which="all") for when in ("first", "last"))
    rows: list[list[LayerRow]] = [[] for _ in grouping.settings]
    at_first = {key: place for place, key in enumerate(_keys(first))}
    for place, key in enumerate(_keys(last)):
        before = first.row(at_first[key]) if key in at_first else {}
        row = LayerRow(key[2], last.name[place], last.units[place], before, last.row(place), key[1])
        rows[key[0]].append(row)
    records = [
        {str(key): plain_cell(value, str(key)) for key, value in row.items()} for row in trials.frame.to_dict("records")
    ]
    tables = []
    for number, settings in enumerate(grouping.settings):
        members = grouping.members[number]
        steps = last.steps[members][last.steps[members] >= 0]
        tables.append(
            LayerTable(
                settings=settings,
                varying=grouping.telling,
                trials=tuple(records[trial] for trial in members),
                last_steps=(int(steps.min()), int(steps.max())) if len(steps) else None,
                rows=tuple(row for row in rows[number] if row.kind != TIME),
                time_steps=tuple(row for row in rows[number] if row.kind == TIME),
            )
        )
    return tuple(tables), tuple(dict.fromkeys([*first.skipped, *last.skipped]))


def _keys(found: LayerEstimates) -> list[tuple[int, str, int, str | None]]:
    """What each row is about; a layer whatever its name."""
    names = [None if kind == LAYER else name for kind, name in zip(found.kind, found.name, strict=True)]
    return list(zip(found.group.tolist(), found.kind, found.layer.tolist(), names, strict=True))


def find_trial(trials: Trials, text: str) -> Trials:
    """The trial whose id is `text` or begins with it.

    Raises:
        UsageError: no trial or several; the message names near ones.
    """
    column = trials.frame["trial_id"]
    ids = [str(trial_id) for trial_id in column.unique()]
    matches = [text] if text in ids else [trial_id for trial_id in ids if text and trial_id.startswith(text)]
    if len(matches) == 1:
        return trials.where(np.asarray(column == matches[0]))
    if matches:
        more = f" and {len(matches) - 5} more" if len(matches) > 5 else ""
        raise UsageError(f"trial '{text}' is ambiguous: {', '.join(matches[:5])}{more}; give more digits")
    near = difflib.get_close_matches(text, ids, 3, 0.3) or ids[:3]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"no trial '{text}' among {len(ids)} trials{hint} (`gradlab show RUN --json` lists them all)")
