"""Whatever the bytes, the loader gives a config or a ConfigError, and every problem has a place."""

from __future__ import annotations

import re
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradlab.config.fields import ALL_SECTIONS, SWEEP_PATHS
from gradlab.config.load import load
from gradlab.config.positions import MAX_COPIES
from gradlab.config.schema import Experiment
from gradlab.config.starter import starter_config
from gradlab.config.sweep import Trial
from gradlab.errors import ConfigError, Problem

_SHARED_FOLDER = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

_KEYS = st.sampled_from(
    [
        *Experiment.model_fields,
        *(key for section in ALL_SECTIONS.values() for key in section.model_fields),
        *SWEEP_PATHS,
        "model.kwargs.x",
        "model.dept",
        "name",
        "alpha",
        "sigma_w",
    ]
)
_NAMES = "relu elu tanh normal npz custom cnn rnn transformer lstm batch pre moons adding momentum a.py:f x 1e-3 off"
_SCALARS = st.sampled_from([0, 1, 2, -1, 7.5, 1e300, float("nan"), float("inf"), True, None]) | st.sampled_from(
    _NAMES.split()
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=10
)
_SECTIONS = {
    name: st.dictionaries(st.sampled_from([*section.model_fields]), _VALUES, max_size=4)
    for name, section in ALL_SECTIONS.items()
}
_AXES = st.dictionaries(st.sampled_from(SWEEP_PATHS), st.lists(_SCALARS, min_size=1, max_size=2), max_size=3)
_ENTRIES = st.lists(st.dictionaries(st.sampled_from(SWEEP_PATHS), _SCALARS, min_size=1, max_size=2), max_size=2)
_SWEEPS = st.fixed_dictionaries(
    {}, optional={"grid": _AXES, "zip": st.lists(_AXES, max_size=2), "include": _ENTRIES, "exclude": _ENTRIES}
)
_CONFIGS = st.fixed_dictionaries({}, optional=_SECTIONS | {"sweep": _SWEEPS | _VALUES, "seeds": _VALUES, "x": _VALUES})


def load_or_fail(path: Path, content: bytes, overrides: list[str]) -> None:
    path.write_bytes(content)
    problems: tuple[Problem, ...] = ()
    trials: tuple[Trial, ...] = ()
    try:
        trials = load(path, overrides).trials
    except ConfigError as error:
        problems = error.problems
    assert bool(trials) != bool(problems)
    assert len(set(problems)) == len(problems)
    for problem in problems:
        place = problem.place.removeprefix(str(path))
        assert re.fullmatch(r":[1-9]\d*:[1-9]\d*|--set .*", place), problem
        assert problem.message


@_SHARED_FOLDER
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    load_or_fail(tmp_path / "c.yaml", content, [])


@_SHARED_FOLDER
@given(st.text("ab:-?[]{},&*!|>'\"%#@` \n\t1.e~<=\\", max_size=60))
def test_any_text_of_yaml_characters(tmp_path: Path, text: str) -> None:
    load_or_fail(tmp_path / "c.yaml", text.encode(), [])
    load_or_fail(tmp_path / "c.yaml", b"seeds: 1", [f"model.depth={text}", text])


@_SHARED_FOLDER
@given(_CONFIGS, st.lists(st.tuples(_KEYS, _VALUES), max_size=2))
def test_any_config(tmp_path: Path, config: dict[str, Any], changes: list[tuple[str, Any]]) -> None:
    overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in changes]
    load_or_fail(tmp_path / "c.yaml", yaml.safe_dump(config).encode(), overrides)


@_SHARED_FOLDER
@given(st.data())
def test_any_slip_in_a_good_config(tmp_path: Path, data: st.DataObject) -> None:
    text = starter_config()
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 5))
    typed = data.draw(st.text("ab:-[]{}&*!'\"# \n1.", max_size=3))
    load_or_fail(tmp_path / "c.yaml", (text[:start] + typed + text[start + length :]).encode(), [])


@pytest.mark.parametrize("value", ["&a [*a]", "{x: &a {y: *a}}", "!!python/object/apply:os.getcwd []"])
def test_loops_and_tags_anywhere(tmp_path: Path, value: str) -> None:
    for path in ("model", "model.kwargs", "seeds", "sweep", "sweep.grid", "sweep.include", "model.activation"):
        with pytest.raises(ConfigError):
            load_or_fail_strictly(tmp_path / "c.yaml", path, value)


def load_or_fail_strictly(path: Path, key: str, value: str) -> None:
    *parents, last = key.split(".")
    path.write_text("".join(f"{parent}: {{" for parent in parents) + f"{last}: {value}" + "}" * len(parents))
    load(path)


# Texts that are made to cost more than their length.

_COUNTS = st.integers(1, 400)
_HOSTILE = st.one_of(
    _COUNTS.map(lambda n: "".join(f"depht{number}: 1\n" for number in range(n))),
    _COUNTS.map(lambda n: "seeds: 1\n" * n),
    _COUNTS.map(lambda n: "model:\n" + "".join(f"  depht{number}: &a{number} [{number}]\n" for number in range(n))),
    _COUNTS.map(lambda n: "check: [&a x" + ", *a" * n + "]\n"),
    st.tuples(st.integers(1, 12), st.integers(1, 12)).map(
        lambda size: (
            "record: [&a0 [x]"
            + "".join(f", &a{level} [{', '.join([f'*a{level - 1}'] * size[1])}]" for level in range(1, size[0]))
            + "]\n"
        )
    ),
    _COUNTS.map(lambda n: "data: " + "[" * n + "]" * n + "\n"),
    _COUNTS.map(lambda n: "train:\n" + "".join(" " * (level + 1) + "a:\n" for level in range(n))),
    _COUNTS.map(lambda n: f"name: {'9' * 40 * n}\n"),
    _COUNTS.map(lambda n: f"seeds: 1e{n}\n"),
    _COUNTS.map(lambda n: f"diagnosis: {{vanishing: 0x{'f' * n}}}\n"),
    _COUNTS.map(lambda n: 'name: "' + r"\u0041" * n + '"\n'),
    st.tuples(st.integers(1, 9), _COUNTS).map(
        lambda size: (
            "sweep:\n  grid:\n"
            + "".join(f"    model.kwargs.x{axis}: [{', '.join(map(str, range(size[1])))}]\n" for axis in range(size[0]))
        )
    ),
    _COUNTS.map(
        lambda n: (
            "sweep:\n  grid: {model.depth: ["
            + ", ".join(map(str, range(1, n + 1)))
            + "]}\n  exclude:\n"
            + "".join(f"  - {{model.depth: [{number}, {number + 1}]}}\n" for number in range(1, n + 1))
        )
    ),
)
_MOST_TRIALS = 2000


def calls_of(function: Callable[[], object]) -> int:
    """How many functions are called meanwhile, Python's and C's."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_HOSTILE, min_size=1, max_size=3).map("".join))
def test_no_text_costs_more_than_in_proportion_to_its_length(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    with mock.patch("gradlab.config.checks.MAX_TRIALS", _MOST_TRIALS):
        tracemalloc.start()
        load_or_fail(path, text.encode(), [])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        calls = calls_of(lambda: load_or_fail(path, text.encode(), []))
    copies = MAX_COPIES if "*a" in text else 0
    trials = _MOST_TRIALS if "sweep" in text else 100
    assert peak < 4 * 2**20 + 1000 * (len(text) + trials + copies)
    assert calls < 50_000 + 100 * len(text) + 200 * trials + 30 * copies
