"""YAML 1.2 core scalars, the place of every node, and texts that are no config."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gradlab.config.document import Document, Place
from gradlab.config.positions import MAX_COPIES, MAX_DEPTH, read_yaml
from gradlab.errors import ConfigError


def read(text: str) -> Document:
    return read_yaml(text, lambda line, column: Place(0, line, column, f"{line}:{column}"))


SCALARS = [
    ("1e-3", 0.001),
    ("1E3", 1000.0),
    ("-2.5e+1", -25.0),
    (".5", 0.5),
    ("5.", 5.0),
    ("+.5", 0.5),
    (".inf", math.inf),
    ("-.INF", -math.inf),
    ("010", 10),
    ("-7", -7),
    ("+7", 7),
    ("0o10", 8),
    ("0x1F", 31),
    ("~", None),
    ("null", None),
    ("", None),
    ("true", True),
    ("FALSE", False),
    ("off", "off"),
    ("no", "no"),
    ("yes", "yes"),
    ("on", "on"),
    ("tRUE", "tRUE"),
    ("1_000", "1_000"),
    ("1:30", "1:30"),
    ("0b11", "0b11"),
    ("0X1F", "0X1F"),
    ("2024-01-01", "2024-01-01"),
    ("=", "="),
    ("inf", "inf"),
    ("nan", "nan"),
    (".", "."),
    ("1e", "1e"),
    ("e3", "e3"),
    ("'5'", "5"),
    ('"~"', "~"),
    ("!!str 5", "5"),
    ("!!float 5", 5.0),
    ("!!int '5'", 5),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_are_those_of_the_core_schema(text: str, value: Any) -> None:
    found = read(f"a: {text}").root["a"]
    assert (type(found), found) == (type(value), value)


def test_nan() -> None:
    assert math.isnan(read("a: .nan").root["a"])


@given(st.floats(allow_nan=False))
def test_every_float_that_python_writes_is_read_back(number: float) -> None:
    text = repr(number).replace("inf", ".inf")
    assert read(f"a: {text}").root["a"] == number


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_64_bit_integer_is_read_back(number: int) -> None:
    assert read(f"[{number}]").root == [number]


_NESTED = st.recursive(
    st.integers(-1000, 1000) | st.booleans() | st.none() | st.text("ab .:-#'\"\n", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(_NESTED, st.sampled_from([True, False, None]))
def test_values_agree_with_pyyaml_and_every_node_has_a_place(value: Any, flow: bool | None) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow)
    document = read(text)
    assert document.root == value
    assert not document.problems

    def locations(inner: Any, loc: tuple[str | int, ...]) -> set[tuple[str | int, ...]]:
        steps = inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else ()
        return {loc}.union(*(locations(item, (*loc, step)) for step, item in steps))

    assert set(document.values) == locations(value, ())
    lines = text.split("\n")
    for loc, place in document.keys.items():
        assert lines[place.line - 1][place.column - 1 :].lstrip("'\"? ").startswith(str(loc[-1]))


def test_columns_count_characters_and_lines_from_one() -> None:
    document = read("é: 1\nöö: [ü, {b: 2}]\n")
    assert document.keys[("é",)].text == "1:1"
    assert document.values[("öö", 0)].text == "2:6"
    assert document.keys[("öö", 1, "b")].text == "2:10"
    assert document.values[("öö", 1, "b")].text == "2:13"


FATAL = [
    ("a: [1,\n", "2:1", "not valid YAML"),
    ("a: b: c", "1:5", "not valid YAML"),
    ("a:\n\tb: 3", "2:1", "a tab"),
    ("a: 'x", "1:6", "not valid YAML"),
    ("a: 1\n---\nb: 2", "2:1", "one document"),
    ("a: *nowhere", "1:4", "nowhere"),
    ("a: 1\nb: \x07", "2:4", "U+0007"),
    ("a: 1\nb: x\0", "2:5", "U+0000"),
    ('a: "\\U00110000"', "1:7", "escape"),
    ("%YAML 3.0\n---\na: 1", "1:1", "not valid YAML"),
    ("[" * 1000, f"1:{MAX_DEPTH + 2}", "deep"),
    ("- " * 1000, None, "deep"),
    ("{a: " * 1000, None, "deep"),
    ("? " * 1000, None, "deep"),
]


@pytest.mark.parametrize(("text", "place", "message"), FATAL)
def test_what_cannot_be_read_at_all(text: str, place: str | None, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert place is None or problem.place == place


STEPPED_OVER = [
    ("a: 1\nb: 2\na: 3", "3:1", "duplicate key 'a'"),
    ("m:\n  a: 1\n  'a': 3", "3:3", "duplicate key 'm.a'"),
    ("a: !!python/object/apply:os.getcwd []", "1:4", "tag"),
    ("a: !mine 3", "1:4", "tag !mine"),
    ("a: !!set {x: ~}", "1:4", "tag"),
    ("a: !!binary aGk=", "1:4", "tag"),
    ("a: !!timestamp 2024-01-01", "1:4", "tag"),
    ("%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system x", "3:4", "tag"),
    ("a: !!int x", "1:4", "does not fit"),
    ("a: !!float 0x1F", "1:4", "does not fit"),
    ("5: a", "1:1", "a key must be text"),
    ("true: a", "1:1", "a key must be text"),
    ("~: a", "1:1", "a key must be text"),
    ("? [x]\n: a", "1:3", "a key must be text"),
    ("a: &x {b: 1}\n<<: *x", "2:1", "merge keys"),
    ("a: &x [*x]", "1:4", "alias"),
    ("a: &x {b: {c: *x}}", "1:4", "alias"),
    ("a: 9223372036854775808", "1:4", "64 bits"),
    ("a: " + "9" * 5000, "1:4", "64 bits"),
    ("a: 0x" + "F" * 5000, "1:4", "64 bits"),
    ('a: "\\0"', "1:4", "U+0000"),
    ('a: "\\uD800"', "1:4", "U+D800"),
]


@pytest.mark.parametrize(("text", "place", "message"), STEPPED_OVER)
def test_what_is_reported_while_the_rest_is_read(text: str, place: str, message: str) -> None:
    document = read(text + "\nlast: 1")
    (problem,) = document.sorted_problems()
    assert problem.place == place
    assert message in problem.message
    assert document.root["last"] == 1


def test_aliases_repeat_a_value() -> None:
    assert read("a: &x [1, {b: 2}]\nc: *x").root == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def test_alias_bombs_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ConfigError, match=f"{MAX_COPIES:,}"):
        read("\n".join(lines))
    long_text = f"a: &x {'y' * 500_000}\nb: [{', '.join(['*x'] * 1000)}]"
    with pytest.raises(ConfigError, match=f"{MAX_COPIES:,}"):
        read(long_text)
