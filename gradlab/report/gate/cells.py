"""A change as cells of a table, wherever the table is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gradlab.analysis.gate.change import INCONCLUSIVE, Change
from gradlab.analysis.gate.names import network_name
from gradlab.report.numbers import NOTHING, percent, power

HEADERS = ("network", "layer", "step", "statistic", "baseline", "now", "change", "95 %", "verdict")


def cells(change: Change) -> Mapping[str, str]:
    """Every column's cell, by its header."""
    values = (
        network_name(change.network) or NOTHING,
        f"{change.key.layer} {change.name}" if change.key.layer else NOTHING,
        change.key.step if change.step is None else str(change.step),
        change.key.statistic,
        level(change, change.baseline),
        level(change, change.now),
        shift(change),
        interval(change),
        verdict(change),
    )
    return dict(zip(HEADERS, values, strict=True))


def level(change: Change, value: float | None) -> str:
    """A mean: of a norm or loss as a number, of a share in per cent."""
    return power(value) if change.logarithmic else percent(value)


def shift(change: Change) -> str:
    """The ratio of means, or the difference of shares in points."""
    return NOTHING if change.baseline is None or change.now is None else _shift(change, change.shift)


def interval(change: Change) -> str:
    """The change's 95 % interval."""
    if change.low is None or change.high is None:
        return NOTHING
    return f"{_shift(change, change.low)} .. {_shift(change, change.high)}"


def verdict(change: Change) -> str:
    """The verdict, with its reason or what would settle it."""
    if change.reason:
        return f"{change.verdict}: {change.reason}"
    if change.verdict == INCONCLUSIVE and change.seeds_needed:
        return f"{change.verdict}: {change.seeds_needed} seeds would tell"
    return change.verdict


def _shift(change: Change, value: float) -> str:
    if not change.logarithmic:
        return f"{100 * value:+.1f} %"
    return "to 0" if value == -math.inf else "from 0" if value == math.inf else f"{power(value)}x"
