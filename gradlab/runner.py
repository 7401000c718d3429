"""The one module that joins training and tables: plan, execute, store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from gradlab.config.dump import to_yaml
from gradlab.config.load import LoadedConfig
from gradlab.config.own_code import own_code
from gradlab.config.schema import OWN_DATA
from gradlab.config.sweep import TRIAL_COLUMNS, Trial, config_digest
from gradlab.engine.history import TrialHistory
from gradlab.engine.stacks import Part, plan
from gradlab.engine.user_code import digests
from gradlab.engine.work import Workshop
from gradlab.errors import ConfigError, MachineError, Problem, SettingError, UsageError
from gradlab.execution import Listener, execute, worker_count
from gradlab.interrupts import noted
from gradlab.preparing import prepare as load
from gradlab.provenance import provenance, recording_cost
from gradlab.store.row_groups import PartFiles
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import SCHEMA_VERSION, column_type
from gradlab.tabulate import tabulate

INTERRUPTED = "interrupted; finished trials are kept, the same command continues"


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        workers: processes; None for one per core.
        device: auto, cpu, cuda or mps.
        fresh: start over.
        fail_fast: stop at the first failed trial.
    """

    workers: int | None = None
    device: str = "auto"
    fresh: bool = False
    fail_fast: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        trained: trials that were trained now.
        failed: trials that failed, in all.
        missing: trials that are still to be trained.
        changed: files of the user's own that have changed since the trials that were kept were trained.
    """

    directory: RunDirectory
    trained: int
    failed: int
    missing: int
    seconds: float
    changed: tuple[str, ...] = ()


def run(config: LoadedConfig, out: Path, options: Options, listener: Listener) -> Outcome:
    """Train what is not finished yet of a config's trials, and store it.

    Raises:
        UsageError: a setting, device or directory that cannot be used.
        MachineError: the machine said no; what is finished is kept.
        KeyboardInterrupt: interrupted; what is finished is kept.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    device = choose_device(options.device)
    shop = prepare(config, device)
    experiment = config.experiment
    identity = (experiment.name, config_digest(experiment), to_yaml(experiment))
    extra = extra_columns(config.trials)

    def written(part: Part, histories: list[TrialHistory]) -> _Written:
        tables = tabulate(part.trials, histories, directory.path.name, experiment.diagnosis, extra)
        return _Written.of(PartFiles.of(tables.by_name()), histories)

    with RunDirectory.held(out, *identity, options.fresh) as directory, noted(INTERRUPTED) as pause:
        finished = directory.finished_trials()
        code = digests((reference for _, reference in own_code(config.trials)), config.directory)
        known = directory.read_info().get("code") or {}
        changed = tuple(file for file, digest in code.items() if finished and known.get(file, digest) != digest)
        parts = _pending(config.trials, shop, directory, finished)
        workers = worker_count(options.workers, device, len(parts))
        listener.begin(config.trials, finished, len(parts))
        tally = _Tally()
        if parts:
            info = _info(config, directory, device, workers, started)
            directory.write_info(info | {"code": {**code, **known}, **_own_metrics(config.trials, shop)})
            try:
                with closing(execute(parts, shop, device, workers, listener, written, pause)) as results:
                    for part, result in results:
                        directory.place_part(part.part_id, result.files)
                        tally.add(result)
                        listener.stored(result.statuses)
                        if tally.failed and options.fail_fast:
                            break
            except BaseException:
                # What went wrong is to be told, not that this can't be noted on the same full disk.
                with suppress(MachineError):
                    _finish_info(directory, tally, len(config.trials) - len(finished))
                raise
            _finish_info(directory, tally, len(config.trials) - len(finished))
    failed = tally.failed + sum(status == "failed" for status in finished.values())
    missing = len(config.trials) - len(finished) - tally.trained
    return Outcome(directory, tally.trained, failed, missing, time.monotonic() - clock, changed)


@dataclass(frozen=True)
class _Written:
    """What a worker sends of a finished part: its files to be, and what the run wants to know of its trials."""

    files: PartFiles
    statuses: dict[str, str]
    training_seconds: float
    recording_seconds: float

    @classmethod
    def of(cls, files: PartFiles, histories: Sequence[TrialHistory]) -> _Written:
        return cls(
            files,
            {history.trial_id: history.status for history in histories},
            sum(history.seconds - history.recording_seconds for history in histories),
            sum(history.recording_seconds for history in histories),
        )


@dataclass
class _Tally:
    """What this invocation has done so far."""

    trained: int = 0
    failed: int = 0
    training_seconds: float = 0.0
    recording_seconds: float = 0.0

    def add(self, part: _Written) -> None:
        self.trained += len(part.statuses)
        self.failed += list(part.statuses.values()).count("failed")
        self.recording_seconds += part.recording_seconds
        self.training_seconds += part.training_seconds


def prepare(config: LoadedConfig, device: torch.device) -> Workshop:
    """Load everything that the config's trials need.

    Raises:
        ConfigError: data, a function or a factory that cannot be used, with its place in the config.
    """
    try:
        return load(config.trials, config.directory, device)
    except SettingError as error:
        raise ConfigError([Problem(config.place_of(error.setting, error.value), str(error))]) from error


def choose_device(name: str) -> torch.device:
    """The device that `name` (auto, cpu, cuda or mps) means on this machine.

    Raises:
        UsageError: there is no such device here.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        # Apple's GPU has no float64, in which statistics are measured: it is no automatic choice.
        return torch.device("cuda" if available["cuda"] else "cpu")
    if not available.get(name, False):
        usable = ", ".join(device for device, there in available.items() if there)
        raise UsageError(f"--device {name}: this machine has {usable}")
    if name == "mps":
        raise UsageError("--device mps: statistics are measured in float64, which this device lacks; use cpu")
    return torch.device(name)


def extra_columns(trials: Sequence[Trial]) -> dict[str, pa.DataType]:
    """Swept fields without a column of their own -> the type of the column under their path."""
    paths = dict.fromkeys(path for trial in trials for path in trial.point if path not in TRIAL_COLUMNS)
    return {path: column_type(trial.point.get(path) for trial in trials) for path in paths}


def _pending(
    trials: Sequence[Trial], shop: Workshop, directory: RunDirectory, finished: Mapping[str, str]
) -> list[Part]:
    """The parts that remain to be done.

    The plan depends on the config alone, so a continued run has the parts that the first had. Should it have been
    planned otherwise (by another release), parts that a crash left half written keep their trials, and what
    remains is planned anew.
    """
    parts = plan(trials, shop.positions)
    known = {part.part_id for part in parts}
    strays = {part_id: set(ids) for part_id, ids in directory.unfinished_parts().items() if part_id not in known}
    by_id = {trial.trial_id for trial in trials}
    taken = {trial_id for ids in strays.values() for trial_id in ids} | finished.keys()
    if all(taken.isdisjoint(ids) or taken >= ids for ids in ({t.trial_id for t in p.trials} for p in parts)):
        remaining = [part for part in parts if taken.isdisjoint(trial.trial_id for trial in part.trials)]
    else:
        remaining = plan([trial for trial in trials if trial.trial_id not in taken], shop.positions)
    for part_id, ids in strays.items():
        if ids <= by_id:
            stacks = [s for p in plan([t for t in trials if t.trial_id in ids], shop.positions) for s in p.stacks]
            remaining.append(Part(part_id, tuple(stacks), 0.0))
    return remaining


def _info(
    config: LoadedConfig, directory: RunDirectory, device: torch.device, workers: int, started: datetime
) -> dict[str, Any]:
    before = directory.read_info()
    return {
        "schema_version": SCHEMA_VERSION,
        "name": config.experiment.name,
        "trials": len(config.trials),
        **provenance(config.directory),
        "device": device.type,
        "workers": workers,
        "start": before.get("start", started.isoformat(timespec="seconds")),
        "end": None,
        "recording": before.get("recording"),
    }


def _own_metrics(trials: Sequence[Trial], shop: Workshop) -> dict[str, dict[str, list[str]]]:
    """What the metric is called on data of the user's own, whose task the tables don't tell."""
    found: dict[str, set[str]] = {}
    for trial in trials:
        if trial.data.name in OWN_DATA:
            found.setdefault(trial.data.name, set()).add(shop.task(trial).metric)
    return {"metrics": {name: sorted(metrics) for name, metrics in found.items()}} if found else {}


def _finish_info(directory: RunDirectory, tally: _Tally, wanted: int) -> None:
    """Add to run.json what recording cost and, where all `wanted` trials were trained, when the run ended."""
    info = directory.read_info()
    earlier = info.get("recording") or {}
    info["recording"] = recording_cost(
        tally.training_seconds + float(earlier.get("training_seconds", 0.0)),
        tally.recording_seconds + float(earlier.get("recording_seconds", 0.0)),
    )
    info["end"] = datetime.now(UTC).isoformat(timespec="seconds") if tally.trained == wanted else None
    directory.write_info(info)
