"""Planes over depth and another factor, and theory's curve."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gradlab.analysis.figures.axes import axes
from gradlab.analysis.figures.depth_limit import deepest_trainable, limit_curve
from gradlab.analysis.figures.figure import Plane
from gradlab.analysis.figures.planes import MOST_PANELS
from gradlab.analysis.figures.report import Report, make_report
from gradlab.theory.depth_scale import trainable
from tests.analysis.figures.runs import sweep
from tests.store.synthetic import FakeTrial, make_run


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999, 1.05, 2.0])
def test_the_deepest_trainable_network_is_the_last_of_which_theory_says_so(decay: float) -> None:
    depth = deepest_trainable(math.log10(decay))
    assert depth == pytest.approx(1 + 6 / abs(2 * math.log(decay)))
    assert trainable((depth - 1) * (1 - 1e-9) * math.log10(decay))
    assert not trainable((depth - 1) * (1 + 1e-9) * math.log10(decay))


def test_at_the_critical_point_any_depth_can_be_trained() -> None:
    assert deepest_trainable(0.0) == math.inf
    assert deepest_trainable(-math.inf) == 1
    assert math.isnan(deepest_trainable(math.nan))
    curve = limit_curve([1.0, 2.0, 3.0], [-0.1, 0.1, math.nan], numeric=True)
    assert curve["x"].max() == 2.0, "nothing is predicted at 3"
    assert curve["y"].max() > 50 * curve["y"].iloc[0], "the curve leaves towards the critical point at 1.5"
    assert abs(curve["x"][curve["y"].idxmax()] - 1.5) < 0.01
    assert np.isfinite(curve["y"]).all()


def test_axes_find_numbers_inside_of_settings() -> None:
    settings = [
        {"init": init, "model.init.sigma_w": w, "depth": depth, "activation": activation}
        for depth in (1, 2)
        for w, init in ((1.0, "normal(sigma_b=0.1)"), (1.5, "normal(sigma_w=1.5, sigma_b=0.1)"))
        for activation in ("elu", "elu(alpha=2)")
    ]
    found = {axis.name: axis for axis in axes(["init", "model.init.sigma_w", "depth", "activation"], settings)}
    assert list(found) == ["model.init.sigma_w", "depth", "activation"], "the plain number stands for both"
    assert (found["activation"].label, found["activation"].ticks) == ("activation alpha", [1.0, 2.0])
    (init,) = axes(["init"], settings)
    assert (init.label, init.ticks, init.numeric) == ("init sigma_w", [1.0, 1.5], True)
    (mixed,) = axes(["x"], [{"x": "relu"}, {"x": "elu"}, {"x": None}])
    assert (mixed.ticks, mixed.numeric) == (["relu", "elu"], False)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return make_report([make_run(tmp_path_factory.mktemp("runs"), [sweep((2, 4, 30))]).path])


def test_a_cell_for_each_group(report: Report) -> None:
    planes = {figure.name: figure for figure in report.figures if isinstance(figure.chart, Plane)}
    assert set(planes) == {"decay-over-depth-and-width", "metric-over-depth-and-width"}
    frame = report.summary.trials.frame
    for cell in planes["metric-over-depth-and-width"].numbers.itertuples(index=False):
        own = frame[(frame["depth"] == cell.y) & (frame["width"] == cell.x)]
        assert cell.value == pytest.approx(own["final_eval_metric"].mean())
        assert cell.trials == len(own) == 3
    for cell in planes["decay-over-depth-and-width"].numbers.itertuples(index=False):
        own = frame[(frame["depth"] == cell.y) & (frame["width"] == cell.x)]
        assert cell.value == pytest.approx(np.log10(own["gradient_decay"]).mean())


def test_theory_s_curve_and_how_networks_beyond_it_did(report: Report) -> None:
    (figure,) = (one for one in report.figures if one.name == "metric-over-depth-and-width")
    assert isinstance(figure.chart, Plane)
    assert figure.chart.curve is not None
    limits = figure.chart.curve.set_index("x")["y"]
    assert limits[8] == pytest.approx(1 + 6 / (2 * math.log(2)))
    assert limits[16] == pytest.approx(1 + 6 / (2 * math.log(1.1)))
    means = report.summary.trials.frame.groupby(["width", "depth"])["final_eval_metric"].mean()
    inside = means.drop((8, 30)).mean()
    assert f"on average {inside:#.3g} in the 5 networks within" in figure.sentence
    assert f"{means[8, 30]:#.3g} in the 1 network beyond" in figure.sentence


def test_other_factors_make_panels_and_no_more_than_fit(tmp_path: Path) -> None:
    trials = [
        FakeTrial(f"{depth}-{width}-{place}", depth=depth, width=width, settings={"data.noise": place / 10})
        for depth in (2, 3)
        for width in (4, 8)
        for place in range(MOST_PANELS + 3)
    ]
    report = make_report([make_run(tmp_path, [trials]).path])
    planes = {figure.name: figure for figure in report.figures if isinstance(figure.chart, Plane)}
    by_width = planes["decay-over-depth-and-width"]
    assert by_width.numbers["panel"].nunique() == MOST_PANELS
    assert "48 of 60 groups" in by_width.sentence
    assert planes["decay-over-depth-and-data-noise"].numbers["panel"].unique().tolist() == ["width=4", "width=8"]


def test_without_depth_there_is_no_plane(tmp_path: Path) -> None:
    trials = [
        FakeTrial(f"{name}{lr}", settings={"depth": None, "family": "custom", "model.kwargs.x": name, "lr": lr})
        for name in "ab"
        for lr in (0.1, 0.2)
    ]
    report = make_report([make_run(tmp_path, [trials]).path])
    assert report.figures
    assert not any(isinstance(figure.chart, Plane) for figure in report.figures)
