"""Lines of gradients against a naive recomputation from the tables."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradlab.analysis.figures.figure import Figure, Lines
from gradlab.analysis.figures.report import Report, make_report
from tests.analysis.figures.runs import sweep
from tests.store.synthetic import FakeTrial, make_run


def figure(report: Report, name: str) -> Figure:
    (found,) = (one for one in report.figures if one.name == name)
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return make_report([make_run(tmp_path_factory.mktemp("runs"), [sweep()]).path])


@pytest.fixture(scope="module")
def tables(report: Report) -> pd.DataFrame:
    path = report.summary.trials.parts[0].run.path
    layers, trials = pd.read_parquet(path / "layers"), pd.read_parquet(path / "trials")
    joined = layers.merge(trials[["trial_id", "depth", "width"]], on="trial_id")
    group = {(known["depth"], known["width"]): place for place, known in enumerate(report.factors)}
    return joined.assign(group=[group[pair] for pair in zip(joined["depth"], joined["width"], strict=True)])


@pytest.mark.parametrize(
    ("name", "column"), [("gradient-by-layer", "delta_rms"), ("weight-gradient-by-layer", "weight_grad_norm")]
)
def test_lines_are_geometric_means_with_t_intervals(
    report: Report, tables: pd.DataFrame, name: str, column: str
) -> None:
    numbers = figure(report, name).numbers
    assert isinstance(figure(report, name).chart, Lines)
    logs = {key: np.log10(own.to_numpy()) for key, own in tables.groupby(["group", "step", "layer"])[column]}
    assert len(numbers) == len(logs)
    for row in numbers.itertuples(index=False):
        own = logs[row.group, row.step, row.layer]
        half = stats.t.ppf(0.975, len(own) - 1) * np.std(own, ddof=1) / math.sqrt(len(own))
        assert row.value == pytest.approx(np.mean(own))
        assert (row.low, row.high) == pytest.approx((np.mean(own) - half, np.mean(own) + half), abs=1e-9)


def test_theory_goes_back_from_the_last_hidden_layer(report: Report) -> None:
    numbers = figure(report, "gradient-by-layer").numbers
    assert numbers.loc[numbers["step"] > 0, "predicted"].isna().all()
    for group, known in enumerate(report.factors):
        own = numbers[(numbers["group"] == group) & (numbers["step"] == 0)].set_index("layer")
        depth, rate = known["depth"], 0.5 if known["width"] == 8 else 1.1
        assert math.isnan(own.loc[depth + 1, "predicted"])
        for layer in range(1, depth + 1):
            expected = own.loc[depth, "value"] + (depth - layer) * math.log10(rate)
            assert own.loc[layer, "predicted"] == pytest.approx(expected)


def test_the_sentence_has_these_numbers(report: Report) -> None:
    numbers = figure(report, "gradient-by-layer").numbers
    first = numbers[numbers["step"] == 0].set_index(["group", "layer"])["value"]
    ratios = {
        10 ** (first[group, 1] - first[group, known["depth"]]): report.labels[group]
        for group, known in enumerate(report.factors)
    }
    told = figure(report, "gradient-by-layer").sentence
    for ratio in (min(ratios), max(ratios)):
        assert f"{ratio:#.3g} times ({ratios[ratio]})" in told
    assert "in 4 of 4 groups" in told


def test_zero_and_unknown_are_no_numbers(tmp_path: Path) -> None:
    nothing = {"delta_rms": 0.0, "log10_delta_rms": None, "weight_grad_norm": math.nan, "log10_weight_grad_norm": None}
    trials = [FakeTrial("a", depth=3, layers={(0, 1): nothing | {"non_finite": 3}})]
    report = make_report([make_run(tmp_path, [trials]).path])
    for name in ("gradient-by-layer", "weight-gradient-by-layer"):
        numbers = figure(report, name).numbers
        assert not np.isinf(numbers[["value", "low", "high", "predicted"]].to_numpy(np.float64)).any()
        assert numbers.loc[(numbers["step"] == 0) & (numbers["layer"] == 1), "value"].isna().all()
    assert "is 0 times" in figure(report, "gradient-by-layer").sentence


def test_along_time_where_the_gradient_is_followed_so(tmp_path: Path) -> None:
    time = {(step, layer): {"kind": "time", "name": "cell"} for step in (0, 20) for layer in range(1, 5)}
    report = make_report([make_run(tmp_path, [[FakeTrial("a", depth=4, layers=time)]]).path])
    lines = figure(report, "gradient-by-layer")
    assert isinstance(lines.chart, Lines)
    assert lines.chart.x_label == "time step"
    assert lines.numbers["layer"].unique().tolist() == [1, 2, 3, 4], "the output layer is no time step"
    weights = figure(report, "weight-gradient-by-layer")
    assert weights.numbers["layer"].unique().tolist() == [5], "time steps share their weights"
