"""The outcome of a check as annotations of GitHub Actions, which shows ten for a step and drops the rest in silence."""

from __future__ import annotations

from pathlib import Path

from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION, SAME, Change
from gradlab.analysis.gate.outcome import Outcome
from gradlab.report.gate import words
from gradlab.report.gate.cells import cells
from gradlab.report.numbers import count_of

SHOWN = 9
"""Annotations of single changes; the tenth says what happened and how many there are."""

LONGEST = 2_000
"""Characters of a message: a page shows it whole."""


def workflow_commands(outcome: Outcome, config: Path) -> list[str]:
    """Workflow commands: the worst changes, and a last one with the verdict, what happened and the count of the others.

    A pass has nothing to point at, and so no annotation.

    Args:
        config: the file to which they are attached.
    """
    if outcome.verdict == SAME:
        return []
    found = [("error", change) for change in outcome.judged.of(REGRESSION)]
    found += [("warning", change) for change in outcome.judged.of(INCONCLUSIVE)]
    single = [_single(level, config, change) for level, change in found[:SHOWN]]
    more = [f"and {count_of(len(found) - SHOWN, 'more change')} in the job's summary"] if len(found) > SHOWN else []
    told = [words.headline(outcome), *more, *words.failures(outcome), *words.story_lines(outcome)]
    level = "warning" if outcome.verdict == INCONCLUSIVE else "error"
    return [*single, _command(level, config, "gradlab check", "\n".join(told))]


def _single(level: str, config: Path, change: Change) -> str:
    network = f"{cells(change)['network']}: " if change.network else ""
    return _command(level, config, f"gradlab check: {change.key.statistic}", f"{network}{words.in_words(change)}")


def _command(level: str, config: Path, title: str, message: str) -> str:
    shown = message if len(message) <= LONGEST else f"{message[:LONGEST]}..."
    return f"::{level} file={_property(config.as_posix())},title={_property(title)}::{_data(shown)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
