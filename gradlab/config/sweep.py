"""From one experiment to its trials: points of the sweep, trial identities, the config digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradlab.config.fields import SECTIONS as SECTIONS
from gradlab.config.points import Failure as Failure
from gradlab.config.points import count_points as count_points
from gradlab.config.points import place as place
from gradlab.config.points import points as points
from gradlab.config.points import value_at, walk
from gradlab.config.schema import Data, Experiment, Model, Record, Section, Sweep, Train

TRIAL_COLUMNS = {
    "data.name": "data",
    "model.family": "family",
    "model.depth": "depth",
    "model.width": "width",
    "model.activation": "activation",
    "model.init": "init",
    "model.norm": "norm",
    "model.residual": "residual",
    "train.optimizer": "optimizer",
    "train.lr": "lr",
    "train.batch_size": "batch_size",
    "train.steps": "steps",
}
"""Field path -> its column in the trials table, for fields that every trial shows; others stand under their path."""


@dataclass(frozen=True)
class Trial:
    """One network to train: its settings, seed and identity.

    Attributes:
        trial_id: 16 hex digits, from the settings and the seed alone.
        point: the swept field paths with this trial's values, as tables show them.
    """

    trial_id: str
    seed: int
    data: Data
    model: Model
    train: Train
    record: Record
    point: Mapping[str, Any] = field(default_factory=dict)

    def factors(self) -> dict[str, Any]:
        """The factor columns of the trials table, in order: the fixed ones, then other swept fields by path."""
        columns = {column: _shown(self._setting(path)) for path, column in TRIAL_COLUMNS.items()}
        columns.update(dict.fromkeys(key for key in self.model.unused_fields() if key in columns))
        return columns | {path: value for path, value in self.point.items() if path not in TRIAL_COLUMNS}

    def _setting(self, path: str) -> Any:
        section, name = path.split(".")
        return getattr(getattr(self, section), name)


def _shown(value: Any) -> Any:
    """A setting as a table cell: numbers, strings and booleans as they are, anything else by its label or as JSON."""
    if hasattr(value, "label"):
        return value.label
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


@dataclass(frozen=True)
class Expansion:
    """A sweep spread out.

    Attributes:
        trials: the points in order, each with all seeds; a repeated trial stands once.
        repeated: how many repetitions were left out.
        unmatched: the indices of `exclude` entries that match no point.
        failures: each kind of failure once; its points are not among the trials.
    """

    trials: tuple[Trial, ...]
    repeated: int
    unmatched: tuple[int, ...]
    failures: tuple[Failure, ...]


def expansion(experiment: Experiment) -> Expansion:
    """Spread an experiment out into its trials."""
    base = {name: getattr(experiment, name) for name in SECTIONS}
    swept = {path: path.split(".") for path in experiment.sweep.paths()}
    trials: dict[str, Trial] = {}
    failures: dict[Any, Failure] = {}
    matched = 0
    count = 0
    for step in walk(experiment.sweep, base):
        matched |= step.matches
        if step.excluded:
            continue
        if step.failures:
            _keep_first(failures, step.failures)
            continue
        sections: dict[str, Any] = {name: known.section for name, known in step.sections.items()}
        digest = hashlib.sha256(b"\n".join(known.canonical for known in step.sections.values()))
        shown = {path: _shown(value_at(sections, keys)) for path, keys in swept.items()}
        for seed in experiment.seed_list:
            whole = digest.copy()
            whole.update(b"\nseed %d" % seed)
            trial_id = whole.hexdigest()[:16]
            count += 1
            if trial_id not in trials:
                trials[trial_id] = Trial(trial_id, seed, **sections, point=shown)
    unmatched = tuple(index for index in range(len(experiment.sweep.exclude)) if not matched >> index & 1)
    return Expansion(tuple(trials.values()), count - len(trials), unmatched, tuple(failures.values()))


def joint_failures(sweep: Sweep, base: Mapping[str, Section]) -> tuple[Failure, ...]:
    """The failures of a sweep in the sections of `base`, which need not be all sections."""
    failures: dict[Any, Failure] = {}
    for step in walk(sweep, base):
        if not step.excluded:
            _keep_first(failures, step.failures)
    return tuple(failures.values())


def _keep_first(failures: dict[Any, Failure], more: dict[Any, Failure]) -> None:
    for key, failure in more.items():
        failures.setdefault(key, failure)


def expand(experiment: Experiment) -> list[Trial]:
    """Every trial of the experiment: the points in order, each with all seeds; a repeated trial stands once.

    Raises:
        ValueError: a point whose values do not go together (a pydantic.ValidationError within one section).
    """
    expanded = expansion(experiment)
    for failure in expanded.failures:
        raise failure.error
    return list(expanded.trials)


def config_digest(experiment: Experiment) -> str:
    """64 hex digits that identify what is run: every resolved field but `name` and `check`, which change no run."""
    content = experiment.model_dump(exclude={"name", "check"}, exclude_none=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def run_name(experiment: Experiment) -> str:
    """The name of the run directory, `<name>-<first 8 hex digits of the config digest>`."""
    return f"{experiment.name}-{config_digest(experiment)[:8]}"
