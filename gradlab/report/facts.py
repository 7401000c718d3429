"""The facts of a run's `run.json` for people: what made it, what recording cost, what could not be recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from gradlab.report.numbers import count_of, percent

MOST_NOTES = 10
"""Different notes that are shown."""

_UNINTERESTING = {"schema_version", "config_digest", "weight_prints", "code", "metrics", "notes"}


def facts_line(info: Mapping[str, Any]) -> str:
    """What a person wants to know of where a run's numbers come from, in one line."""
    said = []
    for key, value in info.items():
        if key in _UNINTERESTING or value is None:
            continue
        if key == "recording":
            cost = recording_cost(info)
            said += [] if cost is None else [cost]
        else:
            said.append(f"{key}: {value if isinstance(value, str) else json.dumps(value, default=str)}")
    return "; ".join(said)


def recording_cost(info: Mapping[str, Any]) -> str | None:
    """What recording cost beside the training, of all trials together; None where nobody knows.

    A run of `gradlab run` has one account for all of its trials, one of watched trainings has one for each.
    """
    accounts = info.get("recording") or {}
    if "training_seconds" in accounts:
        accounts = {"": accounts}
    training, recording = (
        sum(float(account.get(name) or 0.0) for account in accounts.values() if isinstance(account, Mapping))
        for name in ("training_seconds", "recording_seconds")
    )
    return f"recording took {percent(recording / training)} on top of training" if training > 0 else None


def note_lines(info: Mapping[str, Any], trials: Iterable[str] | None = None) -> list[str]:
    """What a run's trials could not be asked, each note once, and how many more there are.

    Args:
        trials: the ids of those that matter; all if None.
    """
    by_trial = info.get("notes") or {}
    chosen = by_trial if trials is None else [trial for trial in dict.fromkeys(trials) if trial in by_trial]
    notes = list(dict.fromkeys(str(note) for trial in chosen for note in by_trial[trial]))
    lines = [f"note: {note}" for note in notes[:MOST_NOTES]]
    more = len(notes) - MOST_NOTES
    return [*lines, f"{count_of(more, 'more note')} in run.json"] if more > 0 else lines
