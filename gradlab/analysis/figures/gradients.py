"""The gradient layer by layer, a line for each group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradlab.analysis.agreement import CLOSE, agreement_of, decays
from gradlab.analysis.figures.excerpt import with_notes
from gradlab.analysis.figures.figure import Figure, Lines
from gradlab.analysis.figures.series import KEYS, Series
from gradlab.analysis.summary import Summary
from gradlab.analysis.wording import count_of, percent, power
from gradlab.store.tables import TIME


@dataclass(frozen=True)
class _Gradient:
    """One of the figures.

    Attributes:
        statistic: column of the layers table.
        name: the figure's.
        title: how its title begins.
        what: how sentences and axes call it.
        rows: those of a series that it shows.
    """

    statistic: str
    name: str
    title: str
    what: str
    rows: Callable[[Series], pd.DataFrame]


_DELTA = _Gradient("delta_rms", "gradient-by-layer", "Gradient", "gradient delta", lambda series: series.profile)
_WEIGHTS = _Gradient(
    "weight_grad_norm",
    "weight-gradient-by-layer",
    "Gradient of the weights",
    "gradient norm |grad W|",
    lambda series: series.layers,  # all time steps share their weights
)


def gradient_figures(summary: Summary, labels: Sequence[str], series: Series) -> list[Figure]:
    """The gradient with respect to pre-activations, which theory predicts, and that of weights."""
    return [figure for kind in (_DELTA, _WEIGHTS) if (figure := _figure(kind, summary, labels, series)) is not None]


def _figure(kind: _Gradient, summary: Summary, labels: Sequence[str], series: Series) -> Figure | None:
    rows = kind.rows(series)
    if not np.isfinite(rows[kind.statistic]).any():
        return None
    numbers = rows[list(KEYS)].copy()
    for column, end in (("value", ""), ("low", "_low"), ("high", "_high")):
        numbers[column] = rows[kind.statistic + end]
    hidden = series.without_output(rows)
    start = hidden[hidden["step"] == rows["step"].min()]
    numbers["predicted"] = _predicted(summary, start).reindex(rows.index) if kind is _DELTA else np.nan
    sentence = _sentence(_ends(start, kind.statistic), labels, kind.what, _along(rows), int(rows["step"].min()))
    finite = numbers.replace([np.inf, -np.inf], np.nan).reset_index(drop=True)
    steps, predicted = finite["step"], finite["predicted"].notna().any()
    bands = " with bands of 95 % over seeds" if finite["low"].notna().any() else ""
    return Figure(
        kind.name,
        f"{kind.title} by {_along(rows)}",
        with_notes(sentence + (_of_theory(summary) if predicted else ""), series.notes_on(rows)),
        f"Line chart on a logarithmic scale: {kind.what} in each {_along(rows)}, "
        f"{count_of(finite['group'].nunique(), 'line')}{bands}, from step {steps.min()} to step {steps.max()}"
        f"{'; dashed lines are what mean-field theory predicts' if predicted else ''}.",
        finite,
        Lines(f"log10 of the {kind.what}", _along(rows)),
    )


def _along(rows: pd.DataFrame) -> str:
    """What the rows are about."""
    kinds = set(rows["kind"])
    return "layer or time step" if len(kinds) > 1 else "time step" if TIME in kinds else "layer"


def _predicted(summary: Summary, start: pd.DataFrame) -> pd.Series:
    """`[row]` of hidden layers at step 0, log10: the last one's, times theory's factor at each on the way back."""
    start = start[start["step"] == 0]
    top = start.groupby("group").tail(1).set_index("group")
    anchor, last = (start["group"].map(top[name]) for name in ("delta_rms", "layer"))
    found: pd.Series = anchor + (last - start["layer"]) * decays(summary)[1].log10[start["group"]]
    return found


def _ends(start: pd.DataFrame, statistic: str) -> pd.Series:
    """`[group]`, log10 of the first layer's gradient over that of the last hidden one, where these are two."""
    values = start.groupby("group")[statistic]
    found: pd.Series = values.first(skipna=False) - values.last(skipna=False)
    return found[values.size() > 1].dropna()


def _sentence(ends: pd.Series, labels: Sequence[str], what: str, along: str, step: int) -> str:
    """How far the gradient shrinks or grows, and where."""
    if ends.empty:
        return f"The {what} in each {along}, of networks with one hidden layer or none that is known"
    low, high = (int(ends.index[int(place)]) for place in (ends.argmin(), ends.argmax()))
    least, greatest = (f"{power(ends[group])} times" for group in (low, high))
    told = least if least == greatest else f"between {least} ({labels[low]}) and {greatest} ({labels[high]})"
    that = "that in the last" if "time" in along else "that in the last hidden layer"
    return f"At step {step} the {what} in the first {along} is {told} {that}"


def _of_theory(summary: Summary) -> str:
    found = agreement_of(summary)
    if not found.groups:
        return ""
    groups = f"{found.close} of {count_of(found.groups, 'group')}"
    return f"; per layer it is within {percent(CLOSE)} of mean-field theory's prediction (dashed) in {groups}"
