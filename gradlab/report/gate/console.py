"""The outcome of a check on a terminal: what happened in words, the worst offenders, what else to know."""

from __future__ import annotations

import io
from collections.abc import Mapping

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from gradlab.analysis.gate.change import SAME
from gradlab.analysis.gate.outcome import Outcome
from gradlab.report.gate import words
from gradlab.report.gate.cells import table
from gradlab.report.layout import ALWAYS, Column, print_columns, say
from gradlab.report.numbers import count_of

ROWS = 15
"""Offenders that are shown; the others are counted."""

STORIES = 5
"""Networks that are told about in sentences, and failures that are listed; the others are counted."""

_STYLES = {"pass": "bold green", "regression": "bold red", "inconclusive": "bold yellow", "failed": "bold red"}

_RANKS = {"95 %": 10, "needs": 20, "baseline": 30, "now": 40, "step": 60, "layer": 70}
"""Columns that give way on a narrow terminal; networks become numbers first."""


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Draw the outcome of a check."""
    verdict, _, found = words.headline(outcome).partition(":")
    say(console, Text.assemble((verdict, _STYLES[outcome.verdict]), f":{found}"))
    for failure in words.failures(outcome)[:STORIES]:
        _say_indented(console, failure)
    _say_more(console, len(outcome.failures) - STORIES, "failed trial")
    told = words.stories(outcome)
    for network, sentences in told[:STORIES]:
        say(console, f"\n{network}" if network else "", "bold")
        for sentence in sentences:
            _say_indented(console, sentence)
    _say_more(console, len(told) - STORIES, "network")
    _print_offenders(console, outcome)
    for note in words.notes(outcome):
        say(console, note)


def _print_offenders(console: Console, outcome: Outcome) -> None:
    offenders = [change for change in outcome.judged.changes if change.verdict != SAME]
    if not offenders:
        return
    columns = table(offenders[:ROWS])
    networks = list(dict.fromkeys(columns.get("network", [])))
    console.print()
    if len(networks) == 1:
        say(console, f"all of {networks[0]}:")
        del columns["network"]
    numbers = {network: f"#{number}" for number, network in enumerate(networks, 1)}
    shown = print_columns(console, [_column(header, found, numbers) for header, found in columns.items()])
    if any(column.header == "network" and column.cells[0] in numbers.values() for column in shown):
        for network, number in numbers.items():
            say(console, f"{number}: {network}")
    _say_more(console, len(offenders) - ROWS, "change")


def _column(header: str, found: list[str], numbers: Mapping[str, str]) -> Column:
    rank = _RANKS.get(header, ALWAYS)
    if header == "network":
        return Column(header, found, rank, right=False, narrow=[numbers[network] for network in found])
    if header == "layer":
        return Column(header, found, rank, right=False, narrow=[cell.split()[0] for cell in found])
    if header == "verdict":
        return Column(header, [Text(word, _STYLES[word]) for word in found], rank, right=False)
    return Column(header, found, rank, right=header != "statistic")


def _say_indented(console: Console, sentence: str) -> None:
    if console.is_terminal:
        console.print(Padding(Text(sentence), (0, 0, 0, 2), expand=False), highlight=False)
    else:
        say(console, f"  {sentence}")


def _say_more(console: Console, count: int, what: str) -> None:
    if count > 0:
        say(console, f"and {count_of(count, f'more {what}')} (--json has all)", "dim")


def report_text(outcome: Outcome) -> str:
    """The report that `gradlab check` prints, as plain text."""
    text = io.StringIO()
    print_outcome(Console(file=text, force_terminal=False, no_color=True), outcome)
    return text.getvalue().strip()
