"""An experiment back to settings: as YAML that loads, for run directories, and to tell two experiments apart."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import yaml

from gradlab.config.document import shorten
from gradlab.config.fields import SECTIONS
from gradlab.config.positions import core_tag
from gradlab.config.schema import Experiment, Section

DIFFERENCES = 4
"""Settings that a message about differing ones names."""


class _CoreDumper(yaml.SafeDumper):
    """Quotes what YAML 1.2, rather than 1.1, would read as something other than text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return core_tag(kind, value, implicit)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(experiment: Experiment) -> str:
    """The resolved config: every field that has an effect, with its value; `load` makes the same trials of it."""
    content = experiment.model_dump()
    for name in (*SECTIONS, "check"):
        content[name] = _effective(getattr(experiment, name))
    for name, deciding in (("data", {"data.name"}), ("model", {"model.family", "data.name"})):
        if deciding & set(experiment.sweep.paths()):
            given = getattr(experiment, name).given()
            content[name] = {key: value for key, value in content[name].items() if key in given}
    text: str = yaml.dump(content, Dumper=_CoreDumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def settings(experiment: Experiment) -> dict[str, Any]:
    """Section -> its settings, of everything that makes the trials of an experiment what they are but their seeds."""
    sweep = {key: value for key, value in experiment.sweep.model_dump().items() if value}
    found: dict[str, Any] = {name: _effective(getattr(experiment, name)) for name in SECTIONS}
    return {name: as_json(section) for name, section in (found | {"sweep": sweep}).items()}


def as_json(value: Any) -> Any:
    """Settings as JSON holds them: numbers that it doesn't know by their names, `inf` and `nan`."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    return {str(key): as_json(one) for key, one in value.items()} if isinstance(value, dict) else value


def differing_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What is set otherwise in `new`, as `train.lr is 0.1, was 0.05`; the first few."""
    told = []
    for section in dict.fromkeys([*old, *new]):
        before, now = old.get(section) or {}, new.get(section) or {}
        for key in dict.fromkeys([*before, *now]) if before != now else ():
            if before.get(key) != now.get(key):
                told.append(f"{section}.{key} is {_written(now, key)}, was {_written(before, key)}")
    more = f" and {len(told) - DIFFERENCES} more" if len(told) > DIFFERENCES else ""
    return "; ".join(told[:DIFFERENCES]) + more


def _written(section: Mapping[str, Any], key: str) -> str:
    return shorten(json.dumps(section[key])) if key in section else "not set"


def _effective(section: Section) -> dict[str, Any]:
    """A section without unset options and without defaults of fields that it does not read."""
    unused = set(section.unused_fields()) - section.model_fields_set
    return {key: value for key, value in section.model_dump().items() if key not in unused and value is not None}
