"""Means and settings as cells of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlab.analysis.estimates import GeometricMean, Mean
from gradlab.analysis.wording import NOTHING, count_of, number, percent, power, setting

__all__ = [
    "NOTHING",
    "arithmetic",
    "broken_setting",
    "count_of",
    "geometric",
    "geometric_interval",
    "number",
    "percent",
    "power",
    "setting",
    "share",
]


def arithmetic(mean: Mean, show: Callable[[float | None], str] = number) -> str:
    """An arithmetic mean and, where some seeds are not in it, how many are."""
    total = mean.count + mean.left_out
    return show(mean.value) + (f" ({mean.count}/{total})" if mean.left_out and mean.count else "")


def share(mean: Mean) -> str:
    """The same of a share: `62 % (3/6)`."""
    return arithmetic(mean, percent)


def geometric(mean: GeometricMean) -> str:
    """A geometric mean and, where some seeds are not in it, how many and why."""
    total = mean.count + mean.zeros + mean.not_finite + mean.unknown
    notes = []
    if mean.zeros and mean.count:
        notes.append(f"{mean.zeros}/{total} are 0")
    if mean.not_finite:
        notes.append(f"{mean.not_finite}/{total} not finite")
    if mean.unknown and mean.unknown < total:
        plain = mean.count and not notes
        notes.append(f"{mean.count}/{total}" if plain else f"{mean.unknown}/{total} unknown")
    return power(mean.log10) + (f" ({', '.join(notes)})" if notes else "")


def geometric_interval(mean: GeometricMean) -> str:
    """The 95 % interval of a geometric mean."""
    return NOTHING if mean.log10_low is None else f"{power(mean.log10_low)} .. {power(mean.log10_high)}"


def broken_setting(value: Any) -> str:
    """The same on two lines where it has parameters."""
    return setting(value).replace("(", "\n(", 1)
