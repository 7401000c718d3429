"""What networks decide in the plane of two features, as readers of run directories see it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlab.store.finding import Skipped
from gradlab.store.part_files import read_part
from gradlab.store.reading import Trials
from gradlab.store.tables import CELL, EXAMPLE, REGIONS

MOST_CELLS = 1_000_000
"""Cells of one trial's plane beyond which a file is no table of ours."""


@dataclass(frozen=True, eq=False)
class Region:
    """What a trial's network decides at one step.

    Attributes:
        trial: its row in `Trials`.
        step: 0 for the untrained network, the number of its steps for the trained one.
        x, y: the middles of columns and rows of cells, ascending.
        decided: the class in each cell, [y, x].
        examples: training examples, [example, 2], and `classes`, their own.
    """

    trial: int
    step: int
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    decided: npt.NDArray[np.int64]
    examples: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]


def read_regions(trials: Trials) -> tuple[list[Region], tuple[Skipped, ...]]:
    """The regions of some trials, in their order and by step, and what could not be read."""
    found: list[Region] = []
    skipped: list[Skipped] = []
    for place, part in enumerate(trials.parts):
        rows = np.flatnonzero(trials.part == place)
        path = part.run.path / "regions" / f"{part.name}.parquet"
        if not len(rows) or not os.path.lexists(path):
            continue
        table = read_part(path, "regions", list(REGIONS))
        if isinstance(table, Skipped):
            skipped.append(table)
            continue
        numbers = dict(zip(trials.frame["trial_id"].iloc[rows], rows.tolist(), strict=True))
        try:
            found += _regions(table.to_pandas(), numbers)
        except ValueError as error:
            skipped.append(Skipped(path, str(error)))
    return sorted(found, key=lambda region: (region.trial, region.step)), tuple(skipped)


def _regions(frame: pd.DataFrame, numbers: dict[str, int]) -> Iterator[Region]:
    """The regions in a part file.

    Raises:
        ValueError: the cells are no grid; the message says whose.
    """
    if frame.isna().any(axis=None) or not np.isfinite(frame[["x", "y"]].to_numpy()).all():
        raise ValueError("has cells without a place or a class")
    for trial_id, own in frame[frame["trial_id"].isin(numbers)].groupby("trial_id", sort=False):
        examples = own[own["kind"] == EXAMPLE]
        for _, cells in own[own["kind"] == CELL].groupby("step"):
            cells = cells.sort_values(["y", "x"])
            x, y = np.unique(cells["x"]), np.unique(cells["y"])
            if len(cells) > MOST_CELLS or len(cells) != len(x) * len(y) or cells.duplicated(["x", "y"]).any():
                raise ValueError(f"has cells of trial {str(trial_id)[:40]} that are no grid")
            yield Region(
                numbers[str(trial_id)],
                int(cells["step"].iloc[0]),
                x,
                y,
                cells["class"].to_numpy().reshape(len(y), len(x)),
                examples[["x", "y"]].to_numpy(),
                examples["class"].to_numpy(),
            )
