"""From the tables of a run to what a check compares, against pandas and by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlab.errors import UsageError
from gradlab.observe_run import measure_run
from gradlab.store.baseline import read_baseline, write_baseline
from gradlab.store.measurement import LOGARITHMIC, SHARES, Key, Measurement
from tests.store.synthetic import FakeTrial, make_run
from tests.store.watched_runs import WatchedTrial, make_watched, recurrent

SETTINGS: dict[str, Any] = {"steps": 31}


def trainings(**results: Any) -> list[WatchedTrial]:
    """Three seeds of one network, the last record at step 30."""
    return [WatchedTrial(f"t{seed}", seed, recurrent(4), settings=SETTINGS, results=results) for seed in range(3)]


def expected(path: Path, trials: list[str], statistic: str, step: int, layer: int) -> Any:
    """`[seed]`, as a check compares it, from all of the table."""
    table = pd.read_parquet(path / "layers")
    table = table[(table["kind"] == "layer") & (table["step"] == step) & (table["layer"] == layer)]
    row = table.set_index("trial_id").loc[trials]
    if statistic in LOGARITHMIC:
        return np.log10(row[statistic]).to_numpy()
    size = {"non_finite": row["weight_count"], "saturated_fraction": 1}.get(statistic, row["units"])
    return (row[statistic] / size).to_numpy()


def test_every_number_is_the_one_in_the_tables(tmp_path: Path) -> None:
    run = make_watched(tmp_path / "run", trainings())
    (network,) = measure_run(run.directory).measurement.networks
    assert network.layers == ("embed", "lstm", "head")
    assert network.steps == {"first": 0, "middle": 10, "last": 30}
    assert network.weight_counts == (64, 64, 64)
    told = {"first": (*LOGARITHMIC, *SHARES)} | dict.fromkeys(
        ("middle", "last"), tuple({*LOGARITHMIC, *SHARES} - {"weight_norm"})
    )
    keys = {Key(step, name, layer) for step, names in told.items() for name in names for layer in (1, 2, 3)}
    assert set(network.values) == keys | {Key("end", f"final_{which}_loss", 0) for which in ("train", "eval")}
    for key in keys:
        values = expected(run.path, ["t0", "t1", "t2"], key.statistic, network.steps[key.step], key.layer)
        np.testing.assert_allclose(network.values[key], values, rtol=1e-12, err_msg=str(key))
    np.testing.assert_allclose(network.values[Key("end", "final_eval_loss", 0)], np.log10([0.6] * 3))


def test_a_sweep_of_several_networks(tmp_path: Path) -> None:
    trials = [FakeTrial(f"d{depth}s{seed}", seed, depth=depth) for depth in (2, 4) for seed in (3, 1)]
    run = make_run(tmp_path, [trials[:1], trials[1:]])
    measured = measure_run(run).measurement
    assert measured.seeds == (1, 3)
    assert [network.settings["depth"] for network in measured.networks] == [2, 4]
    assert [len(network.layers) for network in measured.networks] == [3, 5]
    assert [network.steps for network in measured.networks] == [{"first": 0, "last": 20}] * 2
    assert {network.weight_prints.shape for network in measured.networks} == {(3, 0), (5, 0)}


def cell(run: Any, trial: str, step: int, layer: int, **values: Any) -> None:
    """Put other values into a row of layers."""
    place = (trial, step, layer, "layer")
    for path in run.directory.parts("layers"):
        table = pq.read_table(path)
        rows = [
            row | values if tuple(row[key] for key in ("trial_id", "step", "layer", "kind")) == place else row
            for row in table.to_pylist()
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def test_zero_null_and_no_number_stay_apart(tmp_path: Path) -> None:
    run = make_watched(tmp_path / "run", trainings())
    nothing = {"weight_grad_norm": None, "log10_weight_grad_norm": None}
    cell(run, "t0", 0, 1, delta_rms=0.0, log10_delta_rms=None)
    cell(run, "t1", 0, 1, delta_rms=math.nan, log10_delta_rms=None)
    cell(run, "t2", 0, 1, delta_rms=0.0, log10_delta_rms=-400.25)
    cell(run, "t1", 0, 2, delta_rms=math.inf, log10_delta_rms=math.inf)
    for seed in range(3):
        cell(run, f"t{seed}", 10, 1, **nothing)
    (network,) = measure_run(run.directory).measurement.networks
    np.testing.assert_array_equal(network.values[Key("first", "delta_rms", 1)], [-np.inf, np.nan, -400.25])
    assert network.values[Key("first", "delta_rms", 2)][1] == np.inf
    assert Key("middle", "weight_grad_norm", 1) not in network.values
    assert Key("middle", "weight_grad_norm", 2) in network.values


def test_it_is_the_same_once_written_as_a_baseline(tmp_path: Path) -> None:
    prints = {f"t{seed}": [0.5, -1.25, 2.0 + seed] for seed in range(3)}
    for name, info in (("with", {"weight_prints": prints}), ("without", {})):
        run = make_watched(tmp_path / name, trainings(final_eval_loss=None), info | {"torch": "2.13", "threads": 1})
        for seed in range(3):
            cell(run, f"t{seed}", 10, 1, delta_rms=None, log10_delta_rms=None)
        measured = measure_run(run.directory).measurement
        write_baseline(tmp_path / f"{name}.json", measured)
        again = read_baseline(tmp_path / f"{name}.json", "")
        assert_same(measured, again)
    assert measured.made_by == {"torch": "2.13", "threads": "1"}


def assert_same(one: Measurement, other: Measurement) -> None:
    assert (one.config, one.seeds, one.made_by) == (other.config, other.seeds, other.made_by)
    for mine, its in zip(one.networks, other.networks, strict=True):
        assert mine.identity == its.identity
        assert (mine.layers, mine.steps, mine.diverged, mine.parameters) == (
            its.layers, its.steps, its.diverged, its.parameters
        )  # fmt: skip
        np.testing.assert_allclose(mine.weight_prints, its.weight_prints, atol=1e-4)
        assert mine.values.keys() == its.values.keys()
        for key, values in mine.values.items():
            np.testing.assert_allclose(values, its.values[key], rtol=1e-5, atol=1e-5)


def test_prints_stand_by_seed_and_layer(tmp_path: Path) -> None:
    prints = {f"t{seed}": [0.5, None, 2.0 + seed] for seed in range(3)}
    run = make_watched(tmp_path / "run", trainings(), {"weight_prints": prints})
    (network,) = measure_run(run.directory).measurement.networks
    np.testing.assert_array_equal(network.weight_prints, [[0.5] * 3, [np.nan] * 3, [2.0, 3.0, 4.0]])


@pytest.mark.parametrize("prints", [{"t0": [1.0, 2.0, 3.0]}, {f"t{seed}": [1.0] for seed in range(3)}])
def test_prints_that_some_trial_lacks_are_none(tmp_path: Path, prints: Any) -> None:
    run = make_watched(tmp_path / "run", trainings(), {"weight_prints": prints})
    (network,) = measure_run(run.directory).measurement.networks
    assert network.weight_prints.shape == (3, 0)


def test_a_diverged_seed_has_no_numbers_after_its_end(tmp_path: Path) -> None:
    broken = {**SETTINGS, "status": "diverged", "diverged_step": 20, "final_train_loss": math.nan}
    diverged = WatchedTrial("t1", 1, recurrent(4), ((0, 10), (20,)), settings=broken)
    run = make_watched(tmp_path / "run", [trainings()[0], diverged, trainings()[2]])
    (network,) = measure_run(run.directory).measurement.networks
    assert network.diverged == (None, 20, None)
    assert network.steps == {"first": 0, "middle": 10, "last": 30}
    assert np.isfinite(network.values[Key("middle", "delta_rms", 1)]).all()
    assert np.isnan(network.values[Key("last", "delta_rms", 1)]).tolist() == [False, True, False]
    assert np.isnan(network.values[Key("end", "final_train_loss", 0)]).tolist() == [False, True, False]


def test_a_failed_trial_leaves_its_network_out(tmp_path: Path) -> None:
    failed = FakeTrial("f", 0, depth=4, results={"status": "failed", "error": "out of memory"})
    run = make_run(
        tmp_path, [[FakeTrial("a", 0, depth=2), failed, FakeTrial("c", 1, depth=4), FakeTrial("d", 1, depth=2)]]
    )
    found = measure_run(run)
    assert [network.settings["depth"] for network in found.measurement.networks] == [2]
    assert found.measurement.seeds == (0, 1)
    assert [settings["depth"] for settings in found.failed] == [4]
    assert [failure.split()[-4:] for failure in found.failures] == [["seed=0:", "out", "of", "memory"]]


def test_seeds_that_not_every_network_has_are_named(tmp_path: Path) -> None:
    trials = [FakeTrial(f"a{seed}", seed, depth=2) for seed in range(4)] + [FakeTrial("b", 2, depth=3)]
    found = measure_run(make_run(tmp_path, [trials]))
    assert found.measurement.seeds == (2,)
    assert found.notes == ("seeds that not every network has are left out: 0, 1, 3",)


@pytest.mark.parametrize(
    ("trials", "told"),
    [
        ([], "not everything can be read"),
        ([FakeTrial("a", 0), FakeTrial("b", 0)], "two trials of .* have the seed 0.*settings="),
        ([FakeTrial("a", 0, depth=2), FakeTrial("b", 1, depth=3)], "no seed that all networks"),
        ([FakeTrial("a", 0), FakeTrial("b", 1, settings={"depth": 5}, depth=6)], "its layers differ"),
        ([FakeTrial("a", 0), FakeTrial("b", 1, last_step=10, settings={"steps": 21})], "up to 10 and up to 20"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_a_usage_error(tmp_path: Path, trials: list[FakeTrial], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        measure_run(make_run(tmp_path, [trials] if trials else []))


def test_a_part_that_cannot_be_read_is_no_pass(tmp_path: Path) -> None:
    run = make_watched(tmp_path / "run", trainings())
    (run.path / "layers" / "t1-0000.parquet").unlink()
    with pytest.raises(UsageError, match=r"not everything can be read:\n.*t1-0000.parquet is missing"):
        measure_run(run.directory)
