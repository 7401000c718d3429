"""The outcome of a check in lines of text, wherever they are shown; names and messages are made fit for it."""

from __future__ import annotations

from gradlab.analysis.gate.change import MISSING, Change
from gradlab.analysis.gate.outcome import Outcome
from gradlab.report.gate.cells import cells, printable
from gradlab.report.numbers import NOTHING


def headline(outcome: Outcome) -> str:
    """The verdict in one line."""
    return printable(outcome.headline)


def failures(outcome: Outcome) -> list[str]:
    """What failed with an error."""
    return [f"failed: {printable(failure)}" for failure in outcome.failures]


def stories(outcome: Outcome) -> list[tuple[str, list[str]]]:
    """What regressed, in sentences, by network; a network without a name where the config sweeps nothing."""
    swept = any(network.settings for network in outcome.baseline.networks)
    return [
        (printable(network) if swept else "", [printable(sentence) for sentence in sentences])
        for network, sentences in outcome.story.items()
    ]


def story_lines(outcome: Outcome) -> list[str]:
    """The same, a line for each sentence."""
    return [
        f"{network}: {sentence}" if network else sentence
        for network, sentences in stories(outcome)
        for sentence in sentences
    ]


def notes(outcome: Outcome) -> list[str]:
    """What else to know."""
    return [f"note: {printable(note)}" for note in outcome.notes]


def in_words(change: Change) -> str:
    """A change of a network in one line."""
    row = cells(change)
    where = [f"{header} {row[header]}" for header in ("layer", "step") if row[header] != NOTHING]
    if change.reason == MISSING:
        return f"{', '.join(where) or printable(change.name) or change.key.statistic}: {change.reason}"
    interval = f", 95 % {row['95 %']}" if row["95 %"] != NOTHING else ""
    needs = f", needs {row['needs']}" if row["needs"] != NOTHING else ""
    found = f"{row['baseline']} -> {row['now']} ({row['change']}{interval})"
    return f"{', '.join([*where, row['statistic']])}: {found}, {change.verdict}{needs}"
