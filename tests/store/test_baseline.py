"""Baselines: what is written is read again, as it was, by people and by gradlab."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gradlab.errors import BaselineError, MachineError, UsageError
from gradlab.store.baseline import read_baseline, refuse_in_ci, write_baseline
from gradlab.store.baseline_reading import from_text
from gradlab.store.baseline_text import to_text
from gradlab.store.measurement import ALWAYS, LOGARITHMIC, LOSSES, SHARES, Key, Measurement, NetworkStatistics
from tests.analysis.gate.measurements import edited, measurement, replaced

REMEDY = "make it with: gradlab check c.yaml --baseline b.json --update"

logarithms = st.floats(-1e5, 1e5) | st.floats(-320, 310) | st.sampled_from([-math.inf, math.inf, math.nan, 0.0])
shares = st.floats(0, 1) | st.sampled_from([0.0, 1.0, math.nan])
cells = (
    st.text(max_size=6) | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
)


@st.composite
def networks(draw: st.DrawFn, seeds: int) -> NetworkStatistics:
    layers = draw(st.lists(st.text(max_size=8), min_size=1, max_size=3))
    steps = {"first": 0} | draw(st.sampled_from([{}, {"last": 4}, {"middle": 2, "last": 4}]))

    def row(of: st.SearchStrategy[float]) -> np.ndarray:
        return np.array(draw(st.lists(of, min_size=seeds, max_size=seeds) | of.map(lambda one: [one] * seeds)))

    values = {
        Key(step, statistic, layer + 1): row(logarithms if statistic in LOGARITHMIC else shares)
        for step in steps
        for statistic in {*ALWAYS, *draw(st.lists(st.sampled_from([*LOGARITHMIC, *SHARES]), max_size=3))}
        for layer in range(len(layers))
    }
    return NetworkStatistics(
        settings=draw(st.dictionaries(st.text(max_size=8), cells, max_size=2)),
        layers=tuple(layers),
        steps=steps,
        values=values | {Key("end", loss, 0): row(logarithms) for loss in LOSSES},
        weight_prints=np.array([row(st.floats(-9, 9) | st.just(math.nan)) for _ in layers]),
        weight_counts=tuple(draw(st.integers(1, 10**9)) for _ in layers),
        diverged=tuple(draw(st.lists(st.none() | st.integers(0, 9), min_size=seeds, max_size=seeds))),
        parameters=draw(st.dictionaries(st.text(max_size=8), st.integers(0, 10**9), max_size=2)),
    )


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    seeds = draw(st.lists(st.integers(0, 2**32), min_size=1, max_size=4, unique=True))
    made_by = draw(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2))
    found = draw(st.lists(networks(len(seeds)), min_size=1, max_size=2, unique_by=lambda one: json.dumps(one.settings)))
    return Measurement(draw(st.text(max_size=16)), made_by, tuple(seeds), tuple(found))


@settings(max_examples=200, deadline=None)
@given(measurements())
def test_what_is_written_is_read(measured: Measurement) -> None:
    """Names and counts as they are, norms and shares to six digits, prints to four places after the point."""
    found = from_text(to_text(measured), "b.json", REMEDY)
    assert (found.config, found.made_by, found.seeds) == (measured.config, measured.made_by, measured.seeds)
    for one, other in zip(found.networks, measured.networks, strict=True):
        assert one.settings == other.settings
        assert (one.layers, one.steps, one.diverged) == (other.layers, other.steps, other.diverged)
        assert one.weight_counts == other.weight_counts
        assert_allclose(one.weight_prints, other.weight_prints, atol=5.001e-5)
        assert set(one.values) == set(other.values)
        for key, values in one.values.items():
            expected = other.values[key]
            if key.statistic in SHARES:
                assert_allclose(values, expected, rtol=5.001e-6)
            else:
                finite = np.isfinite(expected)
                assert_array_equal(values[~finite], expected[~finite])
                assert_allclose(values[finite], expected[finite], rtol=0, atol=5.001e-6 / math.log(10))


def test_it_is_json_that_a_review_can_read() -> None:
    """A line for each statistic and layer, with the numbers themselves; one where all seeds have the same."""
    measured = edited(measurement(), lambda logs: np.where(np.arange(10) == 3, -412.301, logs), ["delta_rms"], [2])
    text = to_text(measured)
    content = json.loads(text, parse_float=str)
    (only,) = content["networks"]
    norms = [float(norm) for norm in only["statistics"]["first"]["weight_grad_norm"]["2"]]
    assert_allclose(norms, 10 ** measured.networks[0].values[Key("first", "weight_grad_norm", 2)], rtol=1e-5)
    assert only["statistics"]["first"]["delta_rms"]["2"][3] == "5.00035e-413"
    assert only["statistics"]["first"]["dead_units"] == {"1": "0.2", "2": "0.2", "3": "0.2"}
    assert only["steps"] == {"first": 0, "middle": 10, "last": 19}
    for layer in (1, 2, 3):
        assert sum(line.strip().startswith(f'"{layer}": ') for line in text.splitlines()) == 3 * 8 + 1 + 1
    assert text.endswith("}\n")
    assert text.isascii()


def test_one_changed_norm_is_one_changed_line() -> None:
    before = to_text(measurement()).splitlines()
    after = to_text(edited(measurement(), lambda logs: logs + 1, ["weight_grad_norm"], [2], ["first"])).splitlines()
    changed = [line for line, old in zip(after, before, strict=True) if line != old and '"digest"' not in line]
    assert [line.split(":")[0].strip() for line in changed] == ['"2"']


def test_reformatted_files_are_the_same_baseline() -> None:
    """A checkout with other ends of lines, a formatter of JSON."""
    text = to_text(measurement())
    for other in (text.replace("\n", "\r\n"), json.dumps(json.loads(text)), json.dumps(json.loads(text), indent=4)):
        assert to_text(from_text(other, "b.json", REMEDY)) == text


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_baseline(path, measurement())
    assert path.read_text(encoding="utf-8") == to_text(measurement())
    assert to_text(read_baseline(path, REMEDY)) == to_text(measurement())
    write_baseline(path, replaced(measurement(), settings={"model.depth": 3}))
    assert read_baseline(path, REMEDY).networks[0].settings == {"model.depth": 3}
    assert [found.name for found in path.parent.iterdir()] == ["b.json"], "no leftovers"


def test_there_may_be_no_such_file_or_none_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\x80\x04\x95\xff\x00")
    (tmp_path / "utf16.json").write_text(to_text(measurement()), encoding="utf-16")
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "folder.json").mkdir()
    for name in ("none.json", "binary.json", "utf16.json", "empty.json", "folder.json", "empty.json/b.json", "n" * 999):
        with pytest.raises(BaselineError) as told:
            read_baseline(tmp_path / name, REMEDY)
        assert name in str(told.value)
        assert REMEDY in str(told.value)
        assert told.value.exit_code == 3


def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.json").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(BaselineError, match="larger than"):
        read_baseline(tmp_path / "huge.json", REMEDY)


def test_a_place_that_can_t_be_written_is_the_machine_s_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError):
        write_baseline(tmp_path / "file" / "b.json", measurement())


@pytest.mark.parametrize(
    ("value", "refused"), [("true", True), ("1", True), ("", False), ("0", False), ("False", False)]
)
def test_ci_systems_update_nothing(value: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CI", value)
    if refused:
        with pytest.raises(UsageError, match="CI"):
            refuse_in_ci()
    else:
        refuse_in_ci()
