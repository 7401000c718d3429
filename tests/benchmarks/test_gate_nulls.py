"""The null checks of the gate's benchmark are null checks, and they are counted right."""

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.gate.checks import SEEDS, measured
from benchmarks.gate.nulls import Block, Judged, blocks, part, run, summary
from benchmarks.gate.variants import NETWORKS, PROJECT


def test_blocks_hold_all_checks_and_share_no_seed() -> None:
    found = blocks(30)
    seeds = [seed for one in found for seed in range(one.first_seed, one.first_seed + 2 * SEEDS * one.checks)]
    assert len(set(seeds)) == len(seeds) == 2 * SEEDS * 30 * len(NETWORKS)
    assert {name: sum(one.checks for one in found if one.network == name) for name in NETWORKS} == dict.fromkeys(
        NETWORKS, 30
    )


def test_a_part_is_what_these_seeds_alone_measure() -> None:
    config = PROJECT / "built_in_mlp.yaml"
    cut, alone = part(measured(config, 0, 6), 2, 5), measured(config, 2, 3)
    assert cut.seeds == alone.seeds
    for ours, theirs in zip(cut.networks, alone.networks, strict=True):
        assert ours.diverged == theirs.diverged
        np.testing.assert_array_equal(ours.weight_prints, theirs.weight_prints)
        for key, values in theirs.values.items():
            np.testing.assert_array_equal(ours.values[key], values)


def test_a_block_judges_each_of_its_checks_both_ways() -> None:
    found = run(Block("residual", 10_000, 2))
    assert [one.first_seed for one in found] == [10_000, 10_000 + 2 * SEEDS]
    for one in found:
        assert 0 < one.fresh.p <= 1
        assert 0 < one.paired.p <= 1


@pytest.mark.parametrize(("alarms", "checks"), [(0, 20), (3, 50), (20, 20)])
def test_the_interval_is_the_exact_one(alarms: int, checks: int) -> None:
    verdicts = ["regression"] * alarms + ["pass"] * (checks - alarms)
    counted = summary([Judged(verdict, 0.5, ()) for verdict in verdicts])
    exact = binomtest(alarms, checks).proportion_ci(0.95, "exact")
    assert (counted.low, counted.high) == pytest.approx((exact.low, exact.high))
    assert (counted.checks, counted.alarms, counted.inconclusive) == (checks, alarms, 0)


def test_shares_below_a_level() -> None:
    counted = summary([Judged("pass", p, ()) for p in (0.01, 0.02, 0.5, 1.0)])
    assert [counted.share_below(level) for level in (0.005, 0.01, 0.1, 1.0)] == [0, 0.25, 0.5, 1]
