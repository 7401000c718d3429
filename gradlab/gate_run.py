"""`gradlab check` of a run directory: what stands in its tables against a baseline; nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from gradlab.analysis.gate.judge import judge, thresholds
from gradlab.analysis.gate.matching import matches, seeds_pair_up
from gradlab.analysis.gate.names import network_name
from gradlab.analysis.gate.outcome import Outcome
from gradlab.analysis.gate.resampling import LEVEL
from gradlab.config.bounded import read_bounded
from gradlab.config.document import Place
from gradlab.config.dump import differing_settings
from gradlab.config.positions import read_yaml
from gradlab.config.schema import MIN_CHECK_SEEDS, Check
from gradlab.errors import BaselineError, ConfigError, UsageError
from gradlab.observe_run import Recorded, measure_run
from gradlab.store.baseline import check_target, write_baseline
from gradlab.store.measurement import RECORDED, Measurement
from gradlab.store.rundir import CONFIG_NAME, RunDirectory

MAX_CONFIG_BYTES = 2**21
"""The largest config of a run that is read: twice the largest that a user may write."""


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # tables may hold anything: what comes of it is NaN
def check_run(run: RunDirectory, baseline: Measurement, source: str, remedy: str) -> tuple[Outcome, tuple[str, ...]]:
    """Compare the tables of a run with a baseline, and say what was left out.

    Args:
        source: what to call the baseline in messages.
        remedy: the command that makes a right baseline.

    Raises:
        UsageError: the run can't be measured; the message says why.
        BaselineError: the baseline is of something else, or has too few seeds for any change to show.
    """
    if baseline.config != RECORDED:
        raise BaselineError(f"{source}: the baseline of a config, not of a run directory; {remedy}")
    found = measure_run(run)
    known = [network for network in baseline.networks if network.settings not in found.failed]
    baseline, now = replace(baseline, networks=tuple(known)), _with_seeds(found.measurement, baseline.seeds)
    _check_comparable(baseline, now, f"{source}: ", remedy)
    baseline, now = _told_apart(baseline, now)
    judged = judge(baseline, now, thresholds(_limits(run)))
    return Outcome(judged, baseline, now, source, found.failures), found.notes


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def make_run_baseline(run: RunDirectory, path: Path) -> Recorded:
    """Write the baseline of a run; where trials failed, what is there stays as it is.

    Raises:
        UsageError: the run can't be measured, or has seeds so few that no change could show; something else than a
            baseline stands at `path`.
    """
    check_target(path)
    found = measure_run(run)
    count = len(found.measurement.seeds)
    if 1 < count < MIN_CHECK_SEEDS:
        told = f"{run.path} has {count} seeds; a baseline needs {MIN_CHECK_SEEDS} at least, or one alone"
        raise UsageError(f"{told}: with so few no change can be told from chance")
    if not found.failures:
        write_baseline(path, found.measurement)
    return found


def _limits(run: RunDirectory) -> Check:
    """The `check` section of the run's config; the defaults where there is none.

    Raises:
        UsageError, ConfigError: it can't be read; the message says where.
    """
    path = run.path / CONFIG_NAME
    try:
        text = read_bounded(path, MAX_CONFIG_BYTES).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: its section `check` can't be read (not UTF-8 text)") from None
    document = read_yaml(text, lambda line, column: Place(0, line, column, f"{path}:{line}:{column}"))
    if document.problems:
        raise ConfigError(document.sorted_problems())
    if not isinstance(document.root, dict | None):
        raise UsageError(f"{document.at_value(()).text}: its section `check` can't be read (a config is a mapping)")
    try:
        return Check.model_validate(document.get("check") or {})
    except ValidationError as error:
        fault = error.errors()[0]
        place = document.at_value(("check", *fault["loc"])).text
        raise UsageError(f"{place}: its section `check` can't be read ({fault['msg']})") from None


def _with_seeds(measured: Measurement, seeds: Sequence[int]) -> Measurement:
    """The measurement with the baseline's seeds alone, where it has all of them."""
    if measured.seeds == tuple(seeds) or not set(seeds) <= set(measured.seeds):
        return measured
    places = [measured.seeds.index(seed) for seed in seeds]
    networks = [
        replace(
            network,
            values={key: values[places] for key, values in network.values.items()},
            weight_prints=network.weight_prints[:, places] if network.weight_prints.size else network.weight_prints,
            diverged=tuple(network.diverged[place] for place in places),
        )
        for network in measured.networks
    ]
    return replace(measured, seeds=tuple(seeds), networks=tuple(networks))


def _check_comparable(baseline: Measurement, now: Measurement, source: str, remedy: str) -> None:
    both, gone, added = matches(baseline, now)
    if gone and added and not both:
        told = differing_settings({"settings": gone[0].settings}, {"settings": added[0].settings})
        raise BaselineError(f"{source}the baseline of other trainings: {told or 'other settings'}; {remedy}")
    for match in both:
        if match.baseline.steps != match.now.steps:
            before, after = (_listed(one.steps.values()) for one in (match.baseline, match.now))
            told = f"{network_name(match.now.settings)} was recorded at steps {after}, the baseline at {before}"
            raise BaselineError(f"{source}{told}; a training must have come to its end to be compared; {remedy}")
    if not both:
        return
    sizes = len(baseline.seeds), len(now.seeds)
    if seeds_pair_up(baseline, now, both):
        enough = sizes[0] == 1 or sizes[0] >= MIN_CHECK_SEEDS
    elif max(sizes) == 1:
        told = "the training started from other weights than the baseline's, or nobody knows from which"
        cure = "call torch.manual_seed before the model is made, or record nine seeds or more"
        raise BaselineError(f"{source}{told}, and one sample can't tell that from a change; {cure}; {remedy}")
    else:
        enough = (2 if sizes[0] == sizes[1] else 1) / math.comb(sum(sizes), sizes[0]) <= LEVEL
    if not enough:
        told = f"seeds: {sizes[1]} against the baseline's {sizes[0]} can't show that anything is more than chance"
        raise BaselineError(f"{source}{told}; record more seeds, or the baseline's own; {remedy}")


def _told_apart(baseline: Measurement, now: Measurement) -> tuple[Measurement, Measurement]:
    """Networks by the settings alone in which some differ, as they are named in sentences."""
    every = [network.settings for side in (baseline, now) for network in side.networks]
    names = dict.fromkeys(name for settings in every for name in settings)
    varying = [name for name in names if len({repr(settings.get(name)) for settings in every}) > 1]

    def short(side: Measurement) -> Measurement:
        networks = (
            replace(one, settings={name: one.settings[name] for name in varying if name in one.settings})
            for one in side.networks
        )
        return replace(side, networks=tuple(networks))

    return short(baseline), short(now)


def _listed(steps: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(steps)))
