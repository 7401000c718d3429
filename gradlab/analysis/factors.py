"""Which trials belong together: the factors of an experiment and the groups that they make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gradlab.analysis.estimates import Codes
from gradlab.config.choices import ACTIVATIONS
from gradlab.config.sweep import TRIAL_COLUMNS
from gradlab.store.tables import TRIALS

_ACTIVATION_ORDER = {name: place for place, name in enumerate(ACTIVATIONS)}


@dataclass(frozen=True)
class Grouping:
    """Trials that differ in their seed alone, together.

    Attributes:
        codes: `[trial]`, the group of each trial; groups count from 0 in the order in which they are shown.
        settings: every factor's value in each group, `run` first where runs must be told apart.
        varying: the factors that tell the groups apart.
    """

    codes: Codes
    settings: tuple[Mapping[str, Any], ...]
    varying: tuple[str, ...]


def factor_columns(trials: pd.DataFrame) -> list[str]:
    """The columns of the trials table that are settings: the fixed ones, then other swept fields by their path."""
    fixed = [column for column in TRIAL_COLUMNS.values() if column in trials.columns]
    return fixed + [column for column in trials.columns if column not in TRIALS]


def group_trials(trials: pd.DataFrame) -> Grouping:
    """Group trials by everything but the seed.

    `run` is a factor only where the same settings stand in several runs: what differs between those runs is then in
    no column, and their trials must not be averaged.
    """
    factors = factor_columns(trials)
    if trials.empty:
        return Grouping(np.zeros(0, np.int64), (), ())
    codes = _codes(trials, factors)
    if "run" in trials.columns and (trials["run"].groupby(codes).nunique() > 1).any():
        factors = ["run", *factors]
        codes = _codes(trials, factors)
    _, first = np.unique(codes, return_index=True)
    columns = {name: [plain_cell(value, name) for value in trials[name].iloc[first]] for name in factors}
    settings = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    varying = tuple(name for name, values in columns.items() if len(set(values)) > 1)
    order = sorted(range(len(settings)), key=lambda group: [_rank(settings[group][name]) for name in varying])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return Grouping(place[codes], tuple(settings[group] for group in order), varying)


def plain_cell(value: Any, column: str = "") -> Any:
    """A table's cell as a plain value: None for what is missing, whole numbers whole again after a null among them."""
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and math.isnan(value)):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, float) and TRIALS.get(column) == pa.int64() else value


def _codes(trials: pd.DataFrame, factors: Sequence[str]) -> Codes:
    return np.asarray(trials.groupby(list(factors), dropna=False, sort=False).ngroup(), np.int64)


def _rank(value: Any) -> tuple[int, float, str]:
    """A place for a value of any type: nothing, then numbers, then names, activations in their own order."""
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, bool | int | float):
        return (1, float(value), "")
    name = str(value)
    return (2, float(_ACTIVATION_ORDER.get(name.split("(")[0], len(_ACTIVATION_ORDER))), name)
