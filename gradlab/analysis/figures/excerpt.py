"""How much of some runs a figure holds: a page of many groups must stay small, and say what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gradlab.analysis.estimates import Codes
from gradlab.analysis.summary import Summary
from gradlab.store.records import read_records

Item = TypeVar("Item")

MOST_GROUPS = 100
"""Groups of a figure that shows every group by itself."""

MOST_LAYERS = 40
"""Layers of a group."""

MOST_STEPS = 50
"""Steps of a figure."""

MOST_ROWS = 150_000
"""Rows of a figure's numbers, about: a hundred groups of thirty layers at fifty steps, with which a page stays below
5 MB."""


@dataclass(frozen=True, eq=False)
class Excerpt:
    """The groups and the steps of which figures hold the layers.

    Attributes:
        groups: numbers of groups, rising.
        steps: rising; the first and the last among them, and the last of every group as far as there is room.
        notes: what is left out.
    """

    groups: tuple[int, ...]
    steps: tuple[int, ...]
    notes: tuple[str, ...]


def excerpt(summary: Summary) -> Excerpt:
    """What there is room for: groups and steps spread evenly over all that there are."""
    groups = sorted(spread(list(summary.places), MOST_GROUPS))
    chosen = np.isin(summary.grouping.codes, groups)
    records = read_records(summary.trials.where(chosen), "steps", (), "every")
    found = np.unique(records.step).tolist()
    room = min(MOST_STEPS, max(4, MOST_ROWS // max(1, _layers(summary, groups))))
    ends = _last_steps(summary.grouping.codes[chosen][records.trial], records.step)
    steps = sorted({*spread(found, room), *spread(ends, room)}) or [0]
    notes = [left_out(len(groups), len(summary.places), "groups"), left_out(len(steps), len(found), "recorded steps")]
    return Excerpt(tuple(groups), tuple(steps), tuple(filter(None, notes)))


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, spread evenly, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


def left_out(shown: int, total: int, what: str) -> str:
    """`100 of 2,500 groups`; nothing where all are shown."""
    return f"{shown} of {total:,} {what}" if shown < total else ""


def with_notes(sentence: str, notes: Sequence[str]) -> str:
    """A sentence, and what of the runs is not in its figure."""
    return f"{sentence} ({', '.join(notes)} shown)." if notes else f"{sentence}."


def _layers(summary: Summary, groups: Sequence[int]) -> int:
    """How many layers of these groups there is room for, about."""
    return sum(min(len(summary.profiles[group].layers), MOST_LAYERS) for group in groups)


def _last_steps(group: Codes, step: Codes) -> list[int]:
    """The distinct last steps of the groups of some records."""
    if not len(group):
        return []
    last = np.full(int(group.max()) + 1, -1, np.int64)
    np.maximum.at(last, group, step)
    return [int(found) for found in np.unique(last) if found >= 0]
