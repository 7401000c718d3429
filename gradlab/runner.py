"""The one module that joins training and tables: plan, execute, store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import torch

from gradlab.bookkeeping import Tally, Written, differences, note_end, note_start
from gradlab.cluster.settings import ClusterSettings
from gradlab.config.dump import to_yaml
from gradlab.config.load import LoadedConfig
from gradlab.config.sweep import TRIAL_COLUMNS, Trial, config_digest
from gradlab.engine.history import TrialHistory
from gradlab.engine.stacks import Part, plan
from gradlab.engine.work import Workshop
from gradlab.errors import ConfigError, MachineError, Problem, SettingError, UsageError
from gradlab.execution import Listener
from gradlab.interrupts import noted
from gradlab.places import Here, There
from gradlab.preparing import prepare as load
from gradlab.sharding import Shard, dealt
from gradlab.store.row_groups import PartFiles
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import column_type
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
        shard: which share of the trials is trained; None for all of them.
        cluster: the Ray cluster that trains; None for this machine.
    """

    workers: int | None = None
    device: str = "auto"
    fresh: bool = False
    fail_fast: bool = False
    shard: Shard | None = None
    cluster: ClusterSettings | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        trained: trials that were trained now.
        failed: trials that failed, in all; of a shard, those of its own.
        missing: trials of the sweep that are still to be trained.
        notes: what is other than it was when the trials that were kept were trained, in sentences.
        lacking: shard -> how many of the missing trials are its own.
    """

    directory: RunDirectory
    trained: int
    failed: int
    missing: int
    seconds: float
    notes: tuple[str, ...] = ()
    lacking: Mapping[Shard, int] = field(default_factory=dict)


def run(config: LoadedConfig, out: Path, options: Options, listener: Listener) -> Outcome:
    """Train what is not finished yet of a config's trials, or of a share of them, and store it.

    Raises:
        UsageError: a setting, device or directory that cannot be used.
        MachineError: the machine said no; what is finished is kept.
        KeyboardInterrupt: interrupted; what is finished is kept.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    place = _place(options)
    shop = prepare(config, place.device)
    experiment, shard = config.experiment, options.shard
    identity = (experiment.name, config_digest(experiment), to_yaml(experiment))
    extra = extra_columns(config.trials)

    def written(part: Part, histories: list[TrialHistory]) -> Written:
        tables = tabulate(part.trials, histories, directory.path.name, experiment.diagnosis, extra)
        return Written.of(PartFiles.of(tables.by_name()), histories)

    with (
        RunDirectory.held(out, *identity, options.fresh, None if shard is None else str(shard)) as directory,
        noted(INTERRUPTED) as pause,
    ):
        finished = directory.finished_trials()
        shares = _shares(config.trials, shop, directory, shard)
        if shard is None:
            trials, parts = config.trials, _pending(config.trials, shop, directory, finished)
        else:
            trials = tuple(trial for part in shares[shard] for trial in part.trials)
            parts = _unfinished(shares[shard], finished)
        kept = {trial.trial_id: finished[trial.trial_id] for trial in trials if trial.trial_id in finished}
        listener.begin(trials, kept, len(parts))
        notes = list(differences(directory.read_info(), config)) if finished else []
        tally = Tally()
        if parts:
            note_start(directory, config, shop, started, place.facts(len(parts)))
            try:
                with closing(place.execute(parts, shop, listener, written, pause, notes.append)) as results:
                    for part, result in results:
                        directory.place_part(part.part_id, result.files)
                        tally.add(result)
                        listener.stored(result.statuses)
                        if tally.failed and options.fail_fast:
                            break
            except BaseException:
                # What went wrong is to be told, not that this can't be noted on the same full disk.
                with suppress(MachineError):
                    note_end(directory, tally, complete=False)
                raise
        lacking = _lacking(shares, directory.finished_trials()) if shard else {}
        missing = sum(lacking.values()) if shard else len(trials) - len(kept) - tally.trained
        if parts:
            note_end(directory, tally, complete=not missing)
    failed = tally.failed + sum(status == "failed" for status in kept.values())
    return Outcome(directory, tally.trained, failed, missing, time.monotonic() - clock, tuple(notes), lacking)


def _place(options: Options) -> Here | There:
    """Where parts are trained.

    Raises:
        UsageError: there is no such device.
    """
    if options.cluster is None:
        return Here(choose_device(options.device), options.workers)
    return There(options.cluster, options.workers, options.cluster.device(options.device))


def prepare(config: LoadedConfig, device: torch.device) -> Workshop:
    """Load everything that the config's trials need.

    Raises:
        ConfigError: data, a function or a factory that cannot be used, with its place in the config.
    """
    try:
        return load(config.trials, config.directory, device)
    except SettingError as error:
        raise ConfigError([Problem(config.place_of(error.setting, error.value), str(error))]) from error


def trials_of(config: LoadedConfig, shard: Shard) -> tuple[Trial, ...]:
    """The trials that are a shard's own, in the config's order.

    Raises:
        ConfigError: data, a function or a factory that cannot be used.
    """
    parts = plan(config.trials, prepare(config, choose_device("cpu")).positions)
    own = {trial.trial_id for part in dealt(parts, shard.count)[shard.index] for trial in part.trials}
    return tuple(trial for trial in config.trials if trial.trial_id in own)


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


def _shares(
    trials: Sequence[Trial], shop: Workshop, directory: RunDirectory, shard: Shard | None
) -> dict[Shard, list[Part]]:
    """The parts of every shard; nothing where there are no shards.

    Raises:
        UsageError: the directory has parts that this plan doesn't know: who else works here may know others again.
    """
    if shard is None:
        return {}
    planned = plan(trials, shop.positions)
    standing = {path.stem for path in directory.parts("trials")} | directory.unfinished_parts().keys()
    if standing - {part.part_id for part in planned}:
        told = "was begun by another version of gradlab, which put other trials together"
        raise UsageError(f"{directory.path} {told}: continue it without --shard, or choose another folder with --out")
    return {Shard(index, shard.count): parts for index, parts in enumerate(dealt(planned, shard.count))}


def _unfinished(parts: Sequence[Part], finished: Mapping[str, str]) -> list[Part]:
    return [part for part in parts if any(trial.trial_id not in finished for trial in part.trials)]


def _lacking(shares: Mapping[Shard, Sequence[Part]], finished: Mapping[str, str]) -> dict[Shard, int]:
    """Shard -> how many of its trials are not finished, of those that have such."""
    counts = {
        shard: sum(trial.trial_id not in finished for part in parts for trial in part.trials)
        for shard, parts in shares.items()
    }
    return {shard: count for shard, count in counts.items() if count}
