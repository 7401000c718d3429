"""What every section of the config is: a strict model that knows which of its settings have an effect."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo
from pydantic_core import PydanticCustomError

PARTIAL = {"partial": True}
"""Validation context of a section whose missing required options the sweep supplies."""


def is_partial(info: ValidationInfo) -> bool:
    """Whether a section is validated that the sweep may still change."""
    return bool(info.context and info.context.get("partial"))


class Section(BaseModel):
    """A part of the config: unknown keys are errors, numbers are finite, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def unused_fields(self) -> list[str]:
        """Fields that have no effect beside the other settings of this section."""
        return []

    def given(self) -> dict[str, Any]:
        """The settings as raw values, from which a point of the sweep starts."""
        return self.model_dump()

    def resolved(self) -> Self:
        """The section with its unused fields at their defaults, so that equal trials are equal."""
        defaults = type(self).model_fields
        resets = {key: defaults[key].get_default(call_default_factory=True) for key in self.unused_fields()}
        return self.model_copy(update=resets) if resets else self


def fill_unset(section: Section, defaults: dict[str, Any]) -> None:
    """Set what was not given to the defaults that go with the section's other settings."""
    # Past the frozen model's guard and its record of set fields: `given` tells settings from defaults by that.
    for key, default in defaults.items():
        if default is not None and (key not in section.model_fields_set or getattr(section, key) is None):
            object.__setattr__(section, key, default)
            section.model_fields_set.discard(key)


def missing_options(path: str, choice: str, keys: list[str]) -> PydanticCustomError:
    """The error that the setting `choice` of the field at `path` needs the fields `keys` of its section."""
    section = path.split(".")[0]
    needed = " and ".join(f"{section}.{key}" for key in keys)
    context = {"path": path, "choice": choice, "needed": needed}
    return PydanticCustomError("missing_option", "{path} '{choice}' needs {needed}", context)
