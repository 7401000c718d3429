"""The outcome of a check as annotations of GitHub Actions, which shows ten for a step and drops the rest in silence."""

from __future__ import annotations

from pathlib import Path

from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION, Change
from gradlab.analysis.gate.outcome import Outcome
from gradlab.report.gate.cells import cells

SHOWN = 9
"""Annotations of single changes; the tenth says how many there are."""


def workflow_commands(outcome: Outcome, config: Path) -> list[str]:
    """Workflow commands: the worst changes, and a last one with the verdict and the count of the others.

    Args:
        config: the file to which they are attached.
    """
    found = [("error", change) for change in outcome.judged.of(REGRESSION)]
    found += [("warning", change) for change in outcome.judged.of(INCONCLUSIVE)]
    lines = [_command(level, config, change.key.statistic, _told(change)) for level, change in found[:SHOWN]]
    more = f"; {len(found) - SHOWN:,} more in the job's summary" if len(found) > SHOWN else ""
    story = "\n".join(f"{network}: {sentence}" for network, told in outcome.story.items() for sentence in told)
    level = "error" if outcome.verdict in {"regression", "failed"} else "warning" if found else "notice"
    return [*lines, _command(level, config, "gradlab check", f"{outcome.headline}{more}\n{story}".strip())]


def _told(change: Change) -> str:
    row = cells(change)
    where = " ".join(f"{header} {row[header]}" for header in ("layer", "step") if row[header] != "-")
    what = f"{row['statistic']} {row['baseline']} -> {row['now']} ({row['change']})"
    return f"{row['network']} {where}: {what}, {row['verdict']}"


def _command(level: str, config: Path, title: str, message: str) -> str:
    return f"::{level} file={_property(str(config))},title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
