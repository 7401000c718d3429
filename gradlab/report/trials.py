"""The trials of a sweep before they are trained (`gradlab run --dry-run`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from gradlab.analysis.telling import telling
from gradlab.config.sweep import Trial
from gradlab.report.as_json import plain
from gradlab.report.layout import Column, print_columns, say
from gradlab.report.naming import settings_line
from gradlab.report.numbers import count_of, setting

_SHOWN_AT_EACH_END = 20


def trials_json(trials: Sequence[Trial]) -> dict[str, Any]:
    """The trials of a sweep: `count`, and `trials` with their id, seed and factor columns."""
    rows = [plain({"trial_id": trial.trial_id, "seed": trial.seed, **trial.factors()}) for trial in trials]
    return {"count": len(rows), "trials": rows}


def print_trials(console: Console, trials: Sequence[Trial], see: str = "--json") -> None:
    """Draw a table of the trials, what they have in common under it; of many, the first and the last.

    Args:
        console: where to.
        trials: in the order of the sweep.
        see: the option that shows all.
    """
    rows = [_row(trial) for trial in trials]
    names = list(dict.fromkeys(name for row in rows for name in row))
    varying = telling([name for name in names if len({row.get(name) for row in rows}) > 1], rows)
    hidden = max(len(trials) - 2 * _SHOWN_AT_EACH_END, 0)
    ends = range(_SHOWN_AT_EACH_END), range(len(trials) - _SHOWN_AT_EACH_END, len(trials))
    places: list[int | None] = [*ends[0], None, *ends[1]] if hidden else list(range(len(trials)))

    def cells(show: Callable[[int], str]) -> list[str]:
        return ["..." if place is None else show(place) for place in places]

    columns = [
        Column("#", cells(lambda place: str(place + 1)), 1),
        Column("trial_id", cells(lambda place: trials[place].trial_id), 2, right=False),
    ]
    for name in varying:
        numeric = not any(isinstance(row.get(name), str) for row in rows)
        shown = [setting(row.get(name)) for row in rows]
        columns.append(Column(name, cells(shown.__getitem__), right=numeric))
    print_columns(console, columns, see)
    if hidden:
        say(console, f"{count_of(hidden, 'trial')} in the middle not shown (all of them with {see})")
    alike = [name for name in names if len({row.get(name) for row in rows}) == 1]
    common = {name: rows[0][name] for name in alike if rows[0].get(name) is not None}
    if common and len(rows) > 1:
        say(console, f"all: {settings_line(common)}")
    say(console, count_of(len(trials), "trial"))


def _row(trial: Trial) -> dict[str, Any]:
    return {**trial.factors(), "seed": trial.seed}
