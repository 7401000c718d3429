"""Statistics over layers and steps, a map for each group: where in a network, and when, something happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradlab.analysis.figures.excerpt import with_notes
from gradlab.analysis.figures.figure import Figure, LayerSteps
from gradlab.analysis.figures.series import KEYS, Series
from gradlab.analysis.wording import percent, power

STATISTICS = ("delta_rms", "weight_grad_norm", "update_ratio", "dead_units", "saturated_fraction")
"""What a series must hold for lines and maps."""


@dataclass(frozen=True)
class _Map:
    """One of the maps.

    Attributes:
        name, title, quantity: the figure's.
        subject: how its sentence begins.
        values: the number of each row of a series; None of a share that is 0 throughout is no map.
        logarithmic: whether these are log10.
    """

    name: str
    title: str
    quantity: str
    subject: str
    values: Callable[[pd.DataFrame], pd.Series]
    logarithmic: bool


_MAPS = (
    _Map(
        "gradient-map",
        "Gradient of the weights, layer by layer while training",
        "|grad W|",
        "The gradient norm |grad W|",
        lambda rows: rows["weight_grad_norm"],
        True,
    ),
    _Map(
        "dead-units-map",
        "Dead units, layer by layer while training",
        "share of dead units",
        "The share of a layer's units that are dead",
        lambda rows: rows["dead_units"] / rows["units"].where(rows["units"] > 0),
        False,
    ),
    _Map(
        "saturation-map",
        "Saturation, layer by layer while training",
        "saturated fraction",
        "The share of a layer's derivatives that are below 1 % of the largest possible one",
        lambda rows: rows["saturated_fraction"],
        False,
    ),
    _Map(
        "update-map",
        "Relative size of updates, layer by layer while training",
        "update ratio |step of W| / |W|",
        "What one update changes of a layer's weights, relative to their norm,",
        lambda rows: rows["update_ratio"],
        True,
    ),
)


def heat_maps(labels: Sequence[str], series: Series) -> list[Figure]:
    """The maps of these groups that have numbers; a share that is 0 everywhere makes none."""
    return [figure for kind in _MAPS if (figure := _figure(kind, labels, series)) is not None]


def _figure(kind: _Map, labels: Sequence[str], series: Series) -> Figure | None:
    rows = series.layers
    numbers = rows[list(KEYS)].assign(value=kind.values(rows).replace(np.inf, np.nan))
    # Layers that never have a number, such as the output layer among units, are no part of the map.
    numbers = numbers[numbers.groupby(["group", "layer"])["value"].transform("count") > 0]
    zeros = int(np.isneginf(numbers["value"]).sum())
    numbers = numbers.replace(-np.inf, np.nan).reset_index(drop=True)
    known = numbers.dropna(subset="value")
    if known.empty or not (kind.logarithmic or known["value"].gt(0).any()):
        return None
    scale = "on a logarithmic scale" if kind.logarithmic else "from 0 to 1"
    groups = numbers["group"].nunique()
    maps = f"{groups} heat maps, one for each group" if groups > 1 else "Heat map"
    return Figure(
        kind.name,
        kind.title,
        with_notes(_sentence(kind, known, labels) + _of_zeros(zeros, len(numbers)), series.notes_on(rows)),
        f"{maps}: layers from bottom to top, steps from left to right, {kind.quantity} as colour, {scale}.",
        numbers,
        LayerSteps(kind.quantity, kind.logarithmic),
    )


def _sentence(kind: _Map, known: pd.DataFrame, labels: Sequence[str]) -> str:
    """Where the numbers are smallest and largest; of shares, which are 0 in many places, the latter only."""
    show = power if kind.logarithmic else percent
    ends = known.sort_values("value", kind="stable").iloc[[0, -1]]
    (low, least), (high, greatest) = (
        (f"layer {layer} of {labels[group]} at step {step}", show(value))
        for group, step, layer, value in ends[[*KEYS, "value"]].itertuples(index=False)
    )
    if not kind.logarithmic:
        return f"{kind.subject} reaches {greatest} ({high})"
    if least == greatest:
        return f"{kind.subject} is {least} everywhere"
    return f"{kind.subject} lies between {least} ({low}) and {greatest} ({high})"


def _of_zeros(zeros: int, total: int) -> str:
    """That what is a norm everywhere else is nothing at all in some places."""
    return f"; it is exactly 0 in {percent(zeros / total)} of the map" if zeros else ""
