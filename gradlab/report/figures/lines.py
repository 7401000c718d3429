"""The gradient layer by layer on paper: before training and at the end, with bands and theory's prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradlab.analysis.figures.figure import Figure, Lines
from gradlab.analysis.figures.report import Report
from gradlab.report.figures.facets import Facets, facets, level_label
from gradlab.report.figures.style import (
    COLUMNS,
    MARKERS,
    Sheet,
    level_colours,
    power_label,
    power_ticks,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_MARKERS = 9
"""Markers of a line, about."""

_THEORY: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 0.9}


def draw_lines(figure: Figure, chart: Lines, report: Report) -> Canvas:
    """A panel for each setting of all factors but one, for step 0 and for the last record of each group."""
    numbers = figure.numbers
    parts = facets(numbers["group"].unique().tolist(), report.factors)
    ends = _ends(numbers)
    columns = min(COLUMNS, len(parts.panels))
    per_end = math.ceil(len(parts.panels) / columns) * columns
    looks = _looks(parts)
    handles = _handles(parts, looks, numbers)
    foot = math.ceil(len(handles) / COLUMNS)
    sheet = Sheet.of(per_end * len(ends), columns, (2.5, 1.8), figure.title, foot=foot)
    for panel in sheet.axes:
        panel.set_axis_off()
    for block, (end, rows) in enumerate(ends.items()):
        scale = _scale(rows)
        for place, (title, members) in enumerate(parts.panels.items(), block * per_end):
            panel = sheet.axes[place]
            panel.set_axis_on()
            _panel(panel, rows, members, looks)
            _set_scale(panel, scale)
            panel.set_title(words(f"{title}, {end}" if title else end, 44))
            panel.set_xlabel(words(chart.x_label))
            panel.set_ylabel("" if place % columns else words(chart.y_label.removeprefix("log10 of the ")))
    sheet.add_foot(handles)
    return sheet.page


def _ends(numbers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows at step 0, and of each group those at its last step, by what they are called."""
    steps = numbers.groupby("group")["step"]
    first, last = numbers["step"].min(), steps.transform("max")
    found = {f"step {first}": numbers[numbers["step"] == first]}
    if numbers["step"].max() > first:
        told = f"step {last.max()}" if last.nunique() == 1 else "last record"
        found[told] = numbers[(numbers["step"] == last) & (last > first)]
    return found


def _looks(parts: Facets) -> dict[Any, dict[str, Any]]:
    """Colour and marker of each level."""
    colours = level_colours(parts.levels)
    return {
        level: {"color": colours[level], "marker": MARKERS[place % len(MARKERS)], "markersize": 3.5}
        for place, level in enumerate(parts.levels)
    }


def _panel(panel: Axes, rows: pd.DataFrame, members: Mapping[Any, int], looks: Mapping[Any, dict[str, Any]]) -> None:
    for place, (level, group) in enumerate(members.items()):
        own = rows[rows["group"] == group]
        layer = own["layer"].to_numpy()
        every = math.ceil(len(own) / _MARKERS)
        panel.fill_between(layer, own["low"], own["high"], color=looks[level]["color"], alpha=0.18, linewidth=0)
        panel.plot(layer, own["value"], markevery=(place % every if len(own) else 0, every or 1), **looks[level])
    for group in members.values():
        own = rows[rows["group"] == group]
        panel.plot(own["layer"], own["predicted"], **_THEORY)
    panel.grid(axis="y", color="0.9", linewidth=0.6)
    panel.locator_params(axis="x", integer=True, nbins=6)


def _scale(rows: pd.DataFrame) -> tuple[float, float]:
    """One scale for all panels of a step, so that they can be compared.

    A band over two seeds may span a hundred decades: it is cut where it would leave nothing of the lines.
    """
    middle, drawn = (rows[names].to_numpy(np.float64) for names in (["value"], ["value", "low", "high"]))
    if not np.isfinite(middle).any():
        return -1.0, 1.0
    least, greatest = float(np.nanmin(middle)), float(np.nanmax(middle))
    room = max(0.15 * (greatest - least), 0.15)
    low, high = max(float(np.nanmin(drawn)), least - room), min(float(np.nanmax(drawn)), greatest + room)
    return low - room / 5, high + room / 5


def _set_scale(panel: Axes, scale: tuple[float, float]) -> None:
    panel.set_ylim(*scale)
    ticks = power_ticks(*scale, 6)
    panel.set_yticks(ticks, [power_label(one) for one in ticks])


def _handles(parts: Facets, looks: Mapping[Any, dict[str, Any]], numbers: pd.DataFrame) -> list[Any]:
    """What the legend shows."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], label=words(level_label(parts.factor, level), 40), **looks[level])
        for level in parts.levels
        if parts.factor
    ]
    if numbers["low"].notna().any():
        handles.append(Patch(color="0.5", alpha=0.3, linewidth=0, label="95 % interval over seeds"))
    if numbers["predicted"].notna().any():
        handles.append(Line2D([], [], label="mean-field theory", **_THEORY))
    if parts.note:
        handles.append(Line2D([], [], linestyle="none", label=parts.note))
    return handles
