"""The outcome of a check as Markdown, for a pull request or a job's summary: everything that changed."""

from __future__ import annotations

from collections.abc import Sequence

from gradlab.analysis.gate.change import SAME
from gradlab.analysis.gate.outcome import Outcome
from gradlab.report.gate.cells import HEADERS, cells

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|!"})


def outcome_markdown(outcome: Outcome) -> str:
    """The verdict, the sentences, a table of what regressed or may have."""
    lines = ["## Gradient statistics", "", f"**{escaped(outcome.headline)}**", ""]
    lines += [f"- failed: {escaped(failure)}" for failure in outcome.failures]
    for network, told in outcome.story.items():
        lines += [f"### {escaped(network)}", "", *(f"- {escaped(sentence)}" for sentence in told), ""]
    offenders = [change for change in outcome.judged.changes if change.verdict != SAME]
    if offenders:
        rows = [cells(change) for change in offenders]
        lines += [
            _row(HEADERS),
            _row(["---"] * len(HEADERS)),
            *(_row([*map(escaped, row.values())]) for row in rows),
            "",
        ]
    lines += [f"- note: {escaped(note)}" for note in outcome.notes]
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return " ".join(text.split()).translate(_SPECIAL)


def _row(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"
