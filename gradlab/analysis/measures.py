"""Numbers of trials: one of every trial, from whichever table it stands in, and its mean over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradlab.analysis.estimates import GeometricMeans, Means, Reals, means
from gradlab.analysis.factors import Grouping
from gradlab.analysis.gradients import Flags, LayerRecords, Logs, logs_of, reals
from gradlab.store.finding import Skipped
from gradlab.store.reading import Trials
from gradlab.store.records import Records, When, read_records

LAYER_AVERAGES = {"dead_fraction": "dead_units", "saturated_fraction": "saturated_fraction"}
"""Shares of all hidden units, and the column of the layers table that they come from."""

_AT_THE_END = {
    "dead_fraction": "dead_fraction",
    "saturated_fraction": "saturated_fraction",
    "train_loss": "final_train_loss",
    "eval_loss": "final_eval_loss",
    "metric": "final_eval_metric",
}
_AT_A_STEP = {"train_loss": "train_loss", "eval_loss": "eval_loss", "metric": "eval_metric"}
"""Field of a group -> column of the trials table, of the steps table."""

_NAMES = {"decay": "gradient_decay", "predicted_decay": "predicted_gradient_decay"}
"""Field of a group -> what the contract calls it."""


@dataclass(frozen=True)
class Measure:
    """One number of every trial.

    Attributes:
        name: as JSON and CSV have it.
        values: `[trial]`; logarithms of what is averaged geometrically.
    """

    name: str
    values: Reals | Logs

    @property
    def logs(self) -> Logs | None:
        """The values where they are averaged geometrically."""
        return self.values if isinstance(self.values, Logs) else None

    @property
    def numbers(self) -> Reals:
        """`[trial]`, what is averaged: the value, or log10 of it; NaN where it is unknown, 0 or infinite."""
        if not isinstance(self.values, Logs):
            return np.where(np.isfinite(self.values), self.values, np.nan)
        left_out = self.values.zero | self.values.not_finite
        return np.where(left_out | ~np.isfinite(self.values.logs), np.nan, self.values.logs)

    @property
    def exact(self) -> Reals:
        """`[trial]`, as `numbers`, -inf for the logarithm of 0."""
        if not isinstance(self.values, Logs):
            return self.values
        return np.where(self.values.zero, -np.inf, self.values.logs)

    def take(self, chosen: Flags) -> Measure:
        """The same for the chosen trials."""
        return Measure(
            self.name, self.values[chosen] if not isinstance(self.values, Logs) else self.values.take(chosen)
        )

    def over_seeds(self, grouping: Grouping) -> Means | GeometricMeans:
        """Its mean in each group."""
        if isinstance(self.values, Logs):
            return self.values.means(grouping.codes, grouping.size)
        return means(grouping.codes, grouping.size, self.values)


@dataclass(frozen=True)
class Measured:
    """What a summary is made of.

    Attributes:
        measures: field of a group -> its measure.
        decay: `[trial]`, gradient_decay; `predicted_decay` mean-field theory's.
        layers: the gradient in each layer, at step 0 or the record that was asked for.
        skipped: what could not be read.
    """

    measures: Mapping[str, Measure]
    decay: Logs
    predicted_decay: Logs
    layers: LayerRecords
    skipped: tuple[Skipped, ...]


def standard_measures(trials: Trials, when: When | None = None) -> Measured:
    """The measures of the usual summary.

    Args:
        when: the record of everything; None is step 0 for the gradient, and what the trials table says, the end of
            training, for all else.
    """
    frame = trials.frame
    units_die = when is None and bool(frame["diagnosis"].isin(["dead", "dying"]).any())
    more = ("units", *LAYER_AVERAGES.values()) if when is not None else ("units", "dead_units") if units_die else ()
    layers = LayerRecords.read(trials, "first" if when is None else when, more)
    skipped = layers.skipped
    numbers: dict[str, Reals] = {}
    if when is None:
        numbers = {name: reals(frame[column]) for name, column in _AT_THE_END.items()}
    else:
        steps = read_records(trials, "steps", tuple(_AT_A_STEP.values()), when)
        skipped += steps.skipped
        numbers = {name: layers.share_of_units(column) for name, column in LAYER_AVERAGES.items()}
        numbers |= {name: per_trial(steps, column, len(frame)) for name, column in _AT_A_STEP.items()}
    nothing = np.full(len(frame), np.nan)
    numbers["dead_fraction_first"] = layers.share_of_units("dead_units") if units_die else nothing
    logs = {
        "first_grad_norm": layers.logs_at(layers.weight_grad, layers.is_first),
        "last_grad_norm": layers.logs_at(layers.weight_grad, layers.is_last_hidden),
        "decay": layers.decay() if when not in (None, "first") else _with_table(layers, trials),
        "predicted_decay": logs_of(trials, "predicted_gradient_decay"),
    }
    names = _NAMES | (_AT_THE_END if when is None else _AT_A_STEP)
    found = {field: Measure(names.get(field, field), values) for field, values in (logs | numbers).items()}
    return Measured(found, logs["decay"], logs["predicted_decay"], layers, tuple(dict.fromkeys(skipped)))


def per_trial(records: Records, column: str, trials: int) -> Reals:
    """`[trial]`, a column of records of which a trial has one; NaN for a trial that has none."""
    found = np.full(trials, np.nan)
    found[records.trial] = records.columns[column]
    return found


def logs_per_trial(records: Records, column: str, trials: int) -> Logs:
    """`[trial]`, the same of a norm."""
    nan = np.zeros(trials, np.bool_)
    nan[records.trial] = records.is_nan(column)
    return Logs.of(per_trial(records, column, trials), nan)


def _with_table(layers: LayerRecords, trials: Trials) -> Logs:
    """`[trial]`, gradient_decay at step 0: what the trials table says where there are no rows of layers."""
    found, table = layers.decay(), logs_of(trials, "gradient_decay")
    bare = np.bincount(layers.rows.trial, minlength=len(trials.frame)) == 0
    pairs = ((table.logs, found.logs), (table.zero, found.zero), (table.not_finite, found.not_finite))
    return Logs(*(np.where(bare, one, other) for one, other in pairs))
