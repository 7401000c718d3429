"""The outcome of a check on a terminal: what happened in words, the worst offenders, what else to know."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from gradlab.analysis.gate.change import SAME
from gradlab.analysis.gate.outcome import Outcome
from gradlab.report.gate.cells import HEADERS, cells
from gradlab.report.layout import ALWAYS, Column, print_columns, say

ROWS = 15
"""Offenders that are shown; the others are counted."""

STYLES = {"pass": "bold green", "regression": "bold red", "inconclusive": "bold yellow", "failed": "bold red"}

_RANKS = {"95 %": 10, "baseline": 30, "now": 40, "step": 60}
"""Columns that give way on a narrow terminal."""

_TEXT_COLUMNS = ("network", "layer", "statistic", "verdict")


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Draw the outcome of a check."""
    say(console, Text(outcome.headline, STYLES[outcome.verdict]))
    for failure in outcome.failures:
        say(console, f"failed: {failure}")
    for network, told in outcome.story.items():
        say(console, f"\n{network}" if network else "")
        for sentence in told:
            say(console, f"  {sentence}")
    offenders = [change for change in outcome.judged.changes if change.verdict != SAME]
    if offenders:
        console.print()
        rows = [cells(change) for change in offenders[:ROWS]]
        columns = [
            Column(header, [row[header] for row in rows], _RANKS.get(header, ALWAYS), right=header not in _TEXT_COLUMNS)
            for header in HEADERS
            if header != "network" or any(change.network for change in offenders)
        ]
        print_columns(console, columns)
    if len(offenders) > ROWS:
        say(console, f"{len(offenders) - ROWS:,} more not shown (--json and --markdown have all)", "dim")
    for note in outcome.notes:
        say(console, f"note: {note}")
