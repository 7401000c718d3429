"""The gallery: what there is to show, and which statements were reproduced, with their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from gradlab.analysis.statements import Figure, Finding
from gradlab.config.exhibit import Exhibit, Statement
from gradlab.report.layout import Column, print_columns, say
from gradlab.report.numbers import count_of, number, setting

GROUPS = 8
"""Groups of one statement whose figures are listed; of more, the least and the greatest are told."""


@dataclass(frozen=True)
class Shown:
    """What came of an exhibit.

    Attributes:
        path: its run directory.
        seconds: how long the trainings of this invocation took; 0 where all were there.
        findings: statement by statement.
    """

    exhibit: Exhibit
    path: Path
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def reproduced(self) -> int:
        """How many statements were."""
        return sum(finding.reproduced for finding in self.findings)


def list_json(exhibits: Sequence[Exhibit]) -> dict[str, Any]:
    """`exhibits`: one object each."""
    return {"exhibits": [_described(exhibit) for exhibit in exhibits]}


def print_list(console: Console, exhibits: Sequence[Exhibit]) -> None:
    """One row per exhibit."""
    known = [exhibit.expectation for exhibit in exhibits]
    print_columns(
        console,
        [
            Column("name", [exhibit.name for exhibit in exhibits], right=False),
            Column("paper", [one.paper for one in known], 70, right=False),
            Column("time", [duration(one.seconds.full) for one in known], 80),
            Column("--quick", [duration(one.seconds.quick) for one in known], 60),
            Column("what it shows", [one.shows for one in known], 50, right=False),
        ],
    )


def shown_json(shown: Sequence[Shown]) -> dict[str, Any]:
    """`statements` and `reproduced` are counts; `exhibits` has one object each with its statements and figures."""
    return {
        "statements": sum(len(one.findings) for one in shown),
        "reproduced": sum(one.reproduced for one in shown),
        "exhibits": [
            _described(one.exhibit)
            | {
                "path": str(one.path),
                "trained_seconds": one.seconds,
                "statements": [_finding_json(finding) for finding in one.findings],
            }
            for one in shown
        ],
    }


def print_shown(console: Console, shown: Shown) -> None:
    """An exhibit: each statement with its verdict and the figures behind it."""
    known = shown.exhibit.expectation
    say(console, f"{shown.exhibit.name}: {known.shows}", "bold")
    say(console, f"  {known.paper}, {known.source}", "dim")
    for finding in shown.findings:
        word, style = ("reproduced", "green") if finding.reproduced else ("NOT reproduced", "bold red")
        say(console, Text.assemble("  ", (word, style), f": {finding.statement.says}"))
        say(console, f"    measured {measured(finding)}; expected {bounds(finding.statement)}", "dim")
    say(console, "")


def print_total(console: Console, shown: Sequence[Shown]) -> None:
    """How many statements were reproduced."""
    total, reproduced = sum(len(one.findings) for one in shown), sum(one.reproduced for one in shown)
    told = f"{reproduced} of {count_of(total, 'statement')} reproduced"
    say(console, told, "bold green" if reproduced == total else "bold red")


def bounds(statement: Statement) -> str:
    """What a figure must be."""
    least, most = statement.at_least, statement.at_most
    if least is None:
        return f"at most {most:.6g}"
    return f"at least {least:.6g}" if most is None else f"{least:.6g} to {most:.6g}"


def measured(finding: Finding) -> str:
    """The figures of a statement, or why there are none."""
    if finding.problem is not None:
        return f"nothing: {finding.problem}"
    figures = finding.figures
    if finding.statement.along is not None:
        points = ", ".join(f"{number(one.along)}: {number(one.value)}" for one in figures[:GROUPS])
        return f"slope {number(finding.value)} along {finding.statement.along} ({points})"
    if len(figures) == 1:
        return f"{number(finding.value)} ({count_of(figures[0].trials, 'trial')})"
    if len(figures) <= GROUPS:
        return "; ".join(f"{number(one.value)} where {_settings(one)}" for one in figures)
    values = [one.value for one in figures]
    return f"{number(min(values))} to {number(max(values))} in {len(figures)} groups"


def _settings(figure: Figure) -> str:
    return ", ".join(f"{name} is {setting(value)}" for name, value in figure.settings)


def duration(seconds: float) -> str:
    """Seconds or minutes, whichever is the shorter number."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _described(exhibit: Exhibit) -> dict[str, Any]:
    known = exhibit.expectation
    return {
        "name": exhibit.name,
        "config": str(exhibit.config),
        "paper": known.paper,
        "source": known.source,
        "shows": known.shows,
        "seconds": known.seconds.model_dump(),
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return finding.statement.model_dump(exclude_none=True) | {
        "reproduced": finding.reproduced,
        "value": finding.value,
        "problem": finding.problem,
        "figures": [
            {"settings": dict(one.settings), "value": one.value, "trials": one.trials, "along": one.along}
            for one in finding.figures
        ],
    }
