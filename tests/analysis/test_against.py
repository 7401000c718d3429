"""A run beside a reference, by hand: ratios and their intervals, who is missing, what changed, Holm's correction."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradlab.analysis.against import beside
from gradlab.analysis.compare import Question, compare_runs
from gradlab.analysis.gradients import Logs
from gradlab.analysis.measures import Measure
from gradlab.store.finding import find_runs
from gradlab.store.reading import Trials
from tests.store.synthetic import FakeTrial, make_run

DIGESTS = {"reference": "a" * 64, "candidate": "b" * 64}


def ask(tmp_path, reference, candidate, **question):
    """The candidate's trials beside the reference's."""
    for name, trials in (("reference", reference), ("candidate", candidate)):
        make_run(tmp_path, [trials], name, DIGESTS[name])
    runs = find_runs([tmp_path])[0]
    (base,) = (run for run in runs if run.name.startswith("reference"))
    (found,) = compare_runs(runs, Question(**question), [base]).against
    return found


def network(logs, depth=5, seeds=None, **more):
    """A network's trials from the log10 of their decays; `settings` and `results` are those of every trial."""
    settings = more.get("settings", {})
    return [
        FakeTrial(f"{depth}-{seed}-{settings}", seed, depth, decay=10**log, **more)
        for seed, log in zip(seeds or range(len(logs)), logs, strict=True)
    ]


def by_measure(found, place=0):
    return {change.measure: change for change in found.changes[place]}


def verdicts(found, measure="gradient_decay"):
    return [by_measure(found, place)[measure].verdict for place in range(len(found.changes))]


class TestUnknown:
    """One seed on a side can't tell a difference from chance; what is equal is known to be."""

    def test_one_seed_on_each_side(self, tmp_path):
        found = ask(tmp_path, network([-1.0]), network([-0.9]))
        assert verdicts(found) == ["unknown"]
        assert (found.differing, found.identical, found.unknown, found.one_seed) == ([], [], [0], [0])

    def test_one_seed_on_one_side(self, tmp_path):
        found = ask(tmp_path, network([-1.0, -1.1, -1.2]), network([-0.9]))
        assert (found.unknown, found.one_seed) == ([0], [0])

    def test_the_same_trial_is_identical_not_unknown(self, tmp_path):
        found = ask(tmp_path, network([-1.0]), network([-1.0]))
        assert (found.identical, found.unknown) == ([0], [])

    def test_several_seeds_can_tell(self, tmp_path):
        found = ask(tmp_path, network([-1.0, -1.1, -1.2]), network([-0.9, -1.2, -1.1]))
        assert verdicts(found) == ["alike"]
        assert (found.differing, found.unknown) == ([], [])

    def test_nothing_measured_is_no_matter_of_seeds(self, tmp_path):
        nothing = dict.fromkeys(("final_eval_metric",), None)
        sides = [network([-1.0], results=nothing), network([-0.5], results=nothing)]
        found = ask(tmp_path, *sides, metrics=("final_eval_metric",))
        assert (found.unknown, found.one_seed) == ([0], [])

    def test_networks_of_each_kind(self, tmp_path):
        deep = [-3.0, -3.1, -3.2]
        found = ask(
            tmp_path,
            network([-1.0], depth=2) + network(deep, depth=3) + network([-2.0], depth=4),
            network([-0.9], depth=2) + network([log + 1 for log in deep], depth=3) + network([-2.0], depth=4),
        )
        assert [found.networks[place]["depth"] for place in found.unknown] == [2]
        assert [found.networks[place]["depth"] for place in found.differing] == [3]
        assert [found.networks[place]["depth"] for place in found.identical] == [4]


class TestDifferences:
    def test_the_same_seeds_are_compared_with_themselves(self, tmp_path):
        """Differences of log10: 0.1, 0.2, 0.3: mean 0.2, s = 0.1, half width 4.302653 x 0.1 / sqrt(3) = 0.248414."""
        found = ask(tmp_path, network([-1.0, -2.0, -3.0]), network([-0.9, -1.8, -2.7]))
        change = by_measure(found)["gradient_decay"]
        assert change.geometric
        assert change.reference.value == pytest.approx(1e-2)
        assert change.candidate.value == pytest.approx(10**-1.8)
        assert change.difference.value == pytest.approx(0.2)
        assert change.difference.low == pytest.approx(0.2 - 0.248414, abs=1e-6)
        assert change.difference.high == pytest.approx(0.2 + 0.248414, abs=1e-6)
        assert change.difference.p == pytest.approx(stats.ttest_1samp([0.1, 0.2, 0.3], 0).pvalue)

    def test_in_whatever_order_the_seeds_stand(self, tmp_path):
        found = ask(tmp_path, network([-1.0, -2.0, -3.0]), network([-2.7, -0.9, -1.8], seeds=[2, 0, 1]))
        change = by_measure(found)["gradient_decay"]
        assert change.difference.p == pytest.approx(stats.ttest_1samp([0.1, 0.2, 0.3], 0).pvalue)

    def test_other_seeds_are_two_samples(self, tmp_path):
        here, there = [-1.0, -1.2, -0.9], [-1.5, -1.4, -1.45, -1.6]
        found = ask(tmp_path, network(here), network(there, seeds=[10, 11, 12, 13]))
        change = by_measure(found)["gradient_decay"]
        expected = stats.ttest_ind(there, here, equal_var=False)
        ends = expected.confidence_interval(0.95)
        assert change.difference.value == pytest.approx(np.mean(there) - np.mean(here))
        assert (change.difference.low, change.difference.high) == pytest.approx((ends.low, ends.high))
        assert change.difference.p == pytest.approx(expected.pvalue)

    def test_counts_are_arithmetic(self, tmp_path):
        sides = [
            [trial for seed, dead in enumerate(shares) for trial in network([-1.0], seeds=[seed], results=dead)]
            for shares in (
                [{"dead_fraction": 0.1}, {"dead_fraction": 0.2}],
                [{"dead_fraction": 0.3}, {"dead_fraction": 0.6}],
            )
        ]
        change = by_measure(ask(tmp_path, *sides))["dead_fraction"]
        assert not change.geometric
        assert (change.reference.value, change.candidate.value) == pytest.approx((0.15, 0.45))
        assert change.difference.value == pytest.approx(0.3)
        assert change.difference.p == pytest.approx(stats.ttest_1samp([0.2, 0.4], 0).pvalue)

    def test_a_trial_that_has_no_value_leaves_its_partner(self, tmp_path):
        """Seed 2 has no metric in the candidate: the reference's mean keeps it, the interval is the mixed one."""
        here = [0.5, 0.6, 0.9, 0.7]
        sides = [
            [
                trial
                for seed, metric in enumerate(metrics)
                for trial in network([-1.0], seeds=[seed], results={"final_eval_metric": metric})
            ]
            for metrics in (here, [0.6, 0.7, None, 0.9])
        ]
        change = by_measure(ask(tmp_path, *sides))["final_eval_metric"]
        assert (change.candidate.count, change.candidate.left_out) == (3, 1)
        assert change.difference.value == pytest.approx((0.6 + 0.7 + 0.9) / 3 - np.mean(here))
        assert change.difference.low < change.difference.value < change.difference.high


class TestVerdicts:
    def test_the_same_numbers_are_identical(self, tmp_path):
        found = ask(tmp_path, network([-1.0, -2.0, -3.0]), network([-1.0, -2.0, -3.0]))
        assert {change.verdict for change in found.changes[0]} == {"identical"}
        assert {change.p for change in found.changes[0]} == {None}
        assert found.differing == []

    def test_the_same_numbers_for_other_seeds_are_alike(self, tmp_path):
        found = ask(tmp_path, network([-1.0, -2.0, -3.0]), network([-1.0, -2.0, -3.0], seeds=[5, 6, 7]))
        assert verdicts(found) == ["alike"]

    def test_what_differs_and_what_does_not(self, tmp_path):
        reference = network([-1.0, -1.1, -0.9], depth=3) + network([-1.0, -1.1, -0.9], depth=5)
        candidate = network([-2.0, -2.1, -1.9], depth=3) + network([-1.3, -0.9, -0.7], depth=5)
        found = ask(tmp_path, reference, candidate, metrics=("gradient_decay",))
        assert [dict(settings)["depth"] for settings in found.networks] == [3, 5]
        assert verdicts(found) == ["differs", "alike"]
        assert found.differing == [0]

    def test_one_seed_says_nothing_unless_it_is_identical(self, tmp_path):
        found = ask(tmp_path, network([-1.0]), network([-2.0]))
        change = by_measure(found)["gradient_decay"]
        assert (change.difference.value, change.difference.low, change.difference.p) == (-1.0, None, None)
        assert (change.p, change.verdict) == (None, "unknown")
        assert by_measure(found)["final_eval_metric"].verdict == "identical"

    @pytest.mark.parametrize("which", [0, 1])
    def test_no_gradient_against_some_differs(self, tmp_path, which):
        nothing = {(0, 1): {"delta_rms": 0.0, "log10_delta_rms": None}}
        sides = [network([-1.0, -1.1]), network([-1.0, -1.1], layers=nothing)]
        change = by_measure(ask(tmp_path, *(sides if which else sides[::-1])))["gradient_decay"]
        assert sorted([change.reference.value, change.candidate.value]) == pytest.approx([0.0, 10**-1.05])
        assert (change.difference.value, change.p, change.verdict) == (None, None, "differs")

    def test_no_gradient_against_none_is_identical(self, tmp_path):
        nothing = {(0, 1): {"delta_rms": 0.0, "log10_delta_rms": None}}
        found = ask(tmp_path, network([-1.0, -1.1], layers=nothing), network([-2.0, -1.1], layers=nothing))
        assert verdicts(found) == ["identical"]

    def test_what_neither_side_measured_is_unknown(self, tmp_path):
        missing = {"final_eval_metric": None}
        found = ask(tmp_path, network([-1.0, -1.1], results=missing), network([-1.0, -1.1], results=missing))
        assert by_measure(found)["final_eval_metric"].verdict == "unknown"

    def test_what_one_side_did_not_measure_is_unknown(self, tmp_path):
        missing = {"final_eval_metric": None}
        found = ask(tmp_path, network([-1.0, -1.1]), network([-1.0, -1.1], results=missing))
        assert by_measure(found)["final_eval_metric"].verdict == "unknown"


class TestNetworks:
    def test_missing_ones_are_named_on_either_side(self, tmp_path):
        reference = network([-1.0, -1.1], depth=3) + network([-1.0, -1.1], depth=5)
        candidate = network([-1.0, -1.1], depth=5) + network([-1.0, -1.1], depth=9)
        found = ask(tmp_path, reference, candidate)
        assert found.keys == ("depth",)
        assert [settings["depth"] for settings in found.networks] == [5]
        assert [settings["depth"] for settings in found.only_reference] == [3]
        assert [settings["depth"] for settings in found.only_candidate] == [9]
        assert found.reference.startswith("reference-aaaaaaaa")
        assert found.candidate.startswith("candidate-bbbbbbbb")

    def test_one_setting_throughout_is_what_is_compared(self, tmp_path):
        def side(name, offset):
            return [
                trial
                for depth in (3, 5)
                for trial in network([offset - 1.0, offset - 1.1], depth, settings={"activation": name})
            ]

        found = ask(tmp_path, side("tanh", 0.0), side("relu", 0.4))
        assert found.changed == {"activation": ("tanh", "relu")}
        assert found.keys == ("depth",)
        assert len(found.networks) == 2
        for place in range(2):
            assert by_measure(found, place)["gradient_decay"].difference.value == pytest.approx(0.4)

    def test_a_setting_that_varies_on_one_side_names_networks(self, tmp_path):
        reference = network([-1.0, -1.1], settings={"activation": "tanh"})
        candidate = [
            trial for name in ("tanh", "relu") for trial in network([-1.0, -1.1], settings={"activation": name})
        ]
        found = ask(tmp_path, reference, candidate)
        assert (found.keys, found.changed) == (("activation",), {})
        assert [settings["activation"] for settings in found.networks] == ["tanh"]
        assert [settings["activation"] for settings in found.only_candidate] == ["relu"]
        assert verdicts(found) == ["identical"]

    def test_a_column_that_one_side_lacks(self, tmp_path):
        """A swept field of the candidate alone has no value in the reference."""
        candidate = network([-1.0, -1.1], settings={"model.kwargs.gain": 2.0})
        found = ask(tmp_path, network([-1.0, -1.1]), candidate)
        assert found.changed == {"model.kwargs.gain": (None, 2.0)}
        assert len(found.networks) == 1

    def test_by_pools_everything_else(self, tmp_path):
        sides = [
            [trial for depth in (3, 5) for trial in network([offset - depth, offset - depth - 1], depth)]
            for offset in (0.0, 0.5)
        ]
        found = ask(tmp_path, *sides, by=("activation",))
        assert [dict(settings) for settings in found.networks] == [{"activation": "tanh"}]
        change = by_measure(found)["gradient_decay"]
        assert change.reference.count == 4
        assert change.difference.value == pytest.approx(0.5)


def two_sides(samples):
    """`beside` of networks whose (reference, candidate) values of the same seeds are these, arithmetic."""
    rows = [
        {"seed": seed, "depth": depth, "value": value, "reference": side == 0}
        for depth, sides in enumerate(samples)
        for side, values in enumerate(sides)
        for seed, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows)
    trials = Trials(frame[["seed", "depth"]], np.zeros(len(frame), np.int64), ())
    measures = [Measure("value", frame["value"].to_numpy(float))]
    return beside(trials, measures, frame["reference"].to_numpy(), "reference", "candidate")


class TestHolm:
    def test_by_hand(self):
        """Four networks: the smallest p-value counts four times, the next three times, then two and one."""
        zero = [0.0, 0.0, 0.0, 0.0]
        moved = [[0.9, 1.0, 1.1, 1.0], [0.2, 0.5, 0.3, 0.7], [0.1, -0.1, 0.1, -0.05], [0.1, -0.1, 0.2, 0.25]]
        found = two_sides([(zero, values) for values in moved])
        p = [stats.ttest_1samp(values, 0).pvalue for values in moved]
        assert p[0] < p[1] < p[3] < p[2]
        first, second, third = 4 * p[0], 3 * p[1], 2 * p[3]
        assert second < third < p[2]
        expected = [first, second, p[2], third]
        assert [row[0].difference.p for row in found.changes] == pytest.approx(p)
        assert [row[0].p for row in found.changes] == pytest.approx(expected)
        assert p[1] < 0.05 < second
        assert [row[0].verdict for row in found.changes] == ["differs", "alike", "alike", "alike"]
        assert found.differing == [0]

    def test_none_is_less_than_a_smaller_one_before_it(self):
        zero, moved, a_bit_less = [0.0, 0.0, 0.0], [0.9, 1.0, 1.2], [0.9, 1.0, 1.25]
        p, larger = (stats.ttest_1samp(values, 0).pvalue for values in (moved, a_bit_less))
        assert p < larger < 2 * p
        assert [row[0].p for row in two_sides([(zero, a_bit_less), (zero, moved)]).changes] == pytest.approx(
            [2 * p] * 2
        )

    def test_what_is_identical_does_not_count(self):
        zero, moved = [0.0, 0.0, 0.0, 0.0], [0.9, 1.0, 1.1, 1.0]
        found = two_sides([(zero, moved), *[(zero, zero)] * 50])
        assert found.changes[0][0].p == found.changes[0][0].difference.p
        assert [row[0].verdict for row in found.changes] == ["differs"] + ["identical"] * 50

    def test_no_corrected_p_is_above_one(self):
        sides = ([0.0, 0.0, 0.0], [0.1, -0.1, 0.05])
        assert [row[0].p for row in two_sides([sides] * 3).changes] == [1.0] * 3


def test_gradients_below_float64_are_compared_by_their_logarithms():
    logs = np.array([-400.0, -401.0, -410.0, -412.0])
    nothing = np.zeros(4, np.bool_)
    trials = Trials(pd.DataFrame({"seed": [0, 1, 0, 1]}), np.zeros(4, np.int64), ())
    reference = np.array([True, True, False, False])
    found = beside(trials, [Measure("norm", Logs(logs, nothing, nothing))], reference, "one", "other")
    ((change,),) = found.changes
    assert change.difference.value == pytest.approx(-10.5)
    assert change.reference.log10 == pytest.approx(-400.5)
    assert math.isfinite(change.difference.p)
