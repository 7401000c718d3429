"""An experiment back to YAML, so that a run directory holds a config that loads."""

from __future__ import annotations

from typing import Any

import yaml

from gradlab.config.fields import SECTIONS
from gradlab.config.positions import core_tag
from gradlab.config.schema import Experiment, Section


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
    if "data.name" in experiment.sweep.paths():
        content["data"] = {key: value for key, value in experiment.data.given().items() if value is not None}
    text: str = yaml.dump(content, Dumper=_CoreDumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _effective(section: Section) -> dict[str, Any]:
    """A section without unset options and without defaults of fields that it does not read."""
    unused = set(section.unused_fields()) - section.model_fields_set
    return {key: value for key, value in section.model_dump().items() if key not in unused and value is not None}
