"""The settings of cells as numbered levels of factors, for least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.analysis.estimates import Codes
from gradlab.analysis.factors import rank

MANY_LEVELS = 10
"""A factor of numbers with more values than this is cut into quarters of its range of values."""

TOO_MANY_LEVELS = 100
"""A factor of names with more values than this has no effects of its own."""


@dataclass(frozen=True)
class Factor:
    """A factor and its levels.

    Attributes:
        name: the column, or several that always change together.
        levels: what each level is, the lowest or most neutral first, nothing last; several columns' joined.
        codes: `[cell]`, the level of each.
    """

    name: str
    levels: tuple[Any, ...]
    codes: Codes


def factors_of(settings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[list[Factor], list[str]]:
    """The factors that vary over some cells, and notes on those that have no effect of their own.

    Columns whose values always change together are one factor.
    """
    found: list[Factor] = []
    notes = []
    for name in names:
        factor = _factor(name, [cell.get(name) for cell in settings])
        if len(factor.levels) < 2:
            continue
        if len(factor.levels) > TOO_MANY_LEVELS:
            notes.append(f"{name} has {len(factor.levels)} values: too many to tell their effects apart")
            continue
        for place, other in enumerate(found):
            if _same_partition(factor.codes, other.codes):
                found[place] = _together(other, factor)
                break
        else:
            found.append(factor)
    return found, notes


def _factor(name: str, values: list[Any]) -> Factor:
    distinct = sorted(set(values), key=lambda value: (value is None, rank(value)))
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in distinct)
    if numbers and len(distinct) > MANY_LEVELS:
        return _quarters(name, np.array(values, np.float64), distinct)
    place = {value: level for level, value in enumerate(distinct)}
    return Factor(name, tuple(distinct), np.array([place[value] for value in values], np.int64))


def _quarters(name: str, values: Any, distinct: list[Any]) -> Factor:
    edges = [distinct[round(piece * len(distinct) / 4)] for piece in range(1, 4)]
    codes = np.searchsorted(np.array(edges, np.float64), values, side="right")
    quarters = [[value for value in distinct if np.searchsorted(edges, value, side="right") == q] for q in range(4)]
    return Factor(name, tuple(f"{quarter[0]} .. {quarter[-1]}" for quarter in quarters), codes.astype(np.int64))


def _same_partition(one: Codes, other: Codes) -> bool:
    pairs = len(np.unique(np.stack([one, other]), axis=1).T)
    return pairs == len(np.unique(one)) == len(np.unique(other))


def _together(one: Factor, other: Factor) -> Factor:
    partner = {level: other.levels[other.codes[np.argmax(one.codes == level)]] for level in range(len(one.levels))}
    levels = tuple(f"{value} + {partner[level]}" for level, value in enumerate(one.levels))
    return Factor(f"{one.name} + {other.name}", levels, one.codes)
