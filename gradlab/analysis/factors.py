"""Which trials belong together: the factors of an experiment and the groups that they make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from gradlab.analysis.estimates import Codes
from gradlab.analysis.telling import telling
from gradlab.config.choices import ACTIVATIONS
from gradlab.config.sweep import TRIAL_COLUMNS
from gradlab.store.tables import TRIALS

_NEUTRAL = {"none", "pytorch_default", "sgd", "rnn"}
"""Names of what is plain, or what a network has where nothing was chosen: they stand first."""

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

    @property
    def size(self) -> int:
        """How many groups there are."""
        return len(self.settings)

    @cached_property
    def members(self) -> tuple[Codes, ...]:
        """The trials of each group."""
        order = np.argsort(self.codes, kind="stable")
        return tuple(np.split(order, np.searchsorted(self.codes[order], np.arange(1, self.size))))

    @cached_property
    def telling(self) -> tuple[str, ...]:
        """Those of `varying` that say more than that some networks don't read them."""
        return telling(self.varying, self.settings)

    def count(self, chosen: npt.NDArray[np.bool_]) -> Codes:
        """`[group]`, how many of its trials are chosen."""
        return np.bincount(self.codes[chosen], minlength=self.size)


def factor_columns(trials: pd.DataFrame) -> list[str]:
    """The columns of the trials table that are settings: the fixed ones, then other swept fields by their path."""
    fixed = [column for column in TRIAL_COLUMNS.values() if column in trials.columns]
    return fixed + [column for column in trials.columns if column not in TRIALS]


def group_trials(trials: pd.DataFrame, by: Sequence[str] | None = None) -> Grouping:
    """Group trials by everything but the seed, or by the columns `by`.

    `run` is a factor only where the same settings stand in several runs: what differs between those runs is then in
    no column, and their trials must not be averaged.
    """
    names = factor_columns(trials) if by is None else list(by)
    if trials.empty:
        return Grouping(np.zeros(0, np.int64), (), ())
    factors = {name: _Levels.of(trials[name], name) for name in names}
    codes = _codes(factors.values(), len(trials))
    if by is None and "run" in trials.columns:
        factors = {"run": _Levels.of(trials["run"], "run")} | factors
        by_run = _codes(factors.values(), len(trials))
        if by_run.max() > codes.max():
            codes = by_run
        else:
            del factors["run"]
    first = np.unique(codes, return_index=True)[1]
    varying = tuple(name for name, levels in factors.items() if by is not None or len(levels.values) > 1)
    order = np.lexsort([factors[name].codes[first] for name in reversed(varying)] or [first])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    columns = {name: levels.codes[first[order]].tolist() for name, levels in factors.items()}
    settings = [
        {name: factors[name].values[codes[group]] for name, codes in columns.items()} for group in range(len(order))
    ]
    return Grouping(place[codes], tuple(settings), varying)


@dataclass(frozen=True)
class _Levels:
    """A column's distinct values in their order, and `[trial]` which of them each trial has."""

    values: tuple[Any, ...]
    codes: Codes

    @classmethod
    def of(cls, column: Any, name: str) -> _Levels:
        codes, found = pd.factorize(column, use_na_sentinel=False)
        values = [plain_cell(value, name) for value in np.asarray(found, object).tolist()]
        order = sorted(range(len(values)), key=lambda code: rank(values[code]))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return cls(tuple(values[code] for code in order), place[codes])


def _codes(factors: Iterable[_Levels], trials: int) -> Codes:
    """`[trial]`, the same number for trials that agree in all factors, from 0."""
    codes = np.zeros(trials, np.int64)
    for levels in factors:
        if len(levels.values) > 1:
            codes = np.unique(codes * len(levels.values) + levels.codes, return_inverse=True)[1].reshape(-1)
    return codes


def plain_cell(value: Any, column: str = "") -> Any:
    """A table's cell as a plain value: None for what is missing, whole numbers whole again after a null among them."""
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and math.isnan(value)):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, float) and TRIALS.get(column) == pa.int64() else value


def rank(value: Any) -> tuple[int, float, str]:
    """A place for a value of any type: nothing, numbers, names; of these neutral ones first, activations in order."""
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, bool | int | float):
        return (1, float(value), "")
    name = str(value)
    neutral = -1 if name in _NEUTRAL else len(_ACTIVATION_ORDER)
    return (2, float(_ACTIVATION_ORDER.get(name.split("(")[0], neutral)), name)
