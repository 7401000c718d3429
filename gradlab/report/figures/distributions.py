"""Activations over layers on paper, and decision regions: each network before and after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradlab.analysis.figures.excerpt import spread
from gradlab.analysis.figures.figure import Figure, Quantiles, Regions
from gradlab.analysis.figures.report import Report
from gradlab.report.figures.style import COLOURS, COLUMNS, MARKERS, Sheet, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_PAIRS = 8
"""Networks of a figure, two panels each."""

_BANDS = (("q01", "q99", 0.15), ("q05", "q95", 0.25), ("q25", "q75", 0.45))


def draw_quantiles(figure: Figure, chart: Quantiles, report: Report) -> Canvas:
    """Two panels for each group, step 0 and its last record: bands of quantiles, the median as a line."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    pairs = _Pairs.of(figure, report, (2.2, 1.6), 1)
    for place, (panel, own) in enumerate(zip(pairs.sheet.axes, pairs.rows, strict=True)):
        _bands(panel, own, COLOURS[place % 2])
        panel.set_xlabel("layer")
        panel.set_ylabel("" if place % COLUMNS else words(chart.quantity))
        if place % 2:
            before = pairs.sheet.axes[place - 1]
            ends = [*before.get_ylim(), *panel.get_ylim()]
            for one in (before, panel):
                one.set_ylim(min(ends), max(ends))
    handles: list[Any] = [
        Patch(color="0.3", alpha=alpha, linewidth=0, label=f"middle {int(high[1:]) - int(low[1:])} %")
        for low, high, alpha in _BANDS
    ]
    pairs.sheet.add_foot([*handles, Line2D([], [], color="0.2", label="median"), *pairs.note], 5)
    return pairs.sheet.page


def draw_regions(figure: Figure, chart: Regions, report: Report) -> Canvas:
    """Two maps for each network, before and after training: what it decides, and examples by their own class."""
    pairs = _Pairs.of(figure, report, (2.2, 2.0), 0)
    for place, (panel, own) in enumerate(zip(pairs.sheet.axes, pairs.rows, strict=True)):
        _map(panel, own.to_dict("records")[0])
        panel.set_xlabel(words(chart.x_label))
        panel.set_ylabel("" if place % COLUMNS else words(chart.y_label))
    pairs.sheet.add_foot(pairs.note)
    return pairs.sheet.page


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Two panels for each group, and `[panel]` the rows of its first record and of its last one."""

    sheet: Sheet
    rows: list[pd.DataFrame]
    note: list[Any]

    @classmethod
    def of(cls, figure: Figure, report: Report, size: tuple[float, float], foot: int) -> _Pairs:
        from matplotlib.lines import Line2D

        numbers = figure.numbers
        every = numbers["group"].unique().tolist()
        groups = spread(every, _PAIRS)
        note = [Line2D([], [], linestyle="none", label=f"{len(groups)} of {len(every)} groups are drawn")]
        note = note if len(groups) < len(every) else []
        rows = []
        for group in groups:
            own = numbers[numbers["group"] == group]
            rows += [own[own["step"] == end] for end in (own["step"].min(), own["step"].max())]
        sheet = Sheet.of(len(rows), COLUMNS, size, figure.title, foot=max(foot, len(note)))
        for panel, own in zip(sheet.axes, rows, strict=True):
            group, step = own["group"].iloc[0], own["step"].iloc[0]
            panel.set_title(words(f"{report.labels[group]}, step {step}", 42))
        return cls(sheet, rows, note)


def _bands(panel: Axes, own: pd.DataFrame, colour: str) -> None:
    """Bands that are flat across each layer, so that a single layer has one, too."""
    layer = own["layer"].to_numpy(np.float64)
    at = np.stack([layer - 0.5, layer + 0.5], axis=1).ravel()
    for low, high, alpha in _BANDS:
        under, over = (np.repeat(own[name].to_numpy(np.float64), 2) for name in (low, high))
        panel.fill_between(at, under, over, color=colour, alpha=alpha, linewidth=0)
    panel.plot(at, np.repeat(own["q50"].to_numpy(np.float64), 2), color=colour, linewidth=1.2)
    panel.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    panel.locator_params(axis="x", integer=True, nbins=6)


def _map(panel: Axes, row: dict[Any, Any]) -> None:
    from matplotlib.colors import ListedColormap, to_rgb

    side = row["resolution"]
    names = np.union1d(row["decision"], row["points_class"])
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(names))]
    tints = [tuple(1 - 0.35 * (1 - one) for one in to_rgb(colour)) for colour in colours]
    codes = np.searchsorted(names, np.array(row["decision"])).reshape(side, side)
    ends = (row["x_min"], row["x_max"], row["y_min"], row["y_max"])
    panel.imshow(
        codes,
        extent=ends,
        origin="lower",
        aspect="auto",
        cmap=ListedColormap(tints),
        vmin=-0.5,
        vmax=len(names) - 0.5,
        interpolation="nearest",
    )
    x, y, own = (np.array(row[name], np.float64) for name in ("points_x", "points_y", "points_class"))
    for place, name in enumerate(names):
        mine = own == name
        marker = MARKERS[place % len(MARKERS)]
        panel.scatter(x[mine], y[mine], s=7, c=colours[place], marker=marker, linewidths=0.3, edgecolors="white")
    panel.locator_params(nbins=5)
    panel.set_xlim(*ends[:2])
    panel.set_ylim(*ends[2:])
