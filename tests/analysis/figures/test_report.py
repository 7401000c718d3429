"""Whatever the runs are like: a report of what they have, and words on what they lack."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gradlab.analysis.figures.figure import Quantiles, Regions
from gradlab.analysis.figures.report import Report, make_report
from gradlab.errors import UsageError
from gradlab.store.row_groups import write_table
from tests.analysis.figures.runs import complete_run, sweep
from tests.store.synthetic import FakeTrial, make_run


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return make_report([complete_run(tmp_path_factory.mktemp("runs")).path])


def test_every_kind_of_figure(report: Report) -> None:
    kinds = {type(figure.chart).__name__ for figure in report.figures}
    assert kinds == {"LayerSteps", "Lines", "Plane", "Quantiles", "Regions"}
    names = [figure.name for figure in report.figures]
    assert len(set(names)) == len(names)
    for figure in report.figures:
        assert figure.sentence.endswith(".")
        assert figure.alt.endswith(".")
        assert not np.isinf(figure.numbers.select_dtypes("number").to_numpy(np.float64)).any(), figure.name
        if "group" in figure.numbers:
            assert figure.numbers["group"].between(0, len(report.labels) - 1).all()


def test_labels_and_factors(report: Report) -> None:
    assert report.labels == ("depth=2 width=8", "depth=2 width=16", "depth=5 width=8", "depth=5 width=16")
    assert report.factors[1] == {"depth": 2, "width": 16}


@pytest.mark.parametrize("name", ["data.noise", "model.kwargs.x"])
def test_what_some_networks_lack_tells_them_apart(tmp_path: Path, name: str) -> None:
    trials = [FakeTrial("a", settings={name: 3}), FakeTrial("b", settings={name: None})]
    report = make_report([make_run(tmp_path, [trials]).path])
    assert set(report.labels) == {f"{name}=3", f"{name}=-"}


def test_quantiles_are_means_over_seeds(report: Report) -> None:
    (figure,) = (one for one in report.figures if isinstance(one.chart, Quantiles))
    assert sorted(figure.numbers["step"].unique()) == [0, 20]
    for row in figure.numbers.itertuples(index=False):
        assert row.layer <= report.factors[row.group]["depth"], "the output layer has no activations"
        assert row.q95 == pytest.approx(0.5**row.layer * np.mean([1, 2, 3]) * 0.9)
        assert row.q50 == pytest.approx(0)
    assert f"before training between {0.5**4:#.3g} times" in figure.sentence


def test_regions_of_one_seed(report: Report) -> None:
    (figure,) = (one for one in report.figures if isinstance(one.chart, Regions))
    assert figure.numbers["seed"].unique().tolist() == [0]
    assert len(figure.numbers) == 2 * len(report.labels)
    row = figure.numbers.iloc[1]
    assert [row[name] for name in ("x_min", "x_max", "y_min", "y_max")] == pytest.approx([-1, 1, -1, 1])
    assert (row["resolution"], row["classes"], row["step"]) == (4, 2, 21)
    assert row["decision"] == [0] * 8 + [1] * 8, "from the lowest y on"
    assert "75 %" in figure.sentence, "three of four examples lie in their own half"


def test_runs_of_an_older_version_lack_some_figures(tmp_path: Path) -> None:
    run = complete_run(tmp_path)
    (path,) = run.parts("layers")
    old = pq.read_table(path)
    left_out = [name for name in old.column_names if name.startswith("activation_q")]
    write_table(path, old.drop_columns([*left_out, "saturated_fraction", "kind"]))
    (run.path / "regions" / "part.parquet").unlink()
    names = {figure.name for figure in make_report([run.path]).figures}
    assert {"gradient-by-layer", "gradient-map", "dead-units-map"} <= names
    assert not names & {"activations-by-layer", "decision-regions", "saturation-map"}


def test_a_broken_part_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path, [sweep(widths=[8]), sweep(widths=[16])])
    broken = run.parts("layers")[1]
    broken.write_bytes(broken.read_bytes()[:-100])
    report = make_report([run.path])
    assert any(broken.name in str(miss) for miss in report.summary.skipped)
    assert report.figures[0].numbers["group"].nunique() == 2
    assert len(report.labels) == 4


def test_diverged_and_failed_trials(tmp_path: Path) -> None:
    nan = dict.fromkeys(("delta_rms", "log10_delta_rms", "weight_grad_norm", "log10_weight_grad_norm"), math.nan)
    nowhere = {(20, layer): nan for layer in range(1, 5)}
    diverged = {"status": "diverged", "diverged_step": 20}
    failed = {"status": "failed", "final_eval_metric": None}
    trials = [
        FakeTrial("completed", depth=3),
        FakeTrial("diverged", depth=3, settings={"lr": 9.0}, results=diverged, layers=nowhere),
        FakeTrial("failed", depth=3, settings={"lr": 99.0}, results=failed),
    ]
    report = make_report([make_run(tmp_path, [trials]).path])
    for figure in report.figures:
        assert not np.isinf(figure.numbers.select_dtypes("number").to_numpy(np.float64)).any()
    lines = report.figures[0].numbers
    assert lines.loc[(lines["group"] == 1) & (lines["step"] == 20), "value"].isna().all()


def test_nothing_recorded_and_nothing_there(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [[FakeTrial("a")]])
    (path,) = run.parts("layers")
    write_table(path, pq.read_table(path).slice(0, 0))
    assert make_report([run.path]).figures == ()
    empty = make_report([make_run(tmp_path / "b", []).path])
    assert (empty.labels, empty.figures) == ((), ())
    with pytest.raises(UsageError, match="no run directory"):
        make_report([tmp_path / "nothing"])


def test_names_of_files_are_plain(tmp_path: Path) -> None:
    trials = [
        FakeTrial(
            f"t{depth}{place}", depth=depth, settings={"model.kwargs.</svg> ../$": place, "model.kwargs.svg": -place}
        )
        for depth in (2, 3)
        for place in (1, 2)
    ]
    report = make_report([make_run(tmp_path, [trials]).path])
    assert len(report.figures) >= 6
    assert all(figure.name.replace("-", "").isalnum() for figure in report.figures)
