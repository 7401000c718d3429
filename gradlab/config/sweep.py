"""From one experiment to its trials: points of the sweep, trial identities, the config digest."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradlab.config.choices import Choice
from gradlab.config.schema import Data, Experiment, Model, Record, Section, Sweep, Train

SECTIONS: dict[str, type[Section]] = {"data": Data, "model": Model, "train": Train, "record": Record}
"""The parts of the config whose fields can be swept."""

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

_BUILT_IN_ONLY = ("depth", "width", "activation", "init", "norm", "residual")


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
        if self.model.family == "custom":
            columns.update(dict.fromkeys(_BUILT_IN_ONLY))
        return columns | {path: value for path, value in self.point.items() if path not in TRIAL_COLUMNS}

    def _setting(self, path: str) -> Any:
        section, name = path.split(".")
        return getattr(getattr(self, section), name)


def _shown(value: Any) -> Any:
    """A setting as a table cell: numbers, strings and booleans as they are, anything else by its label or as JSON."""
    if hasattr(value, "label"):
        return value.label
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def points(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """The points of a sweep as {field path: raw value}: grid x zip, then include; `exclude` is not yet applied."""
    axes: list[list[dict[str, Any]]] = [[{path: value} for value in values] for path, values in sweep.grid.items()]
    for mapping in sweep.zip:
        axes.append([dict(zip(mapping, row, strict=True)) for row in zip(*mapping.values(), strict=True)])
    if axes or not sweep.include:
        for combination in itertools.product(*axes):
            yield {path: value for part in combination for path, value in part.items()}
    yield from sweep.include


def count_points(sweep: Sweep) -> int:
    """How many points `points` yields, without making them."""
    sizes = [len(values) for values in sweep.grid.values()]
    sizes += [max((len(values) for values in mapping.values()), default=0) for mapping in sweep.zip]
    return (math.prod(sizes) if sizes or not sweep.include else 0) + len(sweep.include)


def expand(experiment: Experiment) -> list[Trial]:
    """Every trial of the experiment: the points in order, each with all seeds; a repeated trial stands once.

    Raises:
        pydantic.ValidationError: a point whose values do not go together.
    """
    base = {name: getattr(experiment, name).model_dump() for name in SECTIONS}
    resolve = _SectionCache(base)
    grid_points = count_points(experiment.sweep) - len(experiment.sweep.include)
    trials: dict[str, Trial] = {}
    for number, point in enumerate(points(experiment.sweep)):
        sections = resolve(point)
        excluded = number < grid_points and any(
            _matches(sections, pattern, resolve) for pattern in experiment.sweep.exclude
        )
        if excluded:
            continue
        digest = hashlib.sha256("\n".join(_canonical(sections[name]) for name in SECTIONS).encode())
        shown = {path: _shown(_at(sections, path)) for path in experiment.sweep.paths()}
        for seed in experiment.seed_list:
            whole = digest.copy()
            whole.update(f"\nseed {seed}".encode())
            trial_id = whole.hexdigest()[:16]
            trials.setdefault(trial_id, Trial(trial_id, seed, **sections, point=shown))
    return list(trials.values())


def config_digest(experiment: Experiment) -> str:
    """64 hex digits that identify the config's content: every resolved field but `name`."""
    content = experiment.model_dump(exclude={"name"}, exclude_none=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def run_name(experiment: Experiment) -> str:
    """The name of the run directory, `<name>-<first 8 hex digits of the config digest>`."""
    return f"{experiment.name}-{config_digest(experiment)[:8]}"


def place(raw: dict[str, Any], path: str, value: Any) -> None:
    """Set the field at a dotted `path` of a raw config in place; a choice given by its name becomes a mapping."""
    *parents, last = path.split(".")
    for key in parents:
        inner = raw.get(key)
        if isinstance(inner, str):
            inner = {"name": inner}
        raw[key] = dict(inner) if isinstance(inner, dict) else {}
        raw = raw[key]
    raw[last] = value


class _SectionCache:
    """Resolves a point to validated sections, each distinct section once."""

    def __init__(self, base: dict[str, dict[str, Any]]) -> None:
        self._base = base
        self._known: dict[tuple[str, str], Section] = {}

    def __call__(self, point: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.section(name, point) for name in SECTIONS}

    def section(self, name: str, point: Mapping[str, Any]) -> Section:
        changes = {path: value for path, value in point.items() if path.startswith(f"{name}.")}
        key = (name, json.dumps(changes, default=str))
        if key not in self._known:
            raw: dict[str, Any] = {name: dict(self._base[name])}
            for path, value in changes.items():
                place(raw, path, value)
            self._known[key] = SECTIONS[name].model_validate(raw[name]).resolved()
        return self._known[key]


def _matches(sections: Mapping[str, Any], pattern: Mapping[str, Any], resolve: _SectionCache) -> bool:
    """Whether a trial has every setting of `pattern`; a list in it means any of its values."""
    for path, wanted in pattern.items():
        actual = _at(sections, path)
        options = wanted if isinstance(wanted, list) else [wanted]
        if not any(actual == option or actual == _at_option(path, option, resolve) for option in options):
            return False
    return True


def _at_option(path: str, option: Any, resolve: _SectionCache) -> Any:
    section = path.split(".")[0]
    return _at({section: resolve.section(section, {path: option})}, path)


def _at(sections: Mapping[str, Any], path: str) -> Any:
    """The resolved value at a field path; None where the path leads nowhere."""
    value: Any = sections
    for key in path.split("."):
        if isinstance(value, Choice):
            value = dict(value.parameters).get(key)
        else:
            value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    return value


def _canonical(section: Section) -> str:
    return section.model_dump_json(exclude_none=True)
