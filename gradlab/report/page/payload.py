"""What the page's script draws from: a report's groups and figures as small plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gradlab.analysis.factors import plain_cell, rank
from gradlab.analysis.figures.figure import Chart, Figure, LayerSteps, Lines, Plane, Quantiles, Regions
from gradlab.analysis.figures.report import Report
from gradlab.printable import printable
from gradlab.report.numbers import setting
from gradlab.report.page.packing import Pool

MOST_GROUPS = 500
"""Groups that a page draws and lists."""

MOST_CELLS = 200_000
"""Layers times steps of all groups that a figure holds; of longer trainings fewer steps are drawn."""

_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}

_DIGITS = 6

Plain = dict[str, Any]


def payload(report: Report) -> Plain:
    """Everything that the script needs.

    Returns:
        `labels` and `factors` of the groups; each factor has its `values` as text, in their order, and the place
        among them of each group; `figures`; and `texts`, the arrays that these refer to.
    """
    pool = Pool()
    shown = min(len(report.labels), MOST_GROUPS)
    return {
        "labels": list(report.labels[:shown]),
        "factors": factors(report.factors[:shown]),
        "figures": [_figure(figure, shown, pool) for figure in report.figures],
        "texts": pool.texts,
    }


def script_text(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it can end that, or be taken for markup."""
    return json.dumps(_shown(value), separators=(",", ":"), allow_nan=False).translate(_UNSAFE)


def factors(groups: Sequence[Mapping[str, Any]]) -> list[Plain]:
    """The factors that vary, each with its values and who has which."""
    found = []
    for name in dict.fromkeys(key for group in groups for key in group):
        cells = [group.get(name) for group in groups]
        values = sorted({setting(value): value for value in cells}.items(), key=lambda pair: rank(pair[1]))
        place = {text: number for number, (text, _) in enumerate(values)}
        numeric = all(_is_number(value) for _, value in values)
        found.append(
            {
                "name": name,
                "values": [text for text, _ in values],
                "numbers": [value for _, value in values] if numeric else None,
                "of": [place[setting(value)] for value in cells],
            }
        )
    return found


def _figure(figure: Figure, groups: int, pool: Pool) -> Plain:
    return {"name": figure.name, "alt": figure.alt, **_chart(figure.chart, figure.numbers, groups, pool)}


def _chart(chart: Chart, numbers: pd.DataFrame, groups: int, pool: Pool) -> Plain:
    match chart:
        case Lines():
            found = _series(numbers, ("value", "low", "high", "predicted"), groups, pool)
            # The axis writes powers of ten, not their logarithms.
            label = chart.y_label.removeprefix("log10 of the ")
            return {"kind": "lines", "x": chart.x_label, "y": label, **found}
        case LayerSteps():
            found = _series(numbers, ("value",), groups, pool)
            return {"kind": "maps", "quantity": chart.quantity, "log": chart.logarithmic, **found}
        case Quantiles():
            names = tuple(str(name) for name in numbers.columns if str(name).startswith("q"))
            found = _series(numbers, names, groups, pool)
            return {"kind": "quantiles", "quantity": chart.quantity, "names": names, **found}
        case Regions():
            return {
                "kind": "regions",
                "x": chart.x_label,
                "y": chart.y_label,
                "regions": _regions(numbers, groups, pool),
            }
        case Plane():
            return _plane(chart, numbers)


def _series(numbers: pd.DataFrame, columns: Sequence[str], groups: int, pool: Pool) -> Plain:
    """For each group its steps, its layers and, as `[step, layer]`, each column.

    Steps and layers, which most groups have in common, are told once, and series name them by their place.
    """
    numbers = numbers[numbers["group"] < groups]
    axes: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    series = []
    cells, left_out = 0, 0
    tables = []
    for group, rows in numbers.groupby("group", sort=True):
        steps, step = np.unique(rows["step"].to_numpy(np.int64), return_inverse=True)
        layers, layer = np.unique(rows["layer"].to_numpy(np.int64), return_inverse=True)
        cells += len(steps) * len(layers)
        tables.append((int(str(group)), rows, steps, step, layers, layer))
    share = min(1.0, MOST_CELLS / max(cells, 1))
    for group, rows, steps, step, layers, layer in tables:
        kept = _evenly(len(steps), max(2, int(share * len(steps))))
        left_out = max(left_out, len(steps) - len(kept))
        axis = axes.setdefault((tuple(steps[kept].tolist()), tuple(layers.tolist())), len(axes))
        packed: Plain = {"group": group, "axis": axis}
        for column in columns:
            table = np.full((len(steps), len(layers)), np.nan)
            table[step, layer] = rows[column].to_numpy(np.float64, na_value=np.nan)
            packed[column] = pool.reals(table[kept])
        series.append(packed)
    return {
        "axes": [{"steps": steps, "layers": layers} for steps, layers in axes],
        "series": series,
        "thinned": left_out > 0,
    }


def _evenly(count: int, most: int) -> Any:
    """At most so many places out of `count`, from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _regions(numbers: pd.DataFrame, groups: int, pool: Pool) -> list[Plain]:
    found = []
    for row in numbers[numbers["group"] < groups].to_dict("records"):
        points = [np.asarray(row[name], np.float64) for name in ("points_x", "points_y")]
        found.append(
            {
                "group": int(row["group"]),
                "seed": None if pd.isna(row["seed"]) else int(row["seed"]),
                "step": int(row["step"]),
                "box": [_rounded(row[name]) for name in ("x_min", "x_max", "y_min", "y_max")],
                "resolution": int(row["resolution"]),
                "classes": int(row["classes"]),
                "decision": pool.runs(np.asarray(row["decision"], np.uint8)),
                "points": [pool.reals(axis) for axis in points],
                "classOf": pool.keep(np.asarray(row["points_class"], np.uint8).tobytes()),
            }
        )
    return found


def _plane(chart: Plane, numbers: pd.DataFrame) -> Plain:
    panels = numbers["panel"].tolist() if "panel" in numbers else [""] * len(numbers)
    groups = numbers["group"].tolist() if "group" in numbers else [None] * len(numbers)
    curve = chart.curve if chart.curve is not None else pd.DataFrame({"x": [], "y": []})
    of_curve = curve["panel"].tolist() if "panel" in curve else [None] * len(curve)
    return {
        "kind": "plane",
        "x": chart.x_label,
        "y": chart.y_label,
        "quantity": chart.quantity,
        "log": chart.logarithmic,
        "xs": _axis(numbers["x"]),
        "ys": _axis(numbers["y"]),
        "panels": list(dict.fromkeys(map(setting, panels))),
        "cells": [
            [_tick(x), _tick(y), setting(panel), _rounded(value), int(trials), None if group is None else int(group)]
            for x, y, panel, value, trials, group in zip(
                numbers["x"], numbers["y"], panels, numbers["value"], numbers["trials"], groups, strict=True
            )
        ],
        "curveLabel": chart.curve_label,
        "curve": [
            [_coordinate(x), _coordinate(y), None if panel is None else setting(panel)]
            for x, y, panel in zip(curve["x"], curve["y"], of_curve, strict=True)
        ],
    }


def _axis(column: pd.Series[Any]) -> Plain:
    """The values of a plane's axis in their order, as text and, where they are, as numbers."""
    values = sorted({plain_cell(value) for value in column.tolist()}, key=rank)
    numbers = [_rounded(value) for value in values] if all(map(_is_number, values)) else None
    return {"values": [_tick(value) for value in values], "numbers": numbers}


def _tick(value: Any) -> str:
    """A value of an axis as text; whole numbers among others are whole."""
    cell = plain_cell(value)
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else setting(cell)


def _coordinate(value: Any) -> float | str | None:
    return value if isinstance(value, str) else _rounded(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _rounded(value: Any) -> float | None:
    number = float(value) if value is not None and not pd.isna(value) else np.nan
    return float(f"{number:.{_DIGITS}g}") if np.isfinite(number) else None


def _shown(value: Any) -> Any:
    """The same with the text that came with the data fit to be read."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _shown(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return value
