"""`gradlab check`: measure a config's networks, here or at another revision, and compare them with a baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gradlab import __version__
from gradlab.analysis.gate.judge import judge
from gradlab.analysis.gate.judge import thresholds as thresholds
from gradlab.analysis.gate.names import network_name
from gradlab.analysis.gate.outcome import Outcome
from gradlab.config.dump import as_json, differing_settings, settings
from gradlab.config.load import LoadedConfig
from gradlab.config.sweep import Trial, expand
from gradlab.engine.history import TrialHistory
from gradlab.engine.stacks import plan
from gradlab.errors import BaselineError
from gradlab.execution import Listener, execute, worker_count
from gradlab.observe import named_steps, network_statistics
from gradlab.revision import measure_at
from gradlab.runner import Options, choose_device, prepare
from gradlab.store.baseline import check_target, write_baseline
from gradlab.store.baseline_reading import from_text
from gradlab.store.measurement import FIRST, LAST, MIDDLE, RECORDED, Measurement

DEFAULT_SEEDS = 12
"""Seeds of a new baseline at least: with three to spare, seeds in which nothing changes don't hide a change."""


@dataclass(frozen=True)
class Failure:
    """A trial that failed, and why."""

    trial: Trial
    error: str

    def __str__(self) -> str:
        """The trial and its error in one line."""
        return f"{network_name(self.trial.point)} seed={self.trial.seed}: {self.error}".strip()


@dataclass(frozen=True)
class Measured:
    """What was measured of a config; networks of which a trial failed are left out."""

    measurement: Measurement
    failures: tuple[Failure, ...]


def baseline_seeds(config: LoadedConfig, start: int | None = None) -> tuple[int, ...]:
    """The seeds of a new baseline: as many as `check.seeds` says.

    Args:
        start: the first of consecutive seeds; None for the config's own seeds and, where these are too few, the
            smallest others.
    """
    own = list(config.experiment.seed_list)
    count = config.experiment.check.seeds or max(len(own), DEFAULT_SEEDS)
    if start is not None:
        return tuple(range(start, start + count))
    others = (seed for seed in range(count + len(own)) if seed not in set(own))
    return tuple((own + [next(others) for _ in range(count - len(own))])[:count])


def config_digest(config: LoadedConfig) -> str:
    """16 hex digits that identify the networks that a config makes, whatever their seeds."""
    trials = expand(config.experiment.model_copy(update={"seeds": [0]}))
    return hashlib.sha256("".join(trial.trial_id for trial in trials).encode()).hexdigest()[:16]


def measure(config: LoadedConfig, seeds: Sequence[int], options: Options, listener: Listener) -> Measured:
    """Train a config's networks with these seeds and measure them at the named steps.

    Raises:
        ConfigError, UsageError, MachineError: as `gradlab run` does.
    """
    experiment = config.experiment.model_copy(update={"seeds": list(seeds)})
    trials = [_sparsely_recorded(trial) for trial in expand(experiment)]
    config = replace(config, experiment=experiment, trials=tuple(trials))
    device = choose_device(options.device)
    shop = prepare(config, device)
    parts = plan(trials, shop.positions)
    workers = worker_count(options.workers, device, len(parts))
    listener.begin(trials, (), len(parts))
    histories: dict[str, TrialHistory] = {}
    with closing(execute(parts, shop, device, workers, listener, lambda part, found: found)) as results:
        for _, found in results:
            histories |= {history.trial_id: history for history in found}
            listener.stored({history.trial_id: history.status for history in found})
    points = [trials[start : start + len(seeds)] for start in range(0, len(trials), len(seeds))]
    failures = [Failure(trial, error) for trial in trials if (error := histories[trial.trial_id].error) is not None]
    networks = [
        network_statistics(point, [histories[trial.trial_id] for trial in point])
        for point in points
        if all(histories[trial.trial_id].error is None for trial in point)
    ]
    measurement = Measurement(
        config_digest(config), made_by(device.type), tuple(seeds), tuple(networks), settings(experiment)
    )
    return Measured(measurement, tuple(failures))


def made_by(device: str) -> dict[str, str]:
    """What numbers depend on beside the config: to be named where it differs from a baseline's."""
    return {
        "gradlab": __version__,
        "torch": torch.__version__,
        "device": device,
        "threads": str(torch.get_num_threads()),
    }


def make_baseline(
    config: LoadedConfig, path: Path, seeds_from: int | None, options: Options, listener: Listener
) -> Measured:
    """Measure a config's networks and write their baseline; where trials failed, what is there stays as it is.

    Raises:
        UsageError: something else than a baseline stands at `path`.
    """
    check_target(path)
    measured = measure(config, baseline_seeds(config, seeds_from), options, listener)
    if not measured.failures:
        write_baseline(path, measured.measurement)
    return measured


def baseline_at(revision: str, config: Path, arguments: Sequence[str], remedy: str) -> Measurement:
    """The same config measured on the code of another git revision.

    Args:
        arguments: further options of `gradlab check`.

    Raises:
        BaselineError: there is no such revision, or its code could not be measured.
    """
    return from_text(measure_at(revision, config, arguments), revision, remedy)


def check(
    config: LoadedConfig,
    baseline: Measurement,
    source: str,
    seeds_from: int | None,
    options: Options,
    listener: Listener,
    remedy: str,
) -> Outcome:
    """Measure a config's networks and compare them with a baseline.

    Args:
        source: what to call the baseline in messages.
        seeds_from: the first of as many consecutive seeds as the baseline has; None for the baseline's own.
        remedy: the command that makes a right baseline.

    Raises:
        BaselineError: the baseline is of another config.
    """
    if baseline.config == RECORDED:
        raise BaselineError(f"{source}: the baseline of a run directory, not of a config; {remedy}")
    if baseline.config != config_digest(config):
        told = differing_settings(baseline.settings, settings(config.experiment)) or "other settings"
        raise BaselineError(f"{source}: the baseline of another config: {told}; {remedy}")
    seeds = baseline.seeds if seeds_from is None else range(seeds_from, seeds_from + len(baseline.seeds))
    measured = measure(config, seeds, options, listener)
    failed = [as_json(dict(failure.trial.point)) for failure in measured.failures]
    networks = tuple(network for network in baseline.networks if network.settings not in failed)
    baseline = replace(baseline, networks=networks)
    judged = judge(baseline, measured.measurement, thresholds(config.experiment.check))
    return Outcome(judged, baseline, measured.measurement, source, tuple(map(str, measured.failures)))


def _sparsely_recorded(trial: Trial) -> Trial:
    """The trial with records at the named steps (and few others), which changes nothing about its training."""
    steps = named_steps(trial.train.steps, trial.record.every)
    every = steps.get(MIDDLE) or steps.get(LAST) or steps[FIRST] + 1
    return replace(trial, record=trial.record.model_copy(update={"every": every}))
