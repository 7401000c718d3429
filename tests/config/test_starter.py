"""The starter config is true, and the JSON Schema agrees with the loader about it and about wrong ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from gradlab.config.choices import ACTIVATIONS, INITS
from gradlab.config.fields import ALL_SECTIONS
from gradlab.config.load import LoadedConfig
from gradlab.config.model import FAMILY_DEFAULTS, MODEL_READS
from gradlab.config.positions import read_yaml
from gradlab.config.schema import DATA_OPTIONS, DEFAULT_SEQUENCE_LENGTH, SPLIT_OPTIONS, Experiment, Model, Sweep, Train
from gradlab.config.starter import json_schema, starter_config

Load = Callable[..., LoadedConfig]
Problems = Callable[..., list[tuple[str, str]]]


def _plain(text: str) -> Any:
    from gradlab.config.document import Place

    return read_yaml(text, lambda line, column: Place(0, line, column, "")).root


def test_the_starter_loads_and_stands_at_the_defaults(load_text: Load) -> None:
    loaded = load_text(starter_config())
    assert not loaded.notes
    assert len(loaded.trials) == 9 * 5
    plain = loaded.experiment.model_copy(update={"name": "experiment", "sweep": Sweep()})
    assert plain == Experiment()


def test_the_starter_names_every_field_and_choice() -> None:
    text = starter_config()
    names = [*Experiment.model_fields, *DATA_OPTIONS, *ACTIVATIONS, *INITS]
    names += [key for section in ALL_SECTIONS.values() for key in section.model_fields]
    for name in names:
        assert re.search(rf"\b{name}\b", text), name
    for key in [*Experiment.model_fields, *(key for section in ALL_SECTIONS.values() for key in section.model_fields)]:
        assert re.search(rf"^ *(# )?{key}: *(\S|$)", text, re.MULTILINE), key


def test_options_in_comments_stand_at_their_defaults_and_name_their_data_sets() -> None:
    found = re.findall(r"^  # (\w+): (\S+) +# .*?(?:\(([\w, ]+)\))?$", starter_config(), re.MULTILINE)
    settings = [(key, _plain(value), readers) for key, value, readers in found]
    assert {"eval_fraction", "noise", "path", "momentum"} <= {key for key, _, _ in settings}
    for key, value, readers in settings:
        sets = {name for name, options in DATA_OPTIONS.items() if key in options}
        if key in SPLIT_OPTIONS:
            assert value == SPLIT_OPTIONS[key]
            assert readers == "all but npz, custom"
        elif key == "momentum":
            assert value == Train().momentum
        elif readers.startswith("custom, which"):
            assert value == Model().kwargs
        elif key in MODEL_READS["rnn"] + MODEL_READS["transformer"]:
            families = [family for family, reads in MODEL_READS.items() if key in reads]
            assert set(readers.split(", ")) == set(families)
            assert {FAMILY_DEFAULTS[family].get(key, DEFAULT_SEQUENCE_LENGTH) for family in families} == {value}
        else:
            assert set(readers.split(", ")) == sets
            for name in sets:
                default = DATA_OPTIONS[name][key]
                assert default in (None, value) or f"{default} if left out of {name}" in starter_config()


def test_examples_in_comments_load(load_text: Load) -> None:
    text = starter_config()
    for key in ("zip", "exclude", "include"):
        (example,) = re.findall(rf"^  {key}: \[\].*?- (\{{[^\n]*\}})$", text, re.MULTILINE | re.DOTALL)
        text = re.sub(rf"^  {key}: \[\].*$", f"  {key}: [{example}]", text, flags=re.MULTILINE)
    loaded = load_text(text)
    assert not loaded.notes
    assert len(loaded.trials) == ((9 - 2) * 2 + 1) * 5


def accepts(schema: dict[str, Any] | bool, value: Any, root: dict[str, Any]) -> bool:
    """JSON Schema, as far as the config's schema uses it."""
    if isinstance(schema, bool):
        return schema
    target: Any = root
    for step in schema["$ref"].split("/")[1:] if "$ref" in schema else ():
        target = target[step]
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = schema.get("type")
    checks = [
        "$ref" not in schema or accepts(target, value, root),
        kind is None or (number if kind == "number" else isinstance(value, types[kind])),
        kind != "integer" or number,
        "enum" not in schema or value in schema["enum"],
        "const" not in schema or value == schema["const"],
        "anyOf" not in schema or any(accepts(option, value, root) for option in schema["anyOf"]),
    ]
    if number:
        checks += [value >= schema.get("minimum", value), value <= schema.get("maximum", value)]
        checks += ["exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"]]
        checks += ["exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"]]
    if isinstance(value, str):
        checks += ["pattern" not in schema or re.search(schema["pattern"], value) is not None]
        checks += [len(value) >= schema.get("minLength", 0)]
    if isinstance(value, list):
        checks += [len(value) >= schema.get("minItems", 0)]
        checks += [accepts(schema.get("items", True), item, root) for item in value]
    if isinstance(value, dict):
        checks += [set(schema.get("required", ())) <= set(value), len(value) >= schema.get("minProperties", 0)]
        for key, item in value.items():
            matching = [inner for name, inner in schema.get("properties", {}).items() if name == key]
            matching += [inner for name, inner in schema.get("patternProperties", {}).items() if re.search(name, key)]
            checks += [accepts(inner, item, root) for inner in matching or [schema.get("additionalProperties", True)]]
    return all(checks)


GOOD = [
    starter_config(),
    "data: {name: moons, noise: 0.2}",
    "model: {activation: {name: elu, alpha: 2}, init: {name: normal, sigma_w: 1.5}}",
    "model: {activation: 'a.py:f'}\nseeds: [1, 2]",
    "sweep: {grid: {model.activation.negative_slope: [0.1], model.activation: [leaky_relu]}}",
    "sweep: {zip: [{model.depth: [1, 2], train.lr: [1, 2]}], exclude: [{model.depth: [7, 8]}]}",
    "model: {family: custom, factory: 'a.py:f'}\nsweep: {grid: {model.kwargs.x: [1, a]}, include: [{train.lr: 0}]}",
]
BAD = [
    "model: {dept: 3}",
    "model: {depth: 0}",
    "model: {activation: relo}",
    "model: {activation: {name: elu, beta: 1}}",
    "name: a/b",
    "seeds: 0",
    "seeds: []",
    "seeds: [-1]",
    "sweep: {grid: {depth: [1]}}",
    "sweep: {grid: {model.depth: []}}",
    "sweep: {grid: {model.depth: [0]}}",
    "sweep: {grid: {seeds: [1]}}",
    "sweep: {zip: [{}]}",
    "sweep: {zip: [{model.depth: 3}]}",
    "sweep: {exclude: [{model.depth: x}]}",
    "sweep: {include: [{model.depth: [1]}]}",
    "diagnosis: {vanishing: 0}",
]


@pytest.mark.parametrize("text", GOOD)
def test_the_schema_accepts_what_loads(load_text: Load, text: str) -> None:
    load_text(text)
    schema = json_schema()
    assert accepts(schema, _plain(text), schema)


@pytest.mark.parametrize("text", BAD)
def test_the_schema_refuses_what_does_not_load(problems: Problems, text: str) -> None:
    problems(text)
    schema = json_schema()
    assert not accepts(schema, _plain(text), schema)


def test_the_schema_gives_the_defaults_as_the_config_writes_them() -> None:
    schema = json_schema()
    for name, section in schema["$defs"].items():
        for key, field in section["properties"].items():
            if field.get("default") is not None and name != "Sweep":
                assert accepts(field, field["default"], schema), (name, key)
