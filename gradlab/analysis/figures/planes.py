"""Where can networks train? Gradient decay and the final metric over depth and each other factor."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from gradlab.analysis.agreement import decays
from gradlab.analysis.estimates import Means
from gradlab.analysis.factors import plain_cell, rank
from gradlab.analysis.figures.axes import Axis, nearest_few
from gradlab.analysis.figures.depth_limit import CURVE_LABEL, deepest_trainable, limit_curve
from gradlab.analysis.figures.excerpt import left_out, with_notes
from gradlab.analysis.figures.figure import Figure, Plane
from gradlab.analysis.summary import Summary
from gradlab.analysis.wording import count_of, number, power, setting, settings_line

MOST_PLANES = 4
"""Factors that are set against depth."""

MOST_TICKS = 60
"""Values of an axis."""

MOST_CELLS = 6_000
"""Cells of a figure, over all of its panels."""

MOST_PANELS = 12


def planes(summary: Summary, labels: Sequence[str], axes: Sequence[Axis]) -> list[Figure]:
    """For each factor that varies beside depth a map of gradient decay and one of the final metric."""
    depth = next((axis for axis in axes if axis.name == "depth"), None)
    others = [axis for axis in axes if axis is not depth and len(axis.ticks) > 1]
    found: list[Figure] = []
    if depth is None:
        return found
    for x in others[:MOST_PLANES]:
        rest = [axis for axis in others if axis is not x]
        cells, notes = _cells(summary, x, depth, rest)
        if cells["x"].nunique() > 1 < cells["y"].nunique():
            found += _figures(summary, labels, x, cells, notes)
    return found


def _cells(summary: Summary, x: Axis, y: Axis, rest: Sequence[Axis]) -> tuple[pd.DataFrame, list[str]]:
    """`group`, `x`, `y` and `panel` of each group that has both; a panel for each setting of all other factors."""
    places = np.array(summary.places, np.int64)
    panels = [settings_line({axis.label: axis.values[group] for axis in rest}) for group in places]
    columns = {"group": places, "panel": panels}
    columns |= {name: [axis.values[group] for group in places] for name, axis in (("x", x), ("y", y))}
    every = pd.DataFrame(columns).dropna(subset=["x", "y"])
    cells = every[every["x"].isin(nearest_few(x, MOST_TICKS)) & every["y"].isin(nearest_few(y, MOST_TICKS))]
    room = min(MOST_PANELS, max(1, MOST_CELLS // max(1, cells.groupby("panel").size().max() if len(cells) else 1)))
    order = {panel: [rank(axis.values[group]) for axis in rest] for group, panel in zip(places, panels, strict=True)}
    names = sorted(set(cells["panel"]), key=lambda panel: order[panel])[:room]
    cells = cells[cells["panel"].isin(names)]
    cells = cells.sort_values("panel", key=lambda own: own.map(names.index), kind="stable")
    return cells.reset_index(drop=True), list(filter(None, [left_out(len(cells), len(every), "groups")]))


def _figures(
    summary: Summary, labels: Sequence[str], x: Axis, cells: pd.DataFrame, notes: Sequence[str]
) -> list[Figure]:
    groups = cells["group"].to_numpy()
    measured, predicted = decays(summary)
    metric = summary.estimates["metric"]
    assert isinstance(metric, Means)  # noqa: S101
    cells = cells.assign(predicted=predicted.log10[groups])
    curve = _curve(cells, x.numeric)
    step = "time step" if any(summary.along_time[group] for group in groups) else "layer"

    def figure(
        kind: str, title: str, quantity: str, values: pd.DataFrame, sentence: str, logarithmic: bool
    ) -> list[Figure]:
        if not values["value"].notna().any():
            return []
        drawn = None if curve.empty else curve
        chart = Plane(x.label, "depth", quantity, logarithmic, drawn, "" if drawn is None else CURVE_LABEL)
        count = cells["panel"].nunique()
        panels = f"{count} heat maps" if count > 1 else "Heat map"
        over = f", with {CURVE_LABEL} as a line" if drawn is not None else ""
        return [
            Figure(
                f"{kind}-over-depth-and-{_file_name(x.label)}",
                f"{title} over depth and {x.label}",
                with_notes(sentence, notes),
                f"{panels}: {x.label} from left to right, depth from bottom to top, {quantity} as colour{over}.",
                values if count > 1 else values.drop(columns="panel"),
                chart,
            )
        ]

    keys = cells[["group", "panel", "x", "y"]]
    decay = keys.assign(value=np.where(np.isfinite(measured.log10[groups]), measured.log10[groups], np.nan))
    final = keys.assign(value=metric.value[groups], trials=metric.count[groups])
    return [
        *figure(
            "decay",
            f"How fast gradients shrink or grow: decay per {step}",
            f"gradient decay per {step}",
            decay.assign(trials=measured.count[groups]),
            f"The gradient changes per {step} by a factor of{_extremes(decay, labels, power)}{_of_limit(cells, x)}",
            True,
        ),
        *figure(
            "metric",
            f"Where networks train: final {summary.metric}",
            f"final {summary.metric}",
            final,
            f"The final {summary.metric} is{_extremes(final, labels, number)}{_of_training(cells, final)}",
            False,
        ),
    ]


def _curve(cells: pd.DataFrame, numeric: bool) -> pd.DataFrame:
    """Theory's limit in each panel, columns `x`, `y`, `panel`: from the decay predicted for the deepest networks."""
    known = cells[np.isfinite(cells["predicted"])].sort_values("y", kind="stable")
    curves = [pd.DataFrame({"x": [], "y": [], "panel": []})]
    for panel, own in known.groupby("panel", sort=False):
        deepest = own.groupby("x", sort=numeric)["predicted"].last()
        curves.append(limit_curve(deepest.index.tolist(), deepest.tolist(), numeric).assign(panel=panel))
    found = pd.concat(curves[1:] or curves, ignore_index=True)
    return found if cells["panel"].nunique() > 1 else found.drop(columns="panel")


def _extremes(cells: pd.DataFrame, labels: Sequence[str], show: Callable[[float], str]) -> str:
    known = cells.dropna(subset="value").sort_values("value", kind="stable")
    if known.empty:
        return ""
    ends = known.iloc[[0, -1]][["group", "value"]].itertuples(index=False)
    (low, least), (high, greatest) = ((labels[group], show(value)) for group, value in ends)
    return f" {least}" if least == greatest else f" between {least} ({low}) and {greatest} ({high})"


def _of_limit(cells: pd.DataFrame, x: Axis) -> str:
    """Between which depths theory's limit lies."""
    known = cells[np.isfinite(cells["predicted"])].sort_values("y", kind="stable").groupby(["panel", "x"], sort=False)
    limits = known["predicted"].last().map(deepest_trainable).sort_values(kind="stable")
    if limits.empty:
        return ""
    shallow, deep = (
        f"{'any depth' if np.isinf(limits.iloc[end]) else f'up to {limits.iloc[end]:.0f} layers'} "
        f"({x.label}={setting(plain_cell(limits.index[end][1]))})"
        for end in (0, -1)
    )
    best = f", at best of {deep}," if len(limits) > 1 else ""
    return f"; by mean-field theory networks of {shallow}{best} can train"


def _of_training(cells: pd.DataFrame, final: pd.DataFrame) -> str:
    """How networks within and beyond theory's limit did, on average."""
    limit = cells["predicted"].map(deepest_trainable)
    known = final["value"].notna() & limit.notna()
    within, beyond = (final["value"][known & chosen] for chosen in (cells["y"] <= limit, cells["y"] > limit))
    if within.empty or beyond.empty:
        return ""
    inside, outside = (f"{number(of.mean())} in the {count_of(len(of), 'network')}" for of in (within, beyond))
    return f"; on average {inside} within theory's {CURVE_LABEL.split(' (')[0]}, {outside} beyond"


def _file_name(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40] or "factor"
