"""A run layer by layer, and one trial by the beginning of its id."""

import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from gradlab.analysis.layerwise import find_trial, layer_tables
from gradlab.errors import UsageError
from gradlab.store.reading import read_trials
from tests.store.synthetic import FakeTrial, make_run


def test_first_and_last_record_side_by_side(tmp_path):
    trials = [
        FakeTrial(f"t{seed}", seed, depth=2, layers={(0, 1): {"dead_units": seed}, (20, 1): {"dead_units": 4 + seed}})
        for seed in (0, 1)
    ]
    trials = read_trials([make_run(tmp_path, [[*trials, FakeTrial("deep", depth=3)]])])
    two, three = layer_tables(trials)[0]
    assert (two.settings["depth"], three.settings["depth"]) == (2, 3)
    assert two.varying == ("depth",)
    assert two.last_steps == (20, 20)
    assert [row.layer for row in two.rows] == [1, 2, 3]
    assert [row.units for row in two.rows] == [8, 8, 3]
    assert (two.rows[0].name, two.rows[0].first["dead_units"].value) == ("layer1", 0.5)
    assert two.rows[0].last["dead_units"].value == 4.5
    assert two.rows[0].first["weight_grad_norm"].value == pytest.approx(0.05)
    assert two.rows[2].first["dead_units"].value is None
    assert [row["trial_id"] for row in two.trials] == ["t0", "t1"]


def test_norms_are_geometric_and_zeros_counted(tmp_path):
    trials = [
        FakeTrial("a", 0, depth=1, layers={(20, 1): {"update_ratio": 1e-2}}),
        FakeTrial("b", 1, depth=1, layers={(20, 1): {"update_ratio": 1e-4}}),
        FakeTrial("c", 2, depth=1, layers={(20, 1): {"update_ratio": 0.0}}),
    ]
    trials = read_trials([make_run(tmp_path, [trials])])
    (table,) = layer_tables(trials)[0]
    ratio = table.rows[0].last["update_ratio"]
    assert ratio.log10 == pytest.approx(-3)
    assert (ratio.count, ratio.zeros) == (2, 1)


def test_a_trial_that_recorded_nothing(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a")], [FakeTrial("b", settings={"lr": 1.0})]])
    pq.write_table(pq.read_table(run.parts("layers")[1]).slice(0, 0), run.parts("layers")[1])
    trials = read_trials([run])
    _, without = layer_tables(trials)[0]
    assert (without.rows, without.last_steps) == ((), None)
    assert layer_tables(trials.where(np.zeros(2, bool)))[0] == ()


def test_nan_stays_unknown(tmp_path):
    broken = {"preactivation_rms": math.nan, "activation_mean": math.inf}
    trials = read_trials([make_run(tmp_path, [[FakeTrial("a", depth=1, layers={(20, 1): broken})]])])
    (table,) = layer_tables(trials)[0]
    assert table.rows[0].last["preactivation_rms"].value is None
    assert table.rows[0].last["activation_mean"].value is None
    assert table.rows[0].last["activation_mean"].left_out == 1


def test_trials_by_prefix(tmp_path):
    names = ["abc1", "abd2", "b", "bb"]
    trials = read_trials([make_run(tmp_path, [[FakeTrial(name, seed) for seed, name in enumerate(names)]])])
    assert find_trial(trials, "abc").frame["trial_id"].tolist() == ["abc1"]
    assert find_trial(trials, "b").frame["trial_id"].tolist() == ["b"]
    with pytest.raises(UsageError, match="ambiguous: abc1, abd2"):
        find_trial(trials, "ab")
    with pytest.raises(UsageError, match="did you mean abd2"):
        find_trial(trials, "abd3")
    with pytest.raises(UsageError, match="no trial"):
        find_trial(trials, "")
