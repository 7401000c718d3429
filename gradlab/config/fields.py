"""Field paths such as `model.depth`: which there are, and what a value at one of them becomes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any

from gradlab.config.choices import ACTIVATIONS, INITS
from gradlab.config.document import Hint, shorten
from gradlab.config.schema import PARTIAL, Check, Data, Diagnosis, Experiment, Model, Record, Section, Sweep, Train

SECTIONS: dict[str, type[Section]] = {"data": Data, "model": Model, "train": Train, "record": Record}
"""The parts of the config whose fields can be swept."""

ALL_SECTIONS: dict[str, type[Section]] = SECTIONS | {"diagnosis": Diagnosis, "check": Check, "sweep": Sweep}
"""Every part of the config."""

CHOICES = {"model.activation": ACTIVATIONS, "model.init": INITS}
"""Fields that hold a choice with parameters, and their choices."""

PARAMETERS: dict[str, str] = {
    f"{path}.{key}": name for path, table in CHOICES.items() for name, known in table.items() for key in known
}
"""Path of a choice's parameter -> the choice that has it."""

FREE = ("data.kwargs", "model.kwargs")
"""Fields that hold keyword arguments of the user's own functions, whatever their names."""

SWEEP_PATHS = tuple(f"{name}.{key}" for name, section in SECTIONS.items() for key in section.model_fields) + tuple(
    PARAMETERS
)
"""Every path that can be swept, but for those inside `kwargs`."""


def is_free(path: str) -> bool:
    """Whether `path` leads to a keyword argument, such as `model.kwargs.heads`."""
    return any(path.startswith(f"{free}.") for free in FREE) and "" not in path.split(".")


def is_sweep_path(path: str) -> bool:
    """Whether the field at `path` can be swept."""
    return path in SWEEP_PATHS or is_free(path)


def sweep_path_problem(path: str, where: str) -> tuple[str, Hint | None] | None:
    """Why `path` cannot be a key of the part `where` of a sweep, with a hint; None if it can."""
    if is_sweep_path(path):
        return None
    top = path.split(".")[0]
    if path in SECTIONS:
        example = list(SECTIONS[path].model_fields)[1]
        return f"'{path}' in {where} is a whole section; sweep its fields, such as '{path}.{example}'", None
    if top == "seeds":
        return f"'seeds' in {where} cannot be swept: every point of the sweep runs with all seeds", None
    if top in Experiment.model_fields and top not in SECTIONS:
        return f"'{shorten(path)}' in {where} cannot be swept; only fields of {', '.join(SECTIONS)} can", None
    return f"unknown key '{shorten(path)}' in {where}", partial(did_you_mean, path, SWEEP_PATHS)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A question that names the candidate that `word` is most likely meant to be; empty if none is near."""
    known = list(dict.fromkeys(candidates))
    if len(word) > 100:
        return ""
    parent, _, last = word.lower().rpartition(".")
    siblings = {path.rpartition(".")[2]: path for path in known if path.rpartition(".")[0] == parent}
    anywhere = {path.rpartition(".")[2]: path for path in reversed(known)}
    match = (
        _nearest(last, siblings)
        or next((path for key, path in siblings.items() if len(last) > 2 and last in key), None)
        or anywhere.get(last)
        or _nearest(word.lower(), {path: path for path in known})
        or _nearest(last, anywhere)
    )
    return f"; did you mean '{match}'?" if match else ""


def _nearest(word: str, candidates: dict[str, str]) -> str | None:
    return next((candidates[key] for key in difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)), None)


def coerce(path: str, raw: Any) -> Any:
    """What the raw value at a field path becomes in a validated section.

    Raises:
        pydantic.ValidationError: the value is none that the field can have.
    """
    if path in PARAMETERS:
        return float(raw)
    if is_free(path):
        return raw
    section, key = path.split(".")
    return getattr(SECTIONS[section].model_validate({key: raw}, context=PARTIAL), key)
