"""Overrides from the command line: `model.depth=20` put into the config before anything is checked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from gradlab.config.document import Document, Loc, Place, dotted, shorten
from gradlab.config.fields import ALL_SECTIONS, CHOICES, SECTIONS, SWEEP_PATHS, did_you_mean, is_free
from gradlab.config.positions import read_yaml
from gradlab.config.schema import Experiment
from gradlab.errors import ConfigError

_GRID = "sweep.grid."


def apply_overrides(document: Document, overrides: Sequence[str]) -> list[str]:
    """Put each `PATH=VALUE` into the document, in order; what is wrong with one goes into its problems.

    Returns:
        A note for each swept field that an override takes out of the sweep.
    """
    notes: list[str] = []
    for number, override in enumerate(overrides, start=1):
        place = Place(number, 0, 0, f"--set {shorten(override, 200)}")
        path, equals, text = override.partition("=")
        path = path.strip()
        if not equals or not path:
            document.report(place, "an override reads PATH=VALUE, such as model.depth=20")
            continue
        loc = _location(path)
        if loc is None:
            known = [*Experiment.model_fields, *_option_paths(), *SWEEP_PATHS]
            document.report(place, f"unknown key '{shorten(path)}'", partial(did_you_mean, path, known))
            continue
        value = _read(document, text, place)
        if value is None:
            continue
        if path.split(".")[0] in SECTIONS:
            notes += _take_out_of_sweep(document, path, place)
        _put(document, loc, value)
    return notes


def _option_paths() -> list[str]:
    return [f"{name}.{key}" for name in ("diagnosis", "check", "sweep") for key in ALL_SECTIONS[name].model_fields]


def _location(path: str) -> Loc | None:
    """Where the field at `path` stands in a config; None if there is no such field."""
    if path.startswith(_GRID) and path != _GRID:
        return ("sweep", "grid", path.removeprefix(_GRID))
    steps = path.split(".")
    parents = [".".join(steps[:length]) for length in range(1, len(steps))]
    if path in Experiment.model_fields or path in _option_paths() or path in SWEEP_PATHS or is_free(path):
        return tuple(steps)
    # An unknown parameter of a choice is left to the choice, which names those that it has.
    return tuple(steps) if len(steps) == 3 and parents[-1] in CHOICES and steps[2] else None


def _read(document: Document, text: str, place: Place) -> Document | None:
    """The value of an override, every part of which stands at the override; None if it is not YAML."""
    try:
        value = read_yaml(text, lambda _line, _column: place)
    except ConfigError as error:
        for problem in error.problems:
            document.report(place, problem.message)
        return None
    for _, message, _ in value.problems:
        document.report(place, message)
    return value


def _put(document: Document, loc: Loc, value: Document) -> None:
    place = value.at_value(())
    container: Any = document.root
    for depth, step in enumerate(loc[:-1], start=1):
        inner = container.get(step)
        path = dotted(loc[:depth])
        if inner is None:
            inner = {"name": _default_choice(path)} if path in CHOICES else {}
            document.keys[loc[:depth]] = document.values[loc[:depth]] = place
        elif isinstance(inner, str) and path in CHOICES:
            inner = {"name": inner}
            document.values[(*loc[:depth], "name")] = document.values[loc[:depth]]
        elif not isinstance(inner, dict):
            # The file's own value is at fault here, and is reported.
            return
        container[step] = inner
        container = inner
    if loc[-1] in container:
        document.remove([loc])
    container[loc[-1]] = value.root
    document.keys[loc] = place
    document.values.update({(*loc, *inside): place for inside in value.values})
    document.keys.update({(*loc, *inside): place for inside in value.keys})


def _default_choice(path: str) -> str:
    section, key = path.split(".")
    return str(SECTIONS[section].model_fields[key].default.name)


def _take_out_of_sweep(document: Document, path: str, place: Place) -> list[str]:
    """Remove `path`, and the paths inside it, from grid, zip and include: the override wins."""
    removed: dict[str, None] = {}
    gone: list[Loc] = []
    for block in _blocks(document):
        mapping = document.get(*block)
        own = [key for key in mapping if key == path or key.startswith(f"{path}.")]
        for key in mapping:
            if path.startswith(f"{key}."):
                document.report(place, f"'{key}' is swept, which decides '{path}' too; override '{key}' instead")
        removed.update(dict.fromkeys(own))
        whole = len(block) > 2 and len(own) == len(mapping) > 0
        gone += [block] if whole else [(*block, key) for key in own]
    document.remove(gone)
    return [f"{place.text}: {key} is no longer swept" for key in removed]


def _blocks(document: Document) -> list[Loc]:
    """The mappings of grid, zip and include, from the last to the first."""
    found: list[Loc] = [("sweep", "grid")]
    for kind in ("zip", "include"):
        entries = document.get("sweep", kind)
        found += [("sweep", kind, index) for index in range(len(entries) if isinstance(entries, list) else 0)]
    return [loc for loc in reversed(found) if isinstance(document.get(*loc), dict)]
