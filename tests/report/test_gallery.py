"""Verdicts and figures in words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from gradlab.analysis.statements import Figure, Finding
from gradlab.config.exhibit import Exhibit, Expectation, Seconds, Statement
from gradlab.report.gallery import Shown, bounds, duration, measured, shown_json
from gradlab.report.gallery_page import gallery_page


def statement(**settings: Any) -> Statement:
    return Statement.model_validate(
        {"says": "It *grows* | <i>fast</i>.", "measure": "depth", "because": "_so_", "at_least": 0.999} | settings
    )


def finding(*values: float, reproduced: bool = True, **settings: Any) -> Finding:
    figures = tuple(Figure((("depth", place),), value, 3, place / 2) for place, value in enumerate(values))
    return Finding(statement(**settings), figures, values[0] if values else math.nan, reproduced)


def shown(*findings: Finding) -> Shown:
    texts = dict.fromkeys(("paper", "source", "shows", "claims", "here", "figure"), "*text*")
    expectation = Expectation(**texts, seconds=Seconds(quick=1, full=2), statements=[statement()])
    return Shown(Exhibit("one", Path("one.yaml"), expectation), Path("runs/one"), 1.5, findings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [({}, "at least 0.999"), ({"at_least": None, "at_most": 3}, "at most 3"), ({"at_most": 1.001}, "0.999 to 1.001")],
)
def test_bounds_keep_their_digits(settings: dict[str, Any], told: str) -> None:
    assert bounds(statement(**settings)) == told


def test_what_was_measured() -> None:
    assert measured(finding(0.5)) == "0.500 (3 trials)"
    assert measured(finding(0.5, 2.0)) == "0.500 where depth is 0; 2.00 where depth is 1"
    assert measured(finding(*map(float, range(1, 20)))) == "1.00 to 19.0 in 19 groups"
    assert measured(finding(0.5, 2.0, along="depth / 2", by=["depth"])) == (
        "slope 0.500 along depth / 2 (0: 0.500, 0.500: 2.00)"
    )
    assert measured(Finding(statement(), (), math.nan, False, "no trial")) == "nothing: no trial"


@pytest.mark.parametrize(("seconds", "told"), [(3.4, "3 s"), (89, "89 s"), (120, "2 min")])
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_json_counts_and_keeps_unknown_numbers_apart() -> None:
    told = shown_json([shown(finding(0.5), finding(reproduced=False))])
    assert (told["statements"], told["reproduced"]) == (2, 1)
    assert [one["reproduced"] for one in told["exhibits"][0]["statements"]] == [True, False]


def test_texts_of_a_page_stay_text() -> None:
    page = gallery_page([shown(finding(0.5), finding(reproduced=False))], {"one": "![alt](one.png)"})
    assert r"| It \*grows\* \| \<i\>fast\</i\>. | 0.500 (3 trials) | at least 0.999 | yes |" in page
    assert "**no**" in page
    assert r"**\*text\***" in page
    assert "![alt](one.png)" in page
    assert "1 of 2 statements reproduced" in page
