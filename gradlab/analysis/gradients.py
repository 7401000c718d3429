"""The layers table as arrays, and per trial what it says about the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlab.analysis.estimates import Codes, Reals

Flags = npt.NDArray[np.bool_]

LAYER_COLUMNS = (
    "trial_id",
    "step",
    "layer",
    "units",
    "weight_grad_norm",
    "log10_weight_grad_norm",
    "delta_rms",
    "log10_delta_rms",
    "dead_units",
    "non_finite",
)
"""What a summary reads of the layers table."""


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
    def of(cls, layers: pd.DataFrame, column: str) -> Logs:
        """A column of the layers table that has a `log10_` twin.

        The logarithm of 0 is null, like that of a number that isn't one or was never measured: the plain column and
        the count of non-finite entries tell these apart. The plain column alone would be 0 below 1e-308.
        """
        logs, plain = reals(layers[f"log10_{column}"]), reals(layers[column])
        broken = reals(layers["non_finite"]) > 0
        known = np.isfinite(logs)
        return cls(logs, ~known & (plain == 0), ~known & (np.isinf(plain) | (np.isnan(plain) & broken)))

    def take(self, rows: Any) -> Logs:
        """The chosen rows."""
        return Logs(self.logs[rows], self.zero[rows], self.not_finite[rows])

    def per_trial(self, records: LayerRecords, rows: Flags) -> Logs:
        """`[trial]` from rows of which a trial has at most one; NaN for a trial that has none."""
        where = records.trial[rows]
        found = Logs(
            np.full(records.trials, np.nan), np.zeros(records.trials, np.bool_), np.zeros(records.trials, np.bool_)
        )
        found.logs[where] = self.logs[rows]
        found.zero[where] = self.zero[rows]
        found.not_finite[where] = self.not_finite[rows]
        return found


@dataclass(frozen=True)
class LayerRecords:
    """Rows of the layers table, each with the number of its trial.

    Attributes:
        trials: how many trials there are.
        trial: `[row]`, the trial's row in the trials table.
        layer: `[row]`, from 1, nearest the input.
        at_first: `[row]`, whether this is step 0.
        at_last: `[row]`, whether this is the trial's last record.
        hidden: `[trial]`, hidden layers; the output layer is the one above.
        delta: delta_rms.
        weight_grad: weight_grad_norm.
        units: `[row]`.
        dead: `[row]`, dead units; NaN where that has no meaning.
    """

    trials: int
    trial: Codes
    layer: Codes
    at_first: Flags
    at_last: Flags
    hidden: Codes
    delta: Logs
    weight_grad: Logs
    units: Reals
    dead: Reals

    @classmethod
    def of(cls, trials: pd.DataFrame, layers: pd.DataFrame) -> LayerRecords:
        """Match layers to trials by run and trial id; rows of other trials are left out."""
        number = locate(trials, layers)
        layers, number = layers[number >= 0], number[number >= 0]
        step, layer = np.asarray(layers["step"], np.int64), np.asarray(layers["layer"], np.int64)
        last = np.full(len(trials), -1, np.int64)
        np.maximum.at(last, number, step)
        top = np.zeros(len(trials), np.int64)
        np.maximum.at(top, number, layer)
        return cls(
            trials=len(trials),
            trial=number,
            layer=layer,
            at_first=step == 0,
            at_last=step == last[number],
            hidden=np.maximum(top - 1, 0),
            delta=Logs.of(layers, "delta_rms"),
            weight_grad=Logs.of(layers, "weight_grad_norm"),
            units=reals(layers["units"]),
            dead=reals(layers["dead_units"]),
        )

    @property
    def is_last_hidden(self) -> Flags:
        """`[row]`, whether this is the last layer below the output."""
        return np.asarray(self.layer == self.hidden[self.trial])

    def decay(self) -> Logs:
        """`[trial]`, gradient_decay at step 0.

        0 where no gradient reaches layer 1; unknown with one hidden layer, or where none reaches the last one either.
        """
        first = self.delta.per_trial(self, self.at_first & (self.layer == 1))
        last = self.delta.per_trial(self, self.at_first & self.is_last_hidden)
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.where(self.hidden > 1, (first.logs - last.logs) / (self.hidden - 1), np.nan)
        deep = self.hidden > 1
        return Logs(
            logs, deep & first.zero & np.isfinite(last.logs), np.asarray(deep & (first.not_finite | last.not_finite))
        )

    def dead_fraction_first(self) -> Reals:
        """`[trial]`, share of hidden units that are dead at step 0; NaN where unknown."""
        rows = self.at_first & np.isfinite(self.dead) & (self.layer <= self.hidden[self.trial])
        dead = np.bincount(self.trial[rows], self.dead[rows], self.trials)
        units = np.bincount(self.trial[rows], self.units[rows], self.trials)
        return np.where(units > 0, dead / np.maximum(units, 1), np.nan)


def locate(trials: pd.DataFrame, rows: pd.DataFrame) -> Codes:
    """`[row]`, where in `trials` the trial of each row stands; -1 for none."""
    keys = ["run", "trial_id"]
    index = pd.MultiIndex.from_frame(trials[keys])
    return np.asarray(index.get_indexer(pd.MultiIndex.from_frame(rows[keys])), np.int64)


def reals(column: Any) -> Reals:
    """A column as float64, NaN for null."""
    return np.asarray(pd.to_numeric(column), np.float64)
