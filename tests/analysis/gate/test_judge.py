"""Known changes to a measurement, and the verdicts they must come to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION, SAME, Change
from gradlab.analysis.gate.judge import Verdict, judge
from gradlab.store.measurement import END, FIRST, LOGARITHMIC, LOSSES, SHARES, Key, Measurement
from tests.analysis.gate.measurements import (
    SEEDS,
    SHARE,
    THRESHOLDS,
    Edit,
    edited,
    measurement,
    network,
    only,
    replaced,
    scaled,
)

NORM = "weight_grad_norm"
SMALLEST_P = 2 / 2**SEEDS

ZERO = only(SEEDS, -math.inf)


def judged(now: Measurement, baseline: Measurement | None = None) -> Verdict:
    return judge(baseline or measurement(), now, THRESHOLDS)


def after(edit: Edit, baseline_edit: Edit | None = None) -> Verdict:
    """One norm, that of layer 2 at step 0, after an edit; perhaps against an edited one."""
    sides = [
        measurement() if one is None else edited(measurement(), one, [NORM], [2], [FIRST])
        for one in (baseline_edit, edit)
    ]
    return judged(sides[1], sides[0])


def norm(verdict: Verdict) -> Change:
    """What became of that norm, when nothing else has changed."""
    (found,) = (change for change in verdict.changes if change.key == Key(FIRST, NORM, 2))
    assert all(change.verdict == SAME for change in verdict.changes if change is not found)
    assert verdict.verdict == found.verdict
    return found


def test_the_same_again_passes_and_everything_was_compared() -> None:
    verdict = judged(measurement())
    assert verdict.verdict == SAME
    assert verdict.paired
    assert verdict.exact
    assert verdict.notes == ()
    assert all(change.p == 1 and change.shift == 0 == change.low == change.high for change in verdict.changes)
    compared = {change.key for change in verdict.changes}
    assert compared == {*measurement().networks[0].values, Key(END, "diverged", 0)}
    assert len(compared) == len(verdict.changes)


@pytest.mark.parametrize("factor", [2, 0.5, 1e-300, 1.26, 1 / 1.26])
def test_a_ratio_over_all_seeds_is_a_regression_either_way(factor: float) -> None:
    change = norm(after(scaled(factor)))
    assert change.verdict == REGRESSION
    assert change.p == SMALLEST_P
    assert change.shift == pytest.approx(math.log10(factor))
    assert change.low == pytest.approx(change.shift)
    assert change.high == pytest.approx(change.shift)
    assert (change.name, change.step, change.reason) == ("layer_2", 0, "")


@pytest.mark.parametrize("factor", [1.24, 1 / 1.24, 1.00001])
def test_a_small_ratio_passes_however_significant(factor: float) -> None:
    change = norm(after(scaled(factor)))
    assert change.verdict == SAME
    assert change.p == SMALLEST_P


@pytest.mark.parametrize("statistic", [*LOGARITHMIC, *LOSSES])
def test_every_ratio_has_its_own_threshold(statistic: str) -> None:
    thresholds = THRESHOLDS | {statistic: 3.0}
    for factor, verdict in ((2.9, SAME), (3.1, REGRESSION), (1 / 2.9, SAME), (1 / 3.1, REGRESSION)):
        now = edited(measurement(), scaled(factor), [statistic], [0, 2])
        assert judge(measurement(), now, thresholds).verdict == verdict
        assert judge(measurement(), now, THRESHOLDS).verdict == REGRESSION


@pytest.mark.parametrize("statistic", SHARES)
def test_every_share_has_its_own_threshold(statistic: str) -> None:
    thresholds = THRESHOLDS | {statistic: 0.1}
    for difference, verdict in ((0.09, SAME), (0.11, REGRESSION), (-0.09, SAME), (-0.11, REGRESSION)):
        now = edited(measurement(), lambda shares, by=difference: shares + by, [statistic], [2])
        assert judge(measurement(), now, thresholds).verdict == verdict
        assert judge(measurement(), now, THRESHOLDS).verdict == REGRESSION


def test_one_seed_is_not_enough_to_tell() -> None:
    change = norm(after(lambda logs: logs + 2 * (np.arange(SEEDS) == 0)))
    assert change.verdict == INCONCLUSIVE
    assert change.shift == pytest.approx(0.2)
    assert change.p == 1
    assert change.seeds_needed is not None
    assert change.seeds_needed > SEEDS


def test_seeds_that_are_said_to_settle_it_do() -> None:
    """The same scatter over as many seeds as it asks for."""
    scatter = np.array([0.5, 0.4, 0.3, 0.2, 0.2, 0.1, 0.1, -0.1, -0.1, -0.2])
    needed = norm(after(lambda logs: logs + scatter)).seeds_needed
    assert needed is not None
    assert SEEDS < needed < 40
    more = measurement(network(seeds=needed))
    now = edited(more, lambda logs: logs + np.resize(scatter, needed), [NORM], [2], [FIRST])
    assert judge(more, now, THRESHOLDS).verdict == REGRESSION


def test_seeds_that_diverge() -> None:
    for before, now, verdict in ((0, 10, REGRESSION), (10, 0, REGRESSION), (0, 1, INCONCLUSIVE), (10, 10, SAME)):
        sides = [replaced(measurement(), diverged=(5,) * count + (None,) * (SEEDS - count)) for count in (before, now)]
        found = judged(sides[1], sides[0])
        assert found.verdict == verdict
        (change,) = (change for change in found.changes if change.key.statistic == "diverged")
        assert change.verdict == verdict
        assert (change.baseline, change.now) == (before / SEEDS, now / SEEDS)


def test_a_single_pair_of_the_same_weights_needs_no_test() -> None:
    one = measurement(network(seeds=1))
    assert judge(one, one, THRESHOLDS).verdict == SAME
    assert judge(one, edited(one, scaled(1.3), [NORM]), THRESHOLDS).verdict == REGRESSION
    assert judge(one, edited(one, scaled(1.2), [NORM]), THRESHOLDS).verdict == SAME
    assert judge(one, edited(one, only(1, -math.inf), [NORM]), THRESHOLDS).verdict == REGRESSION


def test_a_single_seed_against_another_tells_nothing() -> None:
    one, other = measurement(network(seeds=1)), measurement(network(seeds=1, stream=1), seeds=[7])
    assert judge(one, edited(other, scaled(1e9), [NORM]), THRESHOLDS).verdict == INCONCLUSIVE


def test_networks_that_are_the_same_for_every_seed() -> None:
    """Constant initial weights and full batches: no spread at all."""
    still = measurement(replace(network(spread=0), weight_prints=np.full((3, SEEDS), math.nan)))
    assert judge(still, still, THRESHOLDS).verdict == SAME
    assert judge(still, edited(still, scaled(1.3), [NORM]), THRESHOLDS).verdict == REGRESSION
    other = replace(still, seeds=tuple(range(100, 110)))
    assert judge(still, other, THRESHOLDS).verdict == SAME
    assert judge(still, edited(other, scaled(1.3), [NORM]), THRESHOLDS).verdict == REGRESSION


@pytest.mark.parametrize("now", [measurement(network(stream=1), seeds=range(50, 60)), measurement(network(stream=1))])
def test_other_seeds_or_other_draws_are_compared_as_distributions(now: Measurement) -> None:
    verdict = judged(now)
    assert not verdict.paired
    assert verdict.verdict != REGRESSION
    assert judged(edited(now, scaled(10), [NORM], [2])).verdict == REGRESSION
    assert judged(edited(now, ZERO, [NORM], [2])).verdict == REGRESSION
    assert judged(edited(now, lambda shares: shares + 2 * SHARE, ["dead_units"], [2])).verdict == REGRESSION
    lost = judged(edited(now, only(1, math.nan), [NORM], [2], [FIRST]))
    assert [change.reason for change in lost.of(REGRESSION)] == ["not a number"]


def test_where_seeds_pair_up_a_change_far_below_their_spread_is_seen() -> None:
    wide, other = measurement(network(spread=2.0)), measurement(network(spread=2.0, stream=1))
    assert judge(wide, edited(wide, scaled(1.3), [NORM]), THRESHOLDS).verdict == REGRESSION
    assert judge(wide, edited(other, scaled(1.3), [NORM]), THRESHOLDS).verdict != REGRESSION


def test_the_sides_exchanged_mirror_every_change() -> None:
    now = edited(edited(measurement(), scaled(3), [NORM], [1]), lambda shares: shares / 2, ["dead_units"], [2])
    there, back = judged(now), judged(measurement(), now)
    ways = [{change.key: change for change in verdict.changes} for verdict in (there, back)]
    for key, change in ways[0].items():
        mirrored = ways[1][key]
        assert (mirrored.verdict, mirrored.p) == (change.verdict, change.p)
        assert mirrored.shift == pytest.approx(-change.shift)
        assert mirrored.low == pytest.approx(-(change.high or 0))


def test_the_worst_comes_first() -> None:
    now = edited(measurement(), scaled(2), [NORM], [1])
    now = edited(now, scaled(1e-3), [NORM], [2])
    now = edited(now, ZERO, [NORM], [3], [FIRST])
    now = edited(now, lambda logs: logs + 9 * (np.arange(SEEDS) == 0), ["update_ratio"], [3], [FIRST])
    changes = judged(now).changes
    assert [change.key.layer for change in changes[:7]] == [3, 2, 2, 2, 1, 1, 1]
    assert changes[7].verdict == INCONCLUSIVE
    assert {change.verdict for change in changes[8:]} == {SAME}


def test_all_networks_share_one_test() -> None:
    """Twice as many statistics, one network of which has changed."""
    both = measurement(network(settings={"model.depth": 1}), network(settings={"model.depth": 2}, stream=1))
    now = replace(both, networks=(both.networks[0], edited(both, scaled(2), [NORM]).networks[1]))
    regressed = judge(both, now, THRESHOLDS).of(REGRESSION)
    assert {change.network["model.depth"] for change in regressed} == {2}
    assert len(regressed) == 9


def test_parameters_of_another_type_are_missing_and_others_are_counted() -> None:
    """Rounded to bfloat16 they are others, though no norm tells."""
    base = measurement()
    (known,) = base.networks[0].parameters.values()

    def verdict(**parameters: int) -> Verdict:
        return judge(base, replace(base, networks=(replace(base.networks[0], parameters=parameters),)), THRESHOLDS)

    for parameters in ({"float32": known - 5, "bfloat16": 5}, {"bfloat16": known}):
        (change,) = verdict(**parameters).of(REGRESSION)
        assert (change.key.statistic, change.reason) == ("parameters", "missing")
        moved = parameters["bfloat16"]
        assert change.name == f"{moved} float32 trainable parameters; there are {moved} bfloat16 ones"
    for parameters, told in (({"float32": known + 3}, "3 float32 trainable parameters more"), ({}, f"{known} float32")):
        found = verdict(**parameters)
        assert found.verdict == SAME
        assert found.notes[0].startswith(told)
