"""Heat maps on paper: statistics over layers and steps, and over two settings with theory's line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradlab.analysis.factors import rank
from gradlab.analysis.figures.excerpt import spread
from gradlab.analysis.figures.figure import Figure, LayerSteps, Plane
from gradlab.analysis.figures.report import Report
from gradlab.analysis.wording import number, power, setting
from gradlab.report.figures.style import COLUMNS, MISSING, PANELS, Sheet, power_label, power_ticks, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_WRITTEN = 60
"""Cells of a panel up to which each shows its number."""

_LINE: dict[str, Any] = {"color": "black", "linewidth": 1.8}

_LONGEST, _SLANTED = 18, 0.6
"""Characters of a setting beside an axis, and the room that they take where they stand aslant, in inches."""

_TICKS = 12
"""Labels of an axis of settings."""


def draw_layer_steps(figure: Figure, chart: LayerSteps, report: Report) -> Canvas:
    """A map for each group, all on one scale; of many groups some, evenly spread."""
    numbers = figure.numbers
    groups = numbers["group"].unique().tolist()
    shown = spread(groups, PANELS)
    notes = [f"{len(shown)} of {len(groups)} groups are drawn"] if len(shown) < len(groups) else []
    if numbers["value"].isna().any():
        notes.append("grey: exactly 0, or unknown" if chart.logarithmic else "grey: unknown")
    sheet = Sheet.of(len(shown), COLUMNS, (2.2, 1.6), figure.title, bar=True, foot=bool(notes))
    scale = _scale(numbers["value"], chart.logarithmic, False)
    for place, (group, panel) in enumerate(zip(shown, sheet.axes, strict=True)):
        table = numbers[numbers["group"] == group].pivot(index="layer", columns="step", values="value")
        _mesh(panel, table, _edges(table.columns.to_numpy()), _edges(table.index.to_numpy()), scale)
        panel.set_title(words(report.labels[group], 40))
        panel.set_xlabel("step" if place >= len(shown) - COLUMNS else "")
        panel.set_ylabel("" if place % COLUMNS else "layer")
        panel.locator_params(integer=True, nbins=5)
    _bar(sheet, scale, chart.quantity, chart.logarithmic)
    sheet.add_note("; ".join(notes))
    return sheet.page


def draw_plane(figure: Figure, chart: Plane, report: Report) -> Canvas:
    """A map for each panel, all on one scale, their cells of one size, with theory's line."""
    numbers = figure.numbers if "panel" in figure.numbers else figure.numbers.assign(panel="")
    titles = list(dict.fromkeys(numbers["panel"]))
    shown = spread(titles, PANELS)
    x, y = (sorted(set(numbers[name]), key=rank) for name in ("x", "y"))
    size = (2.6, 2.0) if len(shown) > 1 else (max(3.2, min(6.0, 0.5 * len(x))), max(2.4, min(4.5, 0.42 * len(y))))
    foot = (chart.curve is not None) + (len(shown) < len(titles))
    below = _SLANTED if _are_long(x) else 0.0
    sheet = Sheet.of(len(shown), 3, size, figure.title, bar=True, foot=foot, below=below)
    scale = _scale(numbers["value"], chart.logarithmic, chart.logarithmic)
    for place, (panel, title) in enumerate(zip(sheet.axes, shown, strict=True)):
        own = numbers[numbers["panel"] == title]
        table = own.pivot(index="y", columns="x", values="value").reindex(index=y, columns=x)
        _mesh(panel, table, np.arange(len(x) + 1) - 0.5, np.arange(len(y) + 1) - 0.5, scale)
        if len(x) * len(y) * len(shown) <= _WRITTEN:
            _write(panel, table, scale, power if chart.logarithmic else number)
        _name_ticks(panel, x, y)
        panel.set_title(words(title, 44))
        panel.set_xlabel(words(chart.x_label))
        panel.set_ylabel("" if place % 3 else words(chart.y_label))
        if chart.curve is not None:
            curve = chart.curve if "panel" not in chart.curve else chart.curve[chart.curve["panel"] == title]
            _curve(panel, curve, x, y)
    _bar(sheet, scale, chart.quantity, chart.logarithmic)
    sheet.add_foot(_handles(chart, len(shown), len(titles)), 1)
    return sheet.page


def _handles(chart: Plane, shown: int, total: int) -> list[Any]:
    """What the legend shows."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=words(chart.curve_label), **_LINE)] if chart.curve is not None else []
    if shown < total:
        handles.append(Line2D([], [], linestyle="none", label=f"{shown} of {total} panels are drawn"))
    return handles


def _scale(values: pd.Series, logarithmic: bool, diverging: bool) -> Any:
    """Colours for numbers: two from 0 on (a factor of 1) where they diverge, else light for much, dark for little."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high = float(values.min()), float(values.max())
    if diverging:
        reach = max(abs(low), abs(high), 0.01)
        return ScalarMappable(Normalize(-reach, reach), "RdBu_r")
    if not logarithmic:
        low, high = min(0.0, low), max(high, 0.01)
    return ScalarMappable(Normalize(low, high if high > low else low + 1), "viridis")


def _mesh(panel: Axes, table: pd.DataFrame, x: Any, y: Any, scale: Any) -> None:
    panel.set_facecolor(MISSING)
    cells = np.ma.masked_invalid(table.to_numpy(np.float64))
    panel.pcolormesh(x, y, cells, cmap=scale.cmap, norm=scale.norm, rasterized=True)


def _edges(middles: Any) -> Any:
    """The edges of cells around rising middles."""
    if len(middles) == 1:
        return np.array([middles[0] - 0.5, middles[0] + 0.5])
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - between[0]], between, [2 * middles[-1] - between[-1]]])


def _write(panel: Axes, table: pd.DataFrame, scale: Any, show: Any) -> None:
    """Each cell's number in it."""
    for line, row in enumerate(table.to_numpy(np.float64)):
        for column, value in enumerate(row):
            if math.isfinite(value):
                red, green, blue, _ = scale.to_rgba(value)
                dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
                colour = "white" if dark else "black"
                panel.text(column, line, show(value), ha="center", va="center", fontsize=7, color=colour)


def _name_ticks(panel: Axes, x: Sequence[Any], y: Sequence[Any]) -> None:
    for ticks, put in ((x, panel.set_xticks), (y, panel.set_yticks)):
        places = spread(range(len(ticks)), _TICKS)
        put(places, [words(setting(ticks[place]), _LONGEST) for place in places])
    if _are_long(x):
        for text in panel.get_xticklabels():
            text.set(rotation=35, ha="right", rotation_mode="anchor")


def _are_long(x: Sequence[Any]) -> bool:
    """Whether names along the axis are too long to stand side by side."""
    return max(min(len(setting(one)), _LONGEST) for one in x) * min(len(x), _TICKS) > 40


def _curve(panel: Axes, curve: pd.DataFrame, x: Sequence[Any], y: Sequence[Any]) -> None:
    """Theory's line, which leaves the panel where it lies beyond it; cells are of one size, so it bends at each."""
    from matplotlib.patheffects import Normal, Stroke

    outlined = [Stroke(linewidth=4, foreground="white"), Normal()]
    height = _place(curve["y"].to_numpy(np.float64), np.array(y, np.float64))
    panel.set_ylim(-0.5, len(y) - 0.5)
    panel.set_xlim(-0.5, len(x) - 0.5)
    if all(isinstance(one, int | float) for one in x):
        at = _place(curve["x"].to_numpy(np.float64), np.array(x, np.float64))
        panel.plot(at, height, path_effects=outlined, **_LINE)
        return
    for name, level in zip(curve["x"], height, strict=True):
        if name in x:
            middle = list(x).index(name)
            panel.plot([middle - 0.45, middle + 0.45], [level] * 2, path_effects=outlined, **_LINE)


def _place(values: Any, ticks: Any) -> Any:
    """Where values stand on an axis whose ticks are one apart, also beyond its ends."""
    if len(ticks) < 2:
        return values - ticks[0]
    left = np.clip(np.searchsorted(ticks, values, "right") - 1, 0, len(ticks) - 2)
    return left + (values - ticks[left]) / (ticks[left + 1] - ticks[left])


def _bar(sheet: Sheet, scale: Any, quantity: str, logarithmic: bool) -> None:
    bar = sheet.add_bar(scale)
    bar.set_label(words(quantity))
    if logarithmic:
        ticks = power_ticks(scale.norm.vmin, scale.norm.vmax)
        bar.set_ticks(ticks, labels=[power_label(one) for one in ticks])
