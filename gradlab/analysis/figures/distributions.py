"""Activations over layers, before training and after it (Glorot and Bengio 2010), from recorded quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from gradlab.analysis.figures.excerpt import Excerpt, with_notes
from gradlab.analysis.figures.figure import Figure, Quantiles
from gradlab.analysis.figures.series import KEYS, Series, read_records_of
from gradlab.analysis.summary import Summary
from gradlab.analysis.wording import number
from gradlab.store.tables import LAYERS

_COLUMNS = {name: name.removeprefix("activation_") for name in LAYERS if name.startswith("activation_q")}
"""Column of the layers table -> what it is called in the figure's numbers."""


def read_quantiles(summary: Summary, shown: Excerpt) -> Series:
    """The quantiles of activations at step 0 and at each trial's last record, means over seeds."""
    return read_records_of(summary, shown, ("first", "last"), tuple(_COLUMNS))


def distributions(labels: Sequence[str], series: Series) -> list[Figure]:
    """The figure of these quantiles; none where they were not recorded."""
    rows = series.layers.rename(columns=_COLUMNS)
    numbers = rows[[*KEYS, *_COLUMNS.values()]].replace([np.inf, -np.inf], np.nan).dropna(how="all", subset=["q50"])
    if numbers.empty:
        return []
    numbers = numbers.drop_duplicates(list(KEYS)).reset_index(drop=True)
    steps = numbers["step"]
    return [
        Figure(
            "activations-by-layer",
            "Activations by layer, before and after training",
            with_notes(_sentence(labels, numbers), series.notes_on(rows)),
            f"Bands over layers for each group at step {steps.min()} and at its last record: the middle 98 %, 90 %, "
            "80 % and 50 % of a layer's activations, and their median as a line.",
            numbers,
            Quantiles(),
        )
    ]


def _sentence(labels: Sequence[str], numbers: pd.DataFrame) -> str:
    """How the spread of activations changes from the first hidden layer to the last, where least and where most."""
    told = [f"{when} {told}" for when, end in _ENDS if (told := _told(labels, _growth(numbers, end)))]
    if not told:
        return "The activations of each hidden layer, as quantiles over units and probe examples"
    return (
        f"From the first hidden layer to the last the width of the middle 90 % of activations grows {'; '.join(told)}"
    )


_ENDS: tuple[tuple[str, Literal["min", "max"]], ...] = (("before training", "min"), ("at the end", "max"))


def _growth(numbers: pd.DataFrame, end: Literal["min", "max"]) -> pd.Series:
    """`[group]`, the width in the last hidden layer over that in the first, at the group's first or last record."""
    step = numbers.groupby("group")["step"].transform(end)
    rows = numbers[numbers["step"] == step]
    width = (rows["q95"] - rows["q05"]).groupby(rows["group"])
    growth = width.last() / width.first()
    found: pd.Series = growth[np.isfinite(growth) & (width.count() > 1)]
    return found


def _told(labels: Sequence[str], growth: pd.Series) -> str:
    if growth.empty:
        return ""
    ordered = growth.sort_values(kind="stable")
    ends = [
        f"{number(value)} times ({labels[group]})"
        for group, value in zip(ordered.index.to_numpy()[[0, -1]], ordered.to_numpy()[[0, -1]], strict=True)
    ]
    return f"between {ends[0]} and {ends[1]}" if len(ordered) > 1 else ends[0]
