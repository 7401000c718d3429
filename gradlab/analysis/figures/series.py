"""Statistics over layers and steps, aggregated over seeds: what lines and maps are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from gradlab.analysis.estimates import GeometricMeans
from gradlab.analysis.factors import Grouping
from gradlab.analysis.figures.excerpt import MOST_LAYERS, Excerpt, left_out, spread
from gradlab.analysis.layerwise import LayerEstimates, layer_estimates, layer_series
from gradlab.analysis.summary import Summary
from gradlab.store.finding import Skipped
from gradlab.store.records import When
from gradlab.store.tables import LAYER, TIME

KEYS = ("group", "step", "layer")

AT_ONCE = 1_000_000
"""Rows of the layers table that are read at once, about, so that a thousand layers fit any memory, too."""


@dataclass(frozen=True, eq=False)
class Series:
    """Some groups over layers and steps.

    Attributes:
        rows: `group`, `step`, `layer`, `kind`, `units`, and for each statistic `NAME`, `NAME_low`, `NAME_high`: its
            mean over seeds with its interval, log10 of norms, where -inf is exactly 0; sorted by the first three.
        along_time: group -> whether its gradient is followed along time.
        shown: the groups and steps that it holds.
        totals: kind of rows -> how many layers or time steps the deepest group has.
        skipped: what could not be read.
    """

    rows: pd.DataFrame
    along_time: Mapping[int, bool]
    shown: Excerpt
    totals: Mapping[str, int]
    skipped: tuple[Skipped, ...]

    @cached_property
    def profile(self) -> pd.DataFrame:
        """The rows along which each group's gradient is followed back: its time steps, where it has such."""
        time = self.rows["group"].map(self.along_time).astype(bool)
        return self.rows[(self.rows["kind"] == TIME) == time]

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The rows about layers."""
        return self.rows[self.rows["kind"] == LAYER]

    def notes_on(self, rows: pd.DataFrame) -> tuple[str, ...]:
        """What is left out of some of the rows."""
        words = {LAYER: "layers", TIME: "time steps"}
        deepest = {kind: _deepest(rows, kind) for kind in words}
        fewer = [left_out(most, self.totals[kind], words[kind]) for kind, most in deepest.items() if most]
        return (*self.shown.notes, *filter(None, fewer))

    def without_output(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows without a group's output layer, its last one; all time steps."""
        last = self.layers.groupby("group")["layer"].max()
        return rows[(rows["kind"] == TIME) | (rows["layer"] < rows["group"].map(last))]


def read_series(summary: Summary, shown: Excerpt, statistics: Sequence[str]) -> Series:
    """The chosen groups at the chosen steps."""
    trials, grouping = _chosen(summary, shown)
    first = summary.measured.layers.rows
    rows = np.isin(summary.grouping.codes[first.trial], shown.groups).sum()
    size = max(1, AT_ONCE // max(1, int(rows)))
    found: list[LayerEstimates] = []
    for start in range(0, len(shown.steps), size):
        steps = shown.steps[start : start + size]
        found += layer_series(trials, grouping, steps, statistics, "profile and layers")
    return _series(summary, shown, [_frame(one, step) for step, one in zip(shown.steps, found, strict=True)], found)


def read_records_of(summary: Summary, shown: Excerpt, whens: Sequence[When], statistics: Sequence[str]) -> Series:
    """The chosen groups at step 0, or each trial's last record, which stands at the last one of its group."""
    trials, grouping = _chosen(summary, shown)
    found = [layer_estimates(trials, grouping, when, statistics, "profile and layers") for when in whens]
    frames = []
    for one in found:
        last = np.full(grouping.size, 0, np.int64)
        np.maximum.at(last, grouping.codes, one.steps)
        frames.append(_frame(one, last[one.group]))
    return _series(summary, shown, frames, found)


def _chosen(summary: Summary, shown: Excerpt) -> tuple[Any, Grouping]:
    """The trials of the chosen groups, which keep their numbers."""
    chosen = np.isin(summary.grouping.codes, shown.groups)
    grouping = Grouping(summary.grouping.codes[chosen], summary.grouping.settings, summary.grouping.varying)
    return summary.trials.where(chosen), grouping


def _frame(found: LayerEstimates, step: Any) -> pd.DataFrame:
    columns: dict[str, Any] = {"group": found.group, "step": step, "layer": found.layer, "kind": found.kind}
    columns["units"] = np.array(found.units, np.float64)
    for name, means in found.estimates.items():
        logs = isinstance(means, GeometricMeans)
        for end in ("", "_low", "_high"):
            columns[name + end] = getattr(means, f"log10{end}" if logs else end.removeprefix("_") or "value")
    return pd.DataFrame(columns)


def _series(
    summary: Summary, shown: Excerpt, frames: Sequence[pd.DataFrame], found: Sequence[LayerEstimates]
) -> Series:
    rows = pd.concat(frames, ignore_index=True)
    # Recurrent series of several names, and norms that follow one layer, share its number: the first of them is shown.
    rows = rows[rows["kind"].isin([LAYER, TIME])].drop_duplicates([*KEYS, "kind"])
    fewer = rows[_few_layers(rows)].sort_values(list(KEYS), kind="stable", ignore_index=True)
    totals = {kind: _deepest(rows, kind) for kind in (LAYER, TIME)}
    skipped = tuple(dict.fromkeys(miss for one in found for miss in one.skipped))
    return Series(fewer, {group: summary.along_time[group] for group in shown.groups}, shown, totals, skipped)


def _deepest(rows: pd.DataFrame, kind: str) -> int:
    """How many layers, or time steps, the deepest group has."""
    layers = rows[rows["kind"] == kind].groupby("group")["layer"].nunique()
    return int(layers.max()) if len(layers) else 0


def _few_layers(rows: pd.DataFrame) -> pd.Series:
    """`[row]`, whether its layer is one of those that there is room for: with the output the last hidden one, too."""
    kept = pd.Series(True, rows.index)
    for (_, kind), own in rows.groupby(["group", "kind"]):
        layers = sorted(own["layer"].unique().tolist())
        if len(layers) > MOST_LAYERS:
            above = layers[-1:] if kind == LAYER else []
            chosen = [*spread(layers[: len(layers) - len(above)], MOST_LAYERS - len(above)), *above]
            kept[own.index] = own["layer"].isin(chosen)
    return kept
