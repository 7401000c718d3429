"""Maps over layers and steps against the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradlab.analysis.figures.figure import LayerSteps
from gradlab.analysis.figures.report import make_report
from tests.store.synthetic import FakeTrial, make_run


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    layers = {
        (0, 1): {"dead_units": 2, "saturated_fraction": 0.5, "update_ratio": 0.0},
        (20, 1): {"dead_units": 6, "saturated_fraction": 0.75, "update_ratio": 0.0},
    }
    trials = [FakeTrial("a", 0, depth=2, layers=layers), FakeTrial("b", 1, depth=2)]
    report = make_report([make_run(tmp_path_factory.mktemp("runs"), [trials]).path])
    found = [figure for figure in report.figures if isinstance(figure.chart, LayerSteps)]
    return {figure.name: figure.numbers.set_index(["step", "layer"])["value"] for figure in found}


def test_shares_are_means_over_seeds(maps: dict[str, Any]) -> None:
    dead, saturated = maps["dead-units-map"], maps["saturation-map"]
    assert dead.to_dict() == {(0, 1): 0.125, (0, 2): 0.0, (20, 1): 0.375, (20, 2): 0.0}, "no output layer"
    assert (saturated[0, 1], saturated[20, 1]) == (0.25, 0.375)


def test_norms_are_geometric_means_of_what_is_not_0(maps: dict[str, Any]) -> None:
    assert maps["update-map"][0, 1] == pytest.approx(-3), "that of the seed that has one"
    assert maps["update-map"][0, 3] == pytest.approx(-3)


def test_what_is_0_in_all_seeds_stays_in_the_map(tmp_path: Path) -> None:
    still = {(step, 1): {"update_ratio": 0.0} for step in (0, 20)}
    report = make_report([make_run(tmp_path, [[FakeTrial("a", depth=2, layers=still)]]).path])
    (figure,) = (one for one in report.figures if one.name == "update-map")
    assert figure.numbers["layer"].unique().tolist() == [1, 2, 3]
    assert figure.numbers["value"].isna().sum() == 2
    assert "exactly 0 in 33 % of the map" in figure.sentence


def test_shares_that_are_0_everywhere_make_no_map(tmp_path: Path) -> None:
    report = make_report([make_run(tmp_path, [[FakeTrial("a")]]).path])
    names = {figure.name for figure in report.figures}
    assert "gradient-map" in names
    assert not names & {"dead-units-map", "saturation-map"}
