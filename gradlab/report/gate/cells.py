"""A change as cells of a table, wherever the table is, and text from elsewhere made fit for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gradlab.analysis.gate.change import MISSING, Change
from gradlab.analysis.gate.names import network_name
from gradlab.report.numbers import NOTHING, percent, power


def printable(text: str) -> str:
    """Text on one line without control characters: names and messages come from the user's files and code."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def cells(change: Change) -> Mapping[str, str]:
    """Every column's cell, by its header."""
    return {
        "network": printable(network_name(change.network)) if change.network else NOTHING,
        "layer": printable(f"{change.key.layer} {change.name}") if change.key.layer else NOTHING,
        "step": _step(change),
        "statistic": change.key.statistic,
        "baseline": _level(change, change.baseline, change.zeros[0]),
        "now": _level(change, change.now, change.zeros[1]),
        "change": change.reason or _shift(change),
        "95 %": _interval(change),
        "verdict": change.verdict,
        "needs": f"{change.seeds_needed} seeds" if change.seeds_needed else NOTHING,
    }


def table(changes: Sequence[Change]) -> dict[str, list[str]]:
    """The columns of a table of changes, by their headers, without those in which nothing stands."""
    rows = [cells(change) for change in changes]
    columns = {header: [row[header] for row in rows] for header in rows[0]} if rows else {}
    return {header: column for header, column in columns.items() if set(column) != {NOTHING}}


def _step(change: Change) -> str:
    if change.reason == MISSING:
        return NOTHING
    return change.key.step if change.step is None else str(change.step)


def _level(change: Change, value: float | None, zeros: int) -> str:
    """A mean: of a norm or loss as a number, with the seeds that are not in it; of a share in per cent."""
    if not change.logarithmic:
        return percent(value)
    return power(value) + (f" (0 in {zeros})" if zeros and value != -math.inf else "")


def _shift(change: Change) -> str:
    """The ratio of means, or the difference of shares in points of a hundred."""
    if change.baseline is None or change.now is None:
        return NOTHING
    if not change.logarithmic:
        return f"{100 * change.shift:+.1f} points"
    return {-math.inf: "to 0", math.inf: "from 0"}.get(change.shift) or f"{power(change.shift)}x"


def _interval(change: Change) -> str:
    """The change's 95 % interval."""
    if change.low is None or change.high is None:
        return NOTHING
    if not change.logarithmic:
        return f"{100 * change.low:+.1f} .. {100 * change.high:+.1f}"
    return f"{power(change.low)}x .. {power(change.high)}x"
