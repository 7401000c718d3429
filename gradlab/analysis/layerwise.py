"""One run layer by layer: what every statistic was before training and at the last record."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gradlab.analysis.estimates import Codes, GeometricMean, Mean, geometric_means, means
from gradlab.analysis.factors import group_trials, plain_cell
from gradlab.analysis.gradients import Flags, Logs, locate, reals
from gradlab.errors import UsageError

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
STATISTICS = (*_LOG_COLUMNS, *_NORM_COLUMNS, *_PLAIN_COLUMNS)
"""Columns of the layers table that are aggregated: norms as geometric means, the others as means."""


@dataclass(frozen=True)
class LayerRow:
    """A layer in a group of trials.

    Attributes:
        layer: from 1, nearest the input.
        name: as in the layers table.
        units: how many it has.
        first: statistic -> its mean over the seeds at step 0.
        last: the same at each trial's last record.
    """

    layer: int
    name: str | None
    units: int | None
    first: Mapping[str, Estimate]
    last: Mapping[str, Estimate]


@dataclass(frozen=True)
class LayerTable:
    """A group of trials layer by layer.

    Attributes:
        settings: every factor and its value.
        varying: the factors that tell this group from the others.
        trials: the rows of the trials table, as plain values.
        last_steps: the least and the greatest step of the trials' last records.
        rows: one per layer, from the input on.
    """

    settings: Mapping[str, Any]
    varying: tuple[str, ...]
    trials: tuple[Mapping[str, Any], ...]
    last_steps: tuple[int, int] | None
    rows: tuple[LayerRow, ...]


def layer_tables(trials: pd.DataFrame, layers: pd.DataFrame) -> tuple[LayerTable, ...]:
    """Every group of trials layer by layer, statistics aggregated over the seeds.

    Args:
        trials: rows of the trials table, with `run`.
        layers: rows of the layers table, with `run`; those of other trials are left out.
    """
    grouping = group_trials(trials)
    number = locate(trials, layers)
    layers, number = layers[number >= 0], number[number >= 0]
    group, step = grouping.codes[number], np.asarray(layers["step"], np.int64)
    last = np.full(len(trials), -1, np.int64)
    np.maximum.at(last, number, step)
    first_means = _over_seeds(layers, group, step == 0)
    last_means = _over_seeds(layers, group, step == last[number])
    rows: list[list[LayerRow]] = [[] for _ in grouping.settings]
    for key, (name, units) in _layer_facts(layers, group).items():
        rows[key[0]].append(LayerRow(key[1], name, units, first_means.get(key, {}), last_means.get(key, {})))
    records = [
        {str(key): plain_cell(value, str(key)) for key, value in row.items()} for row in trials.to_dict("records")
    ]
    tables = []
    for number_of_group, settings in enumerate(grouping.settings):
        members = np.flatnonzero(grouping.codes == number_of_group)
        steps = last[members][last[members] >= 0]
        tables.append(
            LayerTable(
                settings=settings,
                varying=grouping.varying,
                trials=tuple(records[trial] for trial in members),
                last_steps=(int(steps.min()), int(steps.max())) if len(steps) else None,
                rows=tuple(rows[number_of_group]),
            )
        )
    return tuple(tables)


def find_trial(trials: pd.DataFrame, text: str) -> pd.DataFrame:
    """The row of the trial whose id is `text` or begins with it.

    Raises:
        UsageError: no trial or several; the message names near ones.
    """
    ids = [str(trial_id) for trial_id in trials["trial_id"].unique()]
    matches = [text] if text in ids else [trial_id for trial_id in ids if text and trial_id.startswith(text)]
    if len(matches) == 1:
        return trials[trials["trial_id"] == matches[0]]
    if matches:
        more = f" and {len(matches) - 5} more" if len(matches) > 5 else ""
        raise UsageError(f"trial '{text}' is ambiguous: {', '.join(matches[:5])}{more}; give more digits")
    near = difflib.get_close_matches(text, ids, 3, 0.3) or ids[:3]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"no trial '{text}' among {len(ids)} trials{hint} (`gradlab show RUN --json` lists them all)")


def _over_seeds(layers: pd.DataFrame, group: Codes, rows: Flags) -> dict[tuple[int, int], dict[str, Estimate]]:
    """(group, layer) -> statistic -> mean, over the chosen rows."""
    chosen = layers[rows]
    keys, codes = np.unique(np.stack([group[rows], np.asarray(chosen["layer"], np.int64)]), axis=1, return_inverse=True)
    codes, size = codes.reshape(-1), keys.shape[1]
    columns: dict[str, list[Any]] = {}
    for name in _LOG_COLUMNS:
        logs = Logs.of(chosen, name)
        columns[name] = list(geometric_means(codes, size, logs.logs, logs.zero, logs.not_finite))
    for name in _NORM_COLUMNS:
        values = reals(chosen[name])
        with np.errstate(divide="ignore", invalid="ignore"):
            columns[name] = list(geometric_means(codes, size, np.log10(values), values == 0, np.isinf(values)))
    for name in _PLAIN_COLUMNS:
        columns[name] = list(means(codes, size, reals(chosen[name])))
    pairs = [(int(owner), int(layer)) for owner, layer in keys.T]
    return {pair: {name: columns[name][place] for name in STATISTICS} for place, pair in enumerate(pairs)}


def _layer_facts(layers: pd.DataFrame, group: Codes) -> dict[tuple[int, int], tuple[str | None, int | None]]:
    """(group, layer) -> name and units, in order."""
    keys, first = np.unique(np.stack([group, np.asarray(layers["layer"], np.int64)]), axis=1, return_index=True)
    rows = layers.iloc[first]
    return {
        (int(owner), int(layer)): (plain_cell(name), plain_cell(units, "width"))
        for (owner, layer), name, units in zip(keys.T, rows["name"], rows["units"], strict=True)
    }
