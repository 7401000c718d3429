"""One record of every trial: what the layers table says about its gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlab.analysis.estimates import Codes, GeometricMeans, Reals, geometric_means
from gradlab.analysis.factors import Grouping
from gradlab.store.finding import Skipped
from gradlab.store.reading import Trials
from gradlab.store.records import Records, When, read_records

Flags = npt.NDArray[np.bool_]

MOST_LOG10 = 1e12
"""The size of a logarithm from which on it is none of a gradient: a billion layers of 300 decades each come to less."""

DELTA, WEIGHT_GRAD = "delta_rms", "weight_grad_norm"


@dataclass(frozen=True)
class Logs:
    """Positive numbers by their logarithms.

    Attributes:
        logs: `[row]`, log10; NaN where there is none.
        zero: `[row]`, whether the number is exactly 0.
        not_finite: `[row]`, whether it is infinite or not a number.
    """

    logs: Reals
    zero: Flags
    not_finite: Flags

    @classmethod
    def of(cls, values: Reals, nan: Flags) -> Logs:
        """Of the numbers themselves.

        Args:
            values: `[row]`, NaN for what is no number and for what was not measured.
            nan: `[row]`, which of these are no number.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(np.log10(values), values == 0, np.isinf(values) | nan)

    @classmethod
    def of_records(cls, rows: Records, name: str) -> Logs:
        """Of a column of the layers table that has a `log10_` twin, from both and `non_finite`.

        The logarithm of 0 is null, like that of a number that isn't one or was never measured: the plain column and
        the count of non-finite entries tell these apart. The plain column alone would be 0 below 1e-308.
        """
        twin, columns = f"log10_{name}", rows.columns
        logs, plain = columns[twin], columns[name]
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(np.isnan(logs) & np.isfinite(plain) & (plain > 0), np.log10(plain), logs)
        known = np.abs(logs) < MOST_LOG10
        zero = ~known & ((plain == 0) | ((logs == -np.inf) & np.isnan(plain)))
        no_number = rows.is_nan(name) | rows.is_nan(twin) | np.isinf(plain) | (~known & ~np.isnan(logs))
        no_number |= np.isnan(plain) & (columns["non_finite"] > 0)
        return cls(np.where(known, logs, np.nan), zero, ~known & ~zero & no_number)

    def means(self, codes: Codes, groups: int) -> GeometricMeans:
        """The geometric mean of each group; `codes` says which each row belongs to."""
        return geometric_means(codes, groups, self.logs, self.zero, self.not_finite)

    def take(self, rows: Any) -> Logs:
        """The chosen rows."""
        return Logs(self.logs[rows], self.zero[rows], self.not_finite[rows])


@dataclass(frozen=True)
class LayerRecords:
    """Rows of the layers table, one record of each trial: its layers, and its time steps where it has such.

    Attributes:
        rows: the rows.
        along: `[row]`, whether the gradient is followed back along it: a trial's time steps, where it has such, else
            its layers.
        steps: `[trial]`, how many of those there are, the output layer not counted.
        hidden: `[trial]`, hidden layers; the output layer is the one above.
        delta: `[row]`, delta_rms.
        weight_grad: `[row]`, weight_grad_norm.
    """

    rows: Records
    along: Flags
    steps: Codes
    hidden: Codes
    delta: Logs
    weight_grad: Logs

    @classmethod
    def read(cls, trials: Trials, when: When, columns: tuple[str, ...] = ()) -> LayerRecords:
        """The gradient in each layer of each trial, and further columns.

        The logarithms say everything unless some are null; only the trials that have such are read again.
        """
        twins = tuple(f"log10_{name}" for name in (DELTA, WEIGHT_GRAD))
        plain = (DELTA, WEIGHT_GRAD, "non_finite")
        asked = tuple(dict.fromkeys(("layer", *twins, *columns)))
        rows = read_records(trials, "layers", asked, when, "profile and layers")
        full, nan, time = dict(rows.columns), dict(rows.nan), rows.is_time
        missing = np.zeros(len(trials.frame), np.bool_)
        missing[rows.trial[np.isnan(full[twins[0]]) | np.isnan(full[twins[1]])]] = True
        again = read_records(trials.where(missing), "layers", plain, when, "profile and layers")
        where = missing[rows.trial]
        there = len(again.trial) == np.count_nonzero(where)  # not so if the run was deleted in between
        for name in plain:
            if name not in columns:
                full[name], nan[name] = np.full(len(where), np.nan), np.zeros(len(where), np.bool_)
                if there:
                    full[name][where], nan[name][where] = again.columns[name], again.is_nan(name)
        layer, size = full["layer"].astype(np.int64), len(trials.frame)
        hidden = _greatest(layer[~time], rows.trial[~time], size) - 1
        times = _greatest(layer[time], rows.trial[time], size)
        rows = replace(rows, columns=full, nan=nan)
        return cls(
            rows,
            time | (times == 0)[rows.trial],
            np.maximum(np.where(times > 0, times, hidden), 0),
            np.maximum(hidden, 0),
            Logs.of_records(rows, DELTA),
            Logs.of_records(rows, WEIGHT_GRAD),
        )

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be read."""
        return self.rows.skipped

    @property
    def layer(self) -> Codes:
        """`[row]`, from 1, nearest the input."""
        return self.rows.columns["layer"].astype(np.int64)

    @property
    def is_first(self) -> Flags:
        """`[row]`, whether this is layer 1."""
        return np.asarray((self.layer == 1) & ~self.rows.is_time)

    @property
    def is_last_hidden(self) -> Flags:
        """`[row]`, whether this is the last layer below the output."""
        return np.asarray((self.layer == self.hidden[self.rows.trial]) & ~self.rows.is_time)

    @property
    def begins(self) -> Flags:
        """`[row]`, whether this is the end of the gradient's way back: layer 1, or the first time step."""
        return np.asarray(self.along & (self.layer == 1))

    @property
    def ends(self) -> Flags:
        """`[row]`, whether this is where it begins: the last hidden layer, or the last time step."""
        return np.asarray(self.along & (self.layer == self.steps[self.rows.trial]))

    def along_time(self, grouping: Grouping) -> Flags:
        """`[group]`, whether its gradient is followed along time; not that of a group of both kinds of networks."""
        found = np.zeros(grouping.size, np.bool_)
        found[grouping.codes[self.rows.trial[self.rows.is_time]]] = True
        found[grouping.codes[self.rows.trial[self.along & ~self.rows.is_time]]] = False
        return found

    def column_at(self, name: str, rows: Flags) -> Reals:
        """`[trial]`, a column at rows of which a trial has at most one; NaN for a trial that has none."""
        return np.asarray(self._spread(self.rows.columns[name], rows, np.nan), np.float64)

    def norm_at(self, name: str, rows: Flags) -> Logs:
        """`[trial]`, the same of a norm without a `log10_` twin."""
        return self.logs_at(Logs.of(self.rows.columns[name], self.rows.is_nan(name)), rows)

    def logs_at(self, logs: Logs, rows: Flags) -> Logs:
        """`[trial]`, the same of numbers by their logarithms."""
        return Logs(
            self._spread(logs.logs, rows, np.nan),
            self._spread(logs.zero, rows, False),
            self._spread(logs.not_finite, rows, False),
        )

    def ratio(self) -> Logs:
        """`[trial]`, gradient_ratio, along time where there are time steps.

        0 where no gradient reaches layer 1; unknown where none reaches the last hidden layer either.
        """
        first, last = self.logs_at(self.delta, self.begins), self.logs_at(self.delta, self.ends)
        with np.errstate(invalid="ignore"):
            return Logs(first.logs - last.logs, first.zero & np.isfinite(last.logs), first.not_finite | last.not_finite)

    def decay(self) -> Logs:
        """`[trial]`, gradient_decay; unknown with one hidden layer or one time step."""
        ratio, deep = self.ratio(), self.steps > 1
        logs = np.where(deep, ratio.logs / np.maximum(self.steps - 1, 1), np.nan)
        return Logs(logs, ratio.zero & deep, ratio.not_finite & deep)

    def share_of_units(self, name: str) -> Reals:
        """`[trial]`, a count of hidden units over all of them, or the mean of their shares; NaN where unknown."""
        columns, trial = self.rows.columns, self.rows.trial
        rows = np.isfinite(columns[name]) & (self.layer <= self.hidden[trial]) & ~self.rows.is_time
        units = columns["units"][rows]
        weight = units if name.endswith("_fraction") else np.ones(len(units))
        total = np.bincount(trial[rows], units, len(self.hidden))
        share = np.bincount(trial[rows], columns[name][rows] * weight, len(self.hidden))
        return np.where(total > 0, share / np.maximum(total, 1), np.nan)

    def _spread(self, values: npt.NDArray[Any], rows: Flags, nothing: float | bool) -> Any:
        found = np.full(len(self.hidden), nothing, values.dtype)
        found[self.rows.trial[rows]] = values[rows]
        return found


def _greatest(numbers: Codes, trial: Codes, trials: int) -> Codes:
    """`[trial]`, the greatest number of each; 0 where there is none."""
    found = np.zeros(trials, np.int64)
    np.maximum.at(found, trial, numbers)
    return found


def reals(column: Any) -> Reals:
    """A column as float64, NaN for null."""
    return np.asarray(pd.to_numeric(column), np.float64)


def logs_of(trials: Trials, name: str) -> Logs:
    """`[trial]`, a column of the trials table."""
    return Logs.of(reals(trials.frame[name]), trials.is_nan(name))
