"""What pydantic finds wrong, in our sentences: the path of the key, what it must be, what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from gradlab.config.choices import choice_errors, parameter_error
from gradlab.config.document import Document, Hint, Loc, Unreadable, dotted, shorten
from gradlab.config.fields import (
    ALL_SECTIONS,
    CHOICES,
    PARAMETERS,
    SECTIONS,
    SWEEP_PATHS,
    did_you_mean,
    is_free,
)
from gradlab.config.positions import scalar_tag
from gradlab.config.schema import PARTIAL, Experiment

_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


@dataclass(frozen=True)
class Fault:
    """Something wrong at a location of the config.

    Attributes:
        at_key: whether the key is at fault; otherwise it is the value.
        hint: the end of the message, where there is one that takes a while.
    """

    loc: Loc
    at_key: bool
    message: str
    hint: Hint | None = None

    def report(self, document: Document) -> None:
        """Add it to the document's problems."""
        place = document.at_key(self.loc) if self.at_key else document.at_value(self.loc)
        document.report(place, self.message, self.hint)


def faults(error: ValidationError, prefix: Loc = ()) -> Iterator[Fault]:
    """Everything that a validation of the part of the config at `prefix` found wrong."""
    for found in error.errors(include_url=False):
        loc = (*prefix, *found["loc"])
        context = found.get("ctx", {})
        if isinstance(found["input"], Unreadable):
            continue
        if found["type"].startswith("choice_"):
            yield from _choice_faults(loc, found["input"])
        elif found["type"] == "extra_forbidden":
            yield Fault(loc, True, f"unknown key '{dotted(loc)}'", partial(_known_key, loc))
        elif found["type"] == "missing_option":
            yield Fault(loc, True, found["msg"])
        elif found["type"] == "joint_setting":
            yield Fault((*loc, context["key"]), False, found["msg"])
        elif found["type"] == "threshold_order":
            yield Fault((*loc, "vanishing"), False, found["msg"])
        elif found["type"] == "literal_error":
            names = re.findall(r"'([^']*)'", context["expected"])
            yield _unknown_name(loc, dotted(loc), found["input"], names, context["expected"])
        else:
            yield Fault(loc, False, _sentence(found["type"], dotted(loc), found["input"], context, found["msg"]))


def value_faults(path: str, raw: Any, loc: Loc) -> list[Fault]:
    """What is wrong with the value at `loc` as a value of the field at `path`, whatever the other fields are."""
    if isinstance(raw, Unreadable) or is_free(path):
        return []
    if path in PARAMETERS:
        error = parameter_error(path.rsplit(".", 1)[-1], raw)
        return [Fault(loc, False, f"{path} {error.message()} ({described(raw)})")] if error else []
    section, key = path.split(".")
    try:
        SECTIONS[section].model_validate({key: raw}, context=PARTIAL)
    except ValidationError as error:
        found = faults(error, (section,))
        return [replace(fault, loc=(*loc, *fault.loc[2:])) for fault in found if key in fault.loc[1:2]]
    return []


def described(value: Any) -> str:
    """What a value is, for the end of a sentence."""
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"it is a {kind}" if value else f"it is an empty {kind}"
    if isinstance(value, str):
        return f"it is '{shorten(value)}'"
    if value is None or isinstance(value, bool):
        return f"it is {json.dumps(value)}"
    return f"it is {value!r}"


def _sentence(kind: str, path: str, value: Any, context: dict[str, Any], otherwise: str) -> str:
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"{path} must be {words} {str(context[key]).removesuffix('.0')} ({described(value)})"
    if kind in _KINDS:
        return f"{path or 'the config'} must be {_KINDS[kind]} ({described(value)}){_hint(kind, value)}"
    if path == "name":
        rule = "1 to 100 letters, digits, '.', '_' or '-', the first a letter or a digit"
        return f"name '{shorten(value)}' must be {rule}"
    if kind == "string_too_short":
        return f"{path} must not be empty"
    if kind == "function_path":
        return f"{path} must read file.py:function or package.module:function ({described(value)})"
    return f"{path}: {otherwise}"


def _hint(kind: str, value: Any) -> str:
    if kind == "bool_type" and str(value).lower() in {"yes", "on", "no", "off"}:
        return "; in YAML 1.2 only true and false are booleans"
    if kind in {"int_type", "int_from_float"} and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"; write it as {int(value)}"
    if kind in {"int_type", "float_type"} and isinstance(value, str) and scalar_tag(value)[-3:] in {"int", "oat"}:
        return "; without the quotes it is a number"
    if kind == "string_type" and not isinstance(value, dict | list) and value is not None:
        return "; put it in quotes"
    return ""


def _unknown_name(loc: Loc, path: str, value: Any, candidates: list[str], expected: str) -> Fault:
    if not isinstance(value, str):
        return Fault(loc, False, f"{path} must be one of {expected} ({described(value)})")
    told = f"{path} '{shorten(value)}' must be one of {expected}"
    return Fault(loc, False, told, partial(did_you_mean, value, candidates))


def _known_key(loc: Loc) -> str:
    key = str(loc[-1])
    owner = Experiment if len(loc) == 1 else ALL_SECTIONS.get(str(loc[0]))
    siblings = did_you_mean(key, owner.model_fields) if owner and len(loc) <= 2 else ""
    return siblings or did_you_mean(key, SWEEP_PATHS)


def _choice_faults(loc: Loc, value: Any) -> Iterator[Fault]:
    path = dotted(loc)
    for error in choice_errors(value, CHOICES[path]):
        context = error.context or {}
        inner = (*loc, context["key"]) if "key" in context else loc
        if error.type == "choice_parameter":
            hint = partial(did_you_mean, context["key"], context["candidates"])
            yield Fault(inner, True, f"unknown key '{dotted(inner)}': {error.message()}", hint)
        elif error.type == "choice_unknown":
            named = (*loc, "name") if isinstance(value, dict) else loc
            yield _unknown_name(named, path, context["given"], context["candidates"], context["expected"])
        elif error.type == "choice_value":
            given = value.get(context["key"])
            told = f" ({described(given)})" if given is not None else ""
            yield Fault(inner, False, f"{dotted(inner)} {error.message()}{told}")
        else:
            yield Fault(loc, False, f"{path} {error.message()}")
