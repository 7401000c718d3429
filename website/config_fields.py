"""The config's fields as tables: from the schema, so that a field, its range and its default are declared once."""

from __future__ import annotations

from typing import Any

from gradlab.config.choices import ACTIVATIONS, INITS, Choice
from gradlab.config.fields import ALL_SECTIONS
from gradlab.config.model import FAMILY_DEFAULTS, MODEL_READS
from gradlab.config.schema import DATA_OPTIONS, DEFAULT_SEQUENCE_LENGTH, Experiment, data_options
from website.blocks import Generator, table

_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}

_HEADER = ["field", "type and range", "default", "is"]


def generators() -> dict[str, Generator]:
    """Name of a generated part -> what makes it: the top of the config, every section of it, the choices."""
    made: dict[str, Generator] = {f"config {name}": _section(name) for name in ALL_SECTIONS}
    made["config"] = _top
    made["activations"] = lambda: _choices(ACTIVATIONS)
    made["initialisations"] = lambda: _choices(INITS)
    return made


def _top() -> str:
    properties = Experiment.model_json_schema()["properties"]
    fields = {name: field for name, field in properties.items() if name not in ALL_SECTIONS}
    rows = [
        [f"`{name}`", _type(field), _code(field["default"]), field["description"]] for name, field in fields.items()
    ]
    sections = [
        [f"`{name}`", f"[section](#{name})", "", _first_sentence(section.__doc__)]
        for name, section in ALL_SECTIONS.items()
    ]
    return table(_HEADER, rows + sections)


def _section(name: str) -> Generator:
    def made() -> str:
        properties = ALL_SECTIONS[name].model_json_schema()["properties"]
        readers = {"data": _readers_of_data, "model": _readers_of_model}.get(name)
        rows = []
        for key, field in properties.items():
            described = field["description"]
            default = _default(name, key, field)
            if readers and (told := readers(key)):
                described += f" ({told})"
            rows.append([f"`{name}.{key}`", _type(field), default, described])
        return table(_HEADER, rows)

    return made


def _type(field: dict[str, Any]) -> str:
    """A field's type and range in words."""
    if "anyOf" in field:
        kinds = [option for option in field["anyOf"] if option.get("type") != "null"]
        if any("const" in option.get("properties", {}).get("name", {}) for option in kinds):
            return "[a choice](#choices)"
        return " or ".join(dict.fromkeys(_type(option) for option in kinds))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type")
    if kind == "array":
        items = field.get("items", {})
        return f"list of {_plural(items)}"
    if kind == "object":
        values = field.get("additionalProperties")
        return f"mapping to {_plural(values)}" if isinstance(values, dict) and values else "mapping"
    if pattern := field.get("pattern"):
        return f"text that fits `{pattern}`"
    return _TYPES[str(kind)] + _range(field)


def _plural(items: dict[str, Any]) -> str:
    kind = items.get("type")
    if kind == "array":
        return f"lists of {_plural(items['items'])}" if items.get("items") else "lists"
    if kind == "object":
        values = items.get("additionalProperties")
        return f"mappings to {_plural(values)}" if isinstance(values, dict) and values else "mappings"
    return _TYPES[kind] + "s" + _range(items) if kind else "values"


def _range(field: dict[str, Any]) -> str:
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    lower = f"{_number(low)} or more" if low is not None else f"above {_number(above)}" if above is not None else ""
    if low is not None and high is not None:
        return f", {_number(low)} to {_number(high)}"
    upper = f"at most {_number(high)}" if high is not None else f"below {_number(below)}" if below is not None else ""
    return "".join(f", {part}" for part in (lower, upper) if part)


def _number(value: float) -> str:
    exact = int(value)
    if exact > 10**9:
        return f"2^{exact.bit_length()} - 1" if exact + 1 == 1 << exact.bit_length() else f"{exact:,}"
    return f"{exact:,}" if exact == value else str(value)


def _default(section: str, key: str, field: dict[str, Any]) -> str:
    """The default; where it depends on another setting, each with those that have it."""
    if section == "data" and key not in ("name", "standardize"):
        by_set = {name: data_options(name)[key] for name in DATA_OPTIONS if key in data_options(name)}
        return _by_setting(by_set, "none: must be given")
    if section == "data" and key == "standardize":
        other = [name for name, options in DATA_OPTIONS.items() if options.get(key) is False]
        return f"`true`; {' and '.join(other)} `false`"
    if section == "model":
        if key == "sequence_length":
            return f"`{DEFAULT_SEQUENCE_LENGTH}` for generated sequences"
        own = {family: defaults[key] for family, defaults in FAMILY_DEFAULTS.items() if key in defaults}
        shown = {family: value.label if isinstance(value, Choice) else value for family, value in own.items()}
        every = "" if field.get("default") is None else _code(field["default"])
        return "; ".join(filter(None, [every, *(f"{family} {_code(value)}" for family, value in shown.items())]))
    return _code(field.get("default", {} if field.get("type") == "object" else []))


def _by_setting(values: dict[str, Any], missing: str) -> str:
    distinct = list(dict.fromkeys(missing if value is None else _code(value) for value in values.values()))
    if len(distinct) == 1:
        return distinct[0]
    return "; ".join(f"{name} {missing if value is None else _code(value)}" for name, value in values.items())


def _readers_of_data(key: str) -> str:
    readers = [name for name in DATA_OPTIONS if key in data_options(name)]
    if key in ("name", "standardize"):
        return ""
    others = [name for name in DATA_OPTIONS if name not in readers]
    return f"all but {', '.join(others)}" if len(others) < len(readers) else ", ".join(readers)


def _readers_of_model(key: str) -> str:
    return ", ".join(family for family, reads in MODEL_READS.items() if key in reads)


def _choices(choices: dict[str, dict[str, float]]) -> str:
    rows = [
        [f"`{name}`", ", ".join(f"`{key}`: {value}" for key, value in parameters.items())]
        for name, parameters in choices.items()
    ]
    return table(["name", "parameters and their defaults"], rows)


def _first_sentence(text: str | None) -> str:
    sentence = (text or "").strip().split("\n")[0].split(". ")[0].split(" (see")[0].rstrip(".")
    return sentence[0].lower() + sentence[1:]


def _code(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if value is None else f"`{value}`"
