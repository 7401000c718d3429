"""Trials that failed, with their errors and where in the config the cause is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradlab.config.load import LoadedConfig
from gradlab.config.sweep import Trial
from gradlab.report.naming import settings_line
from gradlab.report.numbers import count_of
from gradlab.store.reading import read_trials
from gradlab.store.rundir import RunDirectory

MOST_ERRORS = 5
"""Different errors that are shown."""

_MOST_NETWORKS, _MOST_SEEDS = 3, 6


def failure_lines(config: LoadedConfig, directory: RunDirectory) -> list[str]:
    """One line for each error of the run's failed trials, as a compiler writes it: place, what failed, the error."""
    frame = read_trials([directory]).frame
    failed = frame[frame["status"] == "failed"]
    errors: Mapping[str, str] = dict(zip(failed["trial_id"], failed["error"], strict=True))
    grouped: dict[tuple[str, str], dict[str, list[int]]] = {}
    for trial in config.trials:
        if trial.trial_id in errors:
            of_error = grouped.setdefault((config.place_of(*_cause(trial)), errors[trial.trial_id]), {})
            of_error.setdefault(settings_line(trial.point), []).append(trial.seed)
    lines = [
        f"{place}: failed for {_networks(networks)}: {error}"
        for (place, error), networks in list(grouped.items())[:MOST_ERRORS]
    ]
    more = len(grouped) - MOST_ERRORS
    return [*lines, f"{more} more errors stand in the column `error` of {directory.path}/trials"] if more > 0 else lines


def _cause(trial: Trial) -> tuple[str, str | None]:
    """The setting that names the code of the user's own that a trial runs, and its value."""
    if trial.model.factory is not None:
        return "model.factory", trial.model.factory
    if trial.model.activation.is_function:
        return "model.activation", trial.model.activation.name
    return "model", None


def _networks(networks: Mapping[str, Sequence[int]]) -> str:
    """The settings and seeds that an error stopped: `depth=2, seeds 0, 1; depth=3, seed 0`."""
    shown = [f"{settings}, {_seeds(seeds)}" if settings else _seeds(seeds) for settings, seeds in networks.items()]
    more = len(shown) - _MOST_NETWORKS
    return "; ".join(shown[:_MOST_NETWORKS]) + (f" and {count_of(more, 'more network')}" if more > 0 else "")


def _seeds(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, seeds[:_MOST_SEEDS]))
    return f"seed{'s' if len(seeds) > 1 else ''} {shown}{', ...' if len(seeds) > _MOST_SEEDS else ''}"
