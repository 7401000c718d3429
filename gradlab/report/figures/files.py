"""`gradlab report --figures DIR`: every figure as PNG and SVG, and the numbers behind it as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradlab.analysis.figures.figure import Figure, Regions
from gradlab.analysis.figures.report import Report
from gradlab.report.figures.drawing import drawn
from gradlab.store.atomic import machine_errors, write_whole


def write_figures(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write `NAME.png`, `NAME.svg` and `NAME.csv` of each figure into a folder, which is made if need be.

    Returns:
        The files, in the order of the figures.

    Raises:
        MachineError: disk full, no permission, or a file stands where the folder is needed.
    """
    with machine_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in report.figures:
        content = drawn(figure, report) | {"csv": numbers_csv(figure, report).encode()}
        for ending, data in content.items():
            path = folder / f"{figure.name}.{ending}"
            write_whole(path, lambda stream, data=data: stream.write(data))  # type: ignore[misc]
            written.append(path)
    return tuple(written)


def numbers_csv(figure: Figure, report: Report) -> str:
    """The numbers of a figure in long form, with the names of their groups; what is not known is empty."""
    numbers, digits = figure.numbers, None
    if isinstance(figure.chart, Regions):
        digits = "%.7g"  # thousands of cells, of which nobody needs to know more
        numbers = pd.concat([_cells(row) for row in numbers.to_dict("records")], ignore_index=True)
    numbers = numbers.copy()
    numbers.insert(1, "label", [report.labels[group] for group in numbers["group"]])
    return str(numbers.to_csv(index=False, lineterminator="\n", float_format=digits))


def _cells(row: Mapping[Any, Any]) -> pd.DataFrame:
    """A map of decisions as rows: its cells by their middles, from the lowest y on, then the examples."""
    side = row["resolution"]
    middles = {
        name: row[f"{name}_min"] + (np.arange(side) + 0.5) / side * (row[f"{name}_max"] - row[f"{name}_min"])
        for name in ("x", "y")
    }
    x, y = np.tile(middles["x"], side), np.repeat(middles["y"], side)
    cells = pd.DataFrame({"kind": "cell", "x": x, "y": y, "class": row["decision"]})
    examples = {"kind": "example", "x": row["points_x"], "y": row["points_y"], "class": row["points_class"]}
    both = pd.concat([cells, pd.DataFrame(examples)], ignore_index=True)
    for place, name in enumerate(("group", "seed", "trial_id", "step")):
        both.insert(place, name, row[name])
    return both
