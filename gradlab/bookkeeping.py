"""What `run.json` says of a run: what made it, what recording cost, when it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gradlab.config.load import LoadedConfig
from gradlab.config.own_code import own_code
from gradlab.config.schema import OWN_DATA
from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.engine.user_code import digests
from gradlab.engine.work import Workshop
from gradlab.provenance import provenance, recording_cost
from gradlab.store.row_groups import PartFiles
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import SCHEMA_VERSION

NUMBERS_DEPEND_ON = ("gradlab", "torch", "platform")
"""Facts of run.json in which several machines at one run should agree."""


@dataclass(frozen=True)
class Written:
    """What a worker sends of a finished part: its files to be, and what the run wants to know of its trials."""

    files: PartFiles
    statuses: dict[str, str]
    training_seconds: float
    recording_seconds: float

    @classmethod
    def of(cls, files: PartFiles, histories: Sequence[TrialHistory]) -> Written:
        """A part's files with what they come from."""
        return cls(
            files,
            {history.trial_id: history.status for history in histories},
            sum(history.seconds - history.recording_seconds for history in histories),
            sum(history.recording_seconds for history in histories),
        )


@dataclass
class Tally:
    """What this invocation has done so far."""

    trained: int = 0
    failed: int = 0
    training_seconds: float = 0.0
    recording_seconds: float = 0.0

    def add(self, part: Written) -> None:
        """One more part."""
        self.trained += len(part.statuses)
        self.failed += list(part.statuses.values()).count("failed")
        self.recording_seconds += part.recording_seconds
        self.training_seconds += part.training_seconds


def differences(info: Mapping[str, Any], config: LoadedConfig) -> tuple[str, ...]:
    """What is other here than run.json says it was for the trials that are there, in sentences."""
    facts, known = provenance(config.directory), info.get("code") or {}
    code = digests((reference for _, reference in own_code(config.trials)), config.directory)
    changed = [file for file, digest in code.items() if known.get(file, digest) != digest]
    others = [
        f"{name} is {facts[name]} here, and was {info[name]} when the trials that were kept were trained"
        for name in NUMBERS_DEPEND_ON
        if info.get(name, facts[name]) != facts[name]
    ]
    told = f"{', '.join(changed)} changed since the trials that were kept were trained"
    return tuple([told, *others] if changed else others)


def note_start(
    directory: RunDirectory, config: LoadedConfig, shop: Workshop, started: datetime, how: Mapping[str, Any]
) -> None:
    """Say in run.json what makes this run.

    Args:
        started: when this invocation began; the run itself may have begun before.
        how: facts of this invocation: device, workers.
    """
    code = digests((reference for _, reference in own_code(config.trials)), config.directory)
    with directory.changed_info() as info:
        info |= {
            "schema_version": SCHEMA_VERSION,
            "name": config.experiment.name,
            "trials": len(config.trials),
            **provenance(config.directory),
            **how,
            "start": info.get("start", started.isoformat(timespec="seconds")),
            "end": None,
            "recording": info.get("recording"),
            "code": {**code, **(info.get("code") or {})},
            **_own_metrics(config.trials, shop),
        }


def note_end(directory: RunDirectory, tally: Tally, complete: bool) -> None:
    """Add to run.json what recording cost and, where all trials of the sweep are trained, when the run ended."""
    with directory.changed_info() as info:
        earlier = info.get("recording") or {}
        info["recording"] = recording_cost(
            tally.training_seconds + float(earlier.get("training_seconds", 0.0)),
            tally.recording_seconds + float(earlier.get("recording_seconds", 0.0)),
        )
        if complete:
            info["end"] = datetime.now(UTC).isoformat(timespec="seconds")


def _own_metrics(trials: Sequence[Trial], shop: Workshop) -> dict[str, dict[str, list[str]]]:
    """What the metric is called on data of the user's own, whose task the tables don't tell."""
    found: dict[str, set[str]] = {}
    for trial in trials:
        if trial.data.name in OWN_DATA:
            found.setdefault(trial.data.name, set()).add(shop.task(trial).metric)
    return {"metrics": {name: sorted(metrics) for name, metrics in found.items()}} if found else {}
