"""The gradient layer by layer, a line for each group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gradlab.analysis.agreement import CLOSE, agreement_of, decays
from gradlab.analysis.figures.excerpt import with_notes
from gradlab.analysis.figures.figure import Figure, Lines
from gradlab.analysis.figures.series import KEYS, Series
from gradlab.analysis.summary import Summary
from gradlab.analysis.wording import count_of, percent, power


def gradient_figures(summary: Summary, labels: Sequence[str], series: Series) -> list[Figure]:
    """The gradient with respect to pre-activations, which theory predicts, and that of weights."""
    return [
        *_figure(summary, labels, series, "delta_rms", "gradient-by-layer", "Gradient by layer", "gradient delta"),
        *_figure(
            summary,
            labels,
            series,
            "weight_grad_norm",
            "weight-gradient-by-layer",
            "Gradient of the weights by layer",
            "gradient norm |grad W|",
        ),
    ]


def _figure(
    summary: Summary, labels: Sequence[str], series: Series, statistic: str, name: str, title: str, what: str
) -> list[Figure]:
    rows = series.profile
    numbers = rows[list(KEYS)].copy()
    for column, end in (("value", ""), ("low", "_low"), ("high", "_high")):
        numbers[column] = rows[statistic + end]
    predicts = statistic == "delta_rms"
    numbers["predicted"] = _predicted(summary, series, numbers) if predicts else np.nan
    ends = _ends(series, numbers)
    finite = numbers.replace([np.inf, -np.inf], np.nan).reset_index(drop=True)
    if not finite["value"].notna().any():
        return []
    times = {series.along_time[group] for group in series.along_time}
    along = "layer or time step" if len(times) > 1 else "time step" if True in times else "layer"
    sentence = _sentence(ends, labels, what, along, int(numbers["step"].min()))
    if predicts:
        sentence += _of_theory(summary)
    steps = finite["step"].unique()
    return [
        Figure(
            name,
            title,
            with_notes(sentence, series.notes),
            f"Line chart on a logarithmic scale: {what} in each {along}, {count_of(finite['group'].nunique(), 'line')} "
            f"with bands of 95 % over seeds, from step {steps.min()} to step {steps.max()}"
            + ("; dashed lines are what mean-field theory predicts." if finite["predicted"].notna().any() else "."),
            finite,
            Lines(f"log10 of the {what}", along),
        )
    ]


def _predicted(summary: Summary, series: Series, numbers: pd.DataFrame) -> pd.Series:
    """`[row]`, log10: at step 0, from the last hidden layer on, with theory's factor at every layer on the way back."""
    at_start = series.without_output(series.profile)
    at_start = at_start[at_start["step"] == 0]
    top = at_start.groupby("group").last()
    predicted = decays(summary)[1].log10
    rows = numbers.loc[at_start.index]
    anchor, last = (rows["group"].map(top[name]) for name in ("delta_rms", "layer"))
    return (anchor + (last - rows["layer"]) * predicted[rows["group"]]).reindex(numbers.index)


def _ends(series: Series, numbers: pd.DataFrame) -> pd.Series:
    """`[group]`, log10 of the first layer's gradient over that of the last hidden one, at the first step."""
    rows = series.without_output(series.profile)
    rows = rows[rows["step"] == numbers["step"].min()]
    values = numbers.loc[rows.index, "value"].groupby(rows["group"])
    found: pd.Series = values.first(skipna=False) - values.last(skipna=False)
    return found.dropna()


def _sentence(ends: pd.Series, labels: Sequence[str], what: str, along: str, step: int) -> str:
    """How far the gradient shrinks or grows, and where."""
    begin = f"At step {step} the {what} in the first {along} is"
    if ends.empty:
        return f"The {what} in each {along}"
    low, high = (int(ends.index[int(place)]) for place in (ends.argmin(), ends.argmax()))
    least, greatest = (f"{power(ends[group])} times" for group in (low, high))
    that = "that in the last" if "time" in along else "that in the last hidden layer"
    if len(ends) == 1:
        return f"{begin} {least} {that}"
    return f"{begin} between {least} ({labels[low]}) and {greatest} ({labels[high]}) {that}"


def _of_theory(summary: Summary) -> str:
    found = agreement_of(summary)
    if not found.groups:
        return ""
    groups = f"{found.close} of {count_of(found.groups, 'group')}"
    return f"; per layer it is within {percent(CLOSE)} of mean-field theory's prediction (dashed) in {groups}"
