"""The outcome of a check as Markdown, for a pull request or a job's summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gradlab.analysis.gate.change import SAME
from gradlab.analysis.gate.outcome import Outcome
from gradlab.report.gate import words
from gradlab.report.gate.cells import table
from gradlab.report.markup import escaped, markdown_row
from gradlab.report.numbers import count_of

BUDGET = 12_000
"""Bytes of each of the four lists in it. GitHub refuses comments over 65,536 characters, and drops the summary of a
step, to which several checks may add, over 1 MiB."""


def outcome_markdown(outcome: Outcome) -> str:
    """The verdict, the sentences, a table of what regressed or may have; of each as much as there is room for."""
    stories = [
        "\n".join([*([f"### {escaped(network)}", ""] if network else []), *_listed(sentences)])
        for network, sentences in words.stories(outcome)
    ]
    parts = [
        "## Gradient statistics",
        f"**{escaped(words.headline(outcome))}**",
        "\n".join(_within(_listed(words.failures(outcome)), "failed trial")),
        "\n\n".join(_within(stories, "network")),
        "\n".join(_table(table([change for change in outcome.judged.changes if change.verdict != SAME]))),
        "\n".join(_within(_listed(words.notes(outcome)), "note")),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _listed(lines: Iterable[str]) -> list[str]:
    return [f"- {escaped(line)}" for line in lines]


def _table(columns: Mapping[str, Sequence[str]]) -> list[str]:
    if not columns:
        return []
    rows = zip(*([escaped(cell) for cell in column] for column in columns.values()), strict=True)
    return [markdown_row([*columns]), markdown_row(["---"] * len(columns)), *_within(map(markdown_row, rows), "change")]


def _within(pieces: Iterable[str], what: str) -> list[str]:
    """The first pieces, as many as the budget has room for, and how many more there are."""
    room, shown, left_out = BUDGET, [], 0
    for piece in pieces:
        room -= len(piece.encode()) + 2
        if room >= 0:
            shown.append(piece)
        else:
            left_out += 1
    return [*shown, f"\nand {count_of(left_out, f'more {what}')} (`--json` has all)"] if left_out else shown
