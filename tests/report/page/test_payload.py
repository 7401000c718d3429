"""What the script is given: all groups, all numbers, in little room, and nothing that could end its element."""

import base64
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.analysis.figures.figure import Figure, LayerSteps, Plane
from gradlab.analysis.figures.report import Report
from gradlab.printable import printable
from gradlab.report.page import payload as module
from gradlab.report.page.payload import factors, payload, script_text
from tests.report.page.made_up import layer_steps, report_of, trials
from tests.report.page.test_packing import unpacked


class Texts:
    """A payload's texts as a pool."""

    def __init__(self, made):
        self.texts = made["texts"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return report_of(tmp_path_factory.mktemp("payload"), trials([2, 4], ["sigmoid", "tanh"]))


def test_every_number_of_a_map_is_there(report):
    made = payload(report)
    figure = next(figure for figure in made["figures"] if figure["name"] == "map")
    wanted = next(figure for figure in report.figures if figure.name == "map").numbers
    rows = []
    for one in figure["series"]:
        axis = figure["axes"][one["axis"]]
        values = unpacked(Texts(made), one["value"], (len(axis["steps"]), len(axis["layers"])))
        rows += [
            (one["group"], step, layer, values[i, j])
            for i, step in enumerate(axis["steps"])
            for j, layer in enumerate(axis["layers"])
        ]
    found = pd.DataFrame(rows, columns=["group", "step", "layer", "value"])
    keys = ["group", "step", "layer"]
    pd.testing.assert_frame_equal(
        found.sort_values(keys, ignore_index=True), wanted.sort_values(keys, ignore_index=True), atol=1e-4
    )
    assert not figure["thinned"]
    assert len(figure["axes"]) == 2, "one for each depth"


def test_longer_trainings_are_thinned_evenly_with_both_ends(report, monkeypatch):
    numbers = layer_steps([3], 1000)
    made = Report(report.summary, report.labels, report.factors, (_map(numbers),))
    monkeypatch.setattr(module, "MOST_CELLS", 400)
    (figure,) = payload(made)["figures"]
    steps = figure["axes"][0]["steps"]
    assert figure["thinned"]
    assert (len(steps), steps[0], steps[-1]) == (100, 0, 9990)
    assert set(np.diff(steps)) <= {100, 110}


def test_no_more_groups_than_a_page_holds(report, monkeypatch):
    monkeypatch.setattr(module, "MOST_GROUPS", 3)
    made = payload(report)
    assert len(made["labels"]) == 3
    assert {one["group"] for figure in made["figures"] for one in figure.get("series", [])} == {0, 1, 2}


def test_factors_with_their_values_in_order():
    groups = [{"depth": 10, "lr": None, "residual": True}, {"depth": 2, "lr": 0.1, "residual": False}]
    depth, lr, residual = factors(groups)
    assert (depth["values"], depth["numbers"], depth["of"]) == (["2", "10"], [2, 10], [1, 0])
    assert (lr["values"], lr["numbers"], lr["of"]) == (["-", "0.1"], None, [0, 1])
    assert (residual["values"], residual["numbers"], residual["of"]) == (["false", "true"], None, [1, 0])


def test_planes_keep_numbers_names_and_what_is_missing(report):
    cells = pd.DataFrame(
        {"group": [0, 1], "x": ["relu", "tanh"], "y": [2.0, 10.0], "value": [np.nan, -0.5], "trials": [0, 3]}
    )
    curve = pd.DataFrame({"x": ["relu"], "y": [np.inf]})
    chart = Plane("activation", "depth", "gradient decay", True, curve, "limit")
    made = payload(Report(report.summary, report.labels, report.factors, (_figure(cells, chart),)))["figures"][0]
    assert made["xs"] == {"values": ["tanh", "relu"], "numbers": None}
    assert made["ys"] == {"values": ["2", "10"], "numbers": [2.0, 10.0]}
    assert made["cells"] == [["relu", "2", "", None, 0, 0], ["tanh", "10", "", -0.5, 3, 1]]
    assert made["curve"] == [["relu", None, None]]


def test_regions_come_back(report):
    made = payload(report)
    figure = next(figure for figure in made["figures"] if figure["kind"] == "regions")
    wanted = next(figure for figure in report.figures if figure.name == "regions").numbers
    assert len(figure["regions"]) == len(wanted)
    for found, (_, row) in zip(figure["regions"], wanted.iterrows(), strict=True):
        pairs = base64.b64decode(made["texts"][found["decision"]])
        codes = [value for value, count in zip(pairs[::2], pairs[1::2], strict=True) for _ in range(count)]
        assert codes == row["decision"]
        xs = unpacked(Texts(made), found["points"][0], len(row["points_x"]))
        np.testing.assert_allclose(xs, row["points_x"], atol=1e-3)
        assert list(base64.b64decode(made["texts"][found["classOf"]])) == row["points_class"]


@given(st.text() | st.sampled_from(["</script>", "<!--<script>", "\u2028]]>", "&lt;"]))
def test_nothing_ends_the_element_and_text_comes_back(content):
    written = script_text({"label": [content], content: 1})
    assert not set(written) & set("<>&\u2028\u2029")
    assert json.loads(written) == {"label": [printable(content)], printable(content): 1} or content == "label"


def _figure(numbers, chart):
    return Figure("one", "One", "A sentence.", "A picture.", numbers, chart)


def _map(numbers):
    return _figure(numbers, LayerSteps("gradient", True))
