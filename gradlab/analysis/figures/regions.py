"""What networks decide all over the plane of two features: a linear one halves it, a relu one bends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gradlab.analysis.figures.excerpt import Excerpt, left_out, spread, with_notes
from gradlab.analysis.figures.figure import Figure, Regions
from gradlab.analysis.summary import Summary
from gradlab.analysis.wording import percent
from gradlab.store.finding import Skipped
from gradlab.store.regions import Region, read_regions

MOST_NETWORKS = 24
"""Networks of which the regions are shown: a map has thousands of cells."""

MOST_RESOLUTION = 200
"""Cells of a side: larger maps are left out."""


def decision_regions(
    summary: Summary, labels: Sequence[str], shown: Excerpt
) -> tuple[list[Figure], tuple[Skipped, ...]]:
    """The regions of one trial of each group, before and after training, and what could not be read."""
    chosen = np.zeros(len(summary.trials.frame), np.bool_)
    chosen[[_one_trial(summary, group) for group in shown.groups]] = True
    groups = summary.grouping.codes[chosen]
    trials = summary.trials.where(chosen)
    found, skipped = read_regions(trials)
    maps = [(int(groups[region.trial]), region) for region in found if _is_square(region)]
    there = list(dict.fromkeys(sorted(group for group, _ in maps)))
    if not there:
        return [], skipped
    kept = spread(there, MOST_NETWORKS)
    rows = [
        {"group": group, **_row(region, trials.frame.iloc[region.trial])} for group, region in maps if group in kept
    ]
    numbers = pd.DataFrame(rows).sort_values(["group", "step"], kind="stable", ignore_index=True)
    notes = list(filter(None, [left_out(len(kept), len(there), "groups")]))
    return [
        Figure(
            "decision-regions",
            "Decision regions, before and after training",
            with_notes(_sentence(labels, numbers), notes),
            f"Maps of the plane of both features, before and after training of {len(kept)} networks: a colour for each "
            "class that the network decides, with examples as points.",
            numbers,
            Regions("feature 1", "feature 2"),
        )
    ], skipped


def _one_trial(summary: Summary, group: int) -> int:
    """A group's trial of the lowest seed, one that was trained to the end if there is any."""
    members, frame = summary.grouping.members[group], summary.trials.frame
    unfinished, seeds = frame["status"].to_numpy()[members] != "completed", frame["seed"].to_numpy()[members]
    return int(members[np.lexsort([seeds, unfinished])[0]])


def _is_square(region: Region) -> bool:
    return 1 < len(region.x) == len(region.y) <= MOST_RESOLUTION


def _row(region: Region, trial: Any) -> dict[str, Any]:
    """A map in the terms of the figure's numbers."""
    ends: dict[str, float] = {}
    for name, middles in (("x", region.x), ("y", region.y)):
        half = float(middles[-1] - middles[0]) / (len(middles) - 1) / 2
        ends |= {f"{name}_min": float(middles[0]) - half, f"{name}_max": float(middles[-1]) + half}
    decided = region.decided.ravel()
    return {
        "seed": None if pd.isna(trial["seed"]) else int(trial["seed"]),
        "trial_id": str(trial["trial_id"]),
        "step": region.step,
        **ends,
        "resolution": len(region.x),
        "classes": len(np.union1d(decided, region.classes)),
        "decision": decided.tolist(),
        "points_x": region.examples[:, 0].tolist(),
        "points_y": region.examples[:, 1].tolist(),
        "points_class": region.classes.tolist(),
    }


def _sentence(labels: Sequence[str], numbers: pd.DataFrame) -> str:
    """How many of the examples lie in a region of their own class, where fewest and where most."""
    last = numbers[numbers["step"] == numbers.groupby("group")["step"].transform("max")]
    right = [(_rightly_decided(row), group) for group, row in zip(last["group"], last.to_dict("records"), strict=True)]
    known = sorted(one for one in right if np.isfinite(one[0]))
    if not known:
        return "What each network decides over the plane of both features"
    ends = [f"{percent(share)} ({labels[group]})" for share, group in (known[0], known[-1])]
    told = f"between {ends[0]} and {ends[1]}" if len(known) > 1 else ends[0]
    return f"After training {told} of the training examples lie where the network decides for their own class"


def _rightly_decided(row: Any) -> float:
    """The share of a map's examples in whose cell their own class is decided; NaN without examples in the map."""
    side = row["resolution"]
    places = []
    for name in ("x", "y"):
        low, high = row[f"{name}_min"], row[f"{name}_max"]
        places.append(np.floor((np.array(row[f"points_{name}"], np.float64) - low) / (high - low) * side))
    inside = np.all([(place >= 0) & (place < side) for place in places], axis=0)
    if not inside.any():
        return float("nan")
    column, line = (place[inside].astype(np.int64) for place in places)
    decided, own = (np.array(row[name], np.int64) for name in ("decision", "points_class"))
    return float((decided[line * side + column] == own[inside]).mean())
