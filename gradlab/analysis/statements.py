"""Statements about a run, held against its tables: reproduced or not, and by which figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.analysis.catalogue import chosen_measures, statistics_of_trials
from gradlab.analysis.estimates import Reals
from gradlab.analysis.factors import rank
from gradlab.analysis.measures import Measure
from gradlab.analysis.where.condition import Where, parse_where
from gradlab.config.exhibit import Statement
from gradlab.errors import UsageError
from gradlab.store.reading import Trials

_TAKEN: dict[str, Callable[[Reals], float]] = {
    "mean": lambda values: float(values.mean()),
    "geometric_mean": lambda values: float(10 ** np.log10(values).mean()),
    "median": lambda values: float(np.median(values)),
    "variance": lambda values: float(values.var(ddof=1)) if len(values) > 1 else float("nan"),
    "least": lambda values: float(values.min()),
    "greatest": lambda values: float(values.max()),
}

Settings = tuple[tuple[str, Any], ...]
"""The columns that make a group, with its values."""


@dataclass(frozen=True)
class Figure:
    """What was measured in one group.

    Attributes:
        settings: the columns that make the group, with its values; empty where there is one group.
        value: NaN where it is unknown.
        trials: how many are behind it.
        along: where it stands on the axis of the slope, if one is asked for.
    """

    settings: Settings
    value: float
    trials: int
    along: float | None = None


@dataclass(frozen=True)
class Finding:
    """What came of a statement.

    Attributes:
        figures: of its groups.
        value: the figure that decides: the slope, or that of the group furthest out of bounds, or nearest to leaving.
        reproduced: whether every bound is kept.
        problem: why there is no figure, where there is none.
    """

    statement: Statement
    figures: tuple[Figure, ...]
    value: float
    reproduced: bool
    problem: str | None = None


def evaluate(statement: Statement, trials: Trials) -> Finding:
    """Hold a statement against the trials of a run; what can't be measured is not reproduced, and says why."""
    try:
        figures = _figures(statement, trials)
    except UsageError as error:
        return Finding(statement, (), float("nan"), False, str(error).removeprefix("--where: "))
    if statement.along is not None:
        value = _slope(figures)
        told = "a slope needs figures at two places at least" if np.isnan(value) else None
        return Finding(statement, figures, value, room(statement, value) >= 0, told)
    decisive = min(figures, key=lambda figure: room(statement, figure.value))
    told = "not every trial has a value" if np.isnan(decisive.value) else None
    return Finding(statement, figures, decisive.value, room(statement, decisive.value) >= 0, told)


def room(statement: Statement, value: float) -> float:
    """How far a figure is inside the statement's bounds; negative outside, minus infinity where it is unknown."""
    if np.isnan(value):
        return -np.inf
    above = np.inf if statement.at_least is None else value - statement.at_least
    below = np.inf if statement.at_most is None else statement.at_most - value
    return float(min(above, below))


def _figures(statement: Statement, trials: Trials) -> tuple[Figure, ...]:
    """The figure of each group, which no trial without a value goes into.

    Raises:
        UsageError: an expression is wrong, or there are no such trials.
    """
    measure = parse_where(statement.measure)
    along = parse_where(statement.along) if statement.along is not None else None
    reference = statement.over or statement.minus
    chosen = [parse_where(text) for text in (statement.where, reference) if text is not None]
    table = _with_statistics(trials, [measure, *chosen, *([along] if along else [])], statement.step)
    values = measure.numbers(table.frame)
    places = along.numbers(table.frame) if along else np.full(len(values), np.nan)
    of = _grouped(statement, table, statement.where)
    beside = _grouped(statement, table, reference) if reference is not None else {}
    found = []
    for settings, rows in of.items():
        value = _take(statement, values[rows])
        if reference is not None:
            if settings not in beside:
                raise UsageError(f"no trials to compare with where {_told(settings) or reference}")
            base = _take(statement, values[beside[settings]])
            with np.errstate(all="ignore"):
                value = value - base if statement.minus else float(np.divide(value, base))
        found.append(Figure(settings, value, len(rows), float(places[rows].mean()) if along else None))
    return tuple(found)


def _with_statistics(trials: Trials, expressions: Iterable[Where], step: Any) -> Trials:
    """The trials, and every statistic that the expressions name as one more column."""
    names = dict.fromkeys(name for expression in expressions for name in expression.names)
    asked = [name for name in names if name in statistics_of_trials()]
    asked = [name for name in asked if step is not None or name not in trials.frame.columns]
    if not asked:
        return trials
    measures = {measure.name: measure for measure in chosen_measures(asked, trials, step)}
    ends = next((name for name in asked if name not in measures), None)
    if ends is not None:
        raise UsageError(f"{ends} is that of a layer: {ends}.first or {ends}.last")
    columns = {name: _numbers(measures[name]) for name in asked}
    return Trials(trials.frame.assign(**columns), trials.part, trials.parts, trials.skipped, trials.nan)


def _numbers(measure: Measure) -> Reals:
    """`[trial]`, the values themselves; NaN where there is none."""
    logs = measure.logs
    if logs is None:
        return measure.numbers
    with np.errstate(over="ignore"):
        return np.where(logs.zero, 0.0, np.where(logs.not_finite, np.inf, 10.0**logs.logs))


def _grouped(statement: Statement, trials: Trials, where: str | None) -> Mapping[Settings, list[int]]:
    """Group -> the rows of its trials, the groups in the order of their settings.

    Raises:
        UsageError: there are none.
    """
    frame = trials.frame
    mask = np.ones(len(frame), np.bool_) if where is None else parse_where(where).mask(frame)
    if unknown := [name for name in statement.by if name not in frame.columns]:
        raise UsageError(f"no column {unknown[0]} to group by")
    columns = {name: frame[name].tolist() for name in statement.by}
    found: dict[Settings, list[int]] = {}
    for row in np.flatnonzero(mask).tolist():
        found.setdefault(tuple((name, values[row]) for name, values in columns.items()), []).append(row)
    if not found:
        raise UsageError(f"there are no trials where {where}")
    return dict(sorted(found.items(), key=lambda group: [rank(value) for _, value in group[0]]))


def _take(statement: Statement, values: Reals) -> float:
    """One number of a group; NaN where a trial has none, as leaving it out could make a false statement true."""
    with np.errstate(all="ignore"):
        return _TAKEN[statement.take](values) if not np.isnan(values).any() else float("nan")


def _slope(figures: Iterable[Figure]) -> float:
    """The least-squares slope of the figures along their places; NaN where there is none."""
    values, places = (np.array([getattr(figure, name) for figure in figures]) for name in ("value", "along"))
    distance = places - places.mean()
    spread = float(distance @ distance)
    return float(distance @ values) / spread if spread > 0 else float("nan")


def _told(settings: Settings) -> str:
    return ", ".join(f"{name} is {value}" for name, value in settings)
