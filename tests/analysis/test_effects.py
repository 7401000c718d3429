"""Runs made by hand from known effects: what each factor does to a measure, and which two depend on each other."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gradlab.analysis.compare import Question, compare_runs
from gradlab.store.finding import find_runs
from tests.store.synthetic import FakeTrial, make_run

ACTIVATION = {"tanh": 0.0, "relu": 0.3, "gelu": 0.2}
DEPTH = {3: 0.0, 5: -0.5, 9: -1.2}
GRID = list(itertools.product(ACTIVATION, DEPTH))
SEEDS = 4
NOISE = np.random.default_rng(5).normal(size=(len(GRID), SEEDS)) + 3 * np.random.default_rng(6).normal(size=SEEDS)
"""`[cell, seed]`; seeds go up and down together in all cells."""


def additive(activation, depth):
    return ACTIVATION[activation] + DEPTH[depth] - 0.4


def logs_of(expected, seeds=SEEDS, noise=0.01):
    """(activation, depth, seed) -> log10 of the decay: what is expected and some noise."""
    return {
        (activation, depth, seed): expected(activation, depth) + noise * NOISE[cell, seed]
        for cell, (activation, depth) in enumerate(GRID)
        for seed in range(seeds)
    }


def trial(activation, depth, seed, log, **more):
    """A trial with this log10 of its decay; its metric is 0.9 plus a tenth of that, its dead fraction 0.5 likewise."""
    results = {"final_eval_metric": 0.9 + log / 10, "dead_fraction": 0.5 + log / 10} | more.pop("results", {})
    settings = {"activation": activation} | more.pop("settings", {})
    name = "-".join(map(str, (activation, depth, seed, *settings.values(), more.get("width"))))
    return FakeTrial(name, seed, depth, decay=10**log, settings=settings, results=results, **more)


def trials_of(logs):
    return [trial(*key, log) for key, log in logs.items()]


def ask(tmp_path, trials, **question):
    make_run(tmp_path, [trials])
    return {found.measure: found for found in compare_runs(find_runs([tmp_path])[0], Question(**question)).effects}


def by_name(found):
    return {effect.factor: effect for effect in found.factors}


def values(effect):
    return {level.level: level.difference.value for level in effect.levels}


def marginal(logs, place):
    """`{level: [seed]}`, the mean over all cells of each level, seed by seed."""
    seeds = sorted({key[2] for key in logs})
    return {
        level: np.array(
            [np.mean([log for key, log in logs.items() if key[place] == level and key[2] == s]) for s in seeds]
        )
        for level in dict.fromkeys(key[place] for key in logs)
    }


class TestMainEffects:
    def test_what_was_put_in_comes_out(self, tmp_path):
        decay = ask(tmp_path, trials_of(logs_of(additive, noise=0)))["gradient_decay"]
        assert decay.geometric
        assert (decay.left_out, decay.trials, decay.notes) == (0, 36, ())
        effects = by_name(decay)
        assert list(effects) == ["depth", "activation"]  # the one with the larger share first
        assert (effects["depth"].reference, effects["activation"].reference) == (3, "tanh")
        assert values(effects["depth"]) == pytest.approx({5: -0.5, 9: -1.2})
        assert values(effects["activation"]) == pytest.approx({"relu": 0.3, "gelu": 0.2})
        assert effects["depth"].largest.level == 9
        assert effects["activation"].largest.level == "relu"
        assert all(effect.clear for effect in effects.values())

    def test_metric_and_dead_fraction_are_arithmetic(self, tmp_path):
        found = ask(tmp_path, trials_of(logs_of(additive, noise=0)))
        assert list(found) == ["gradient_decay", "dead_fraction", "final_eval_metric"]
        for name in ("dead_fraction", "final_eval_metric"):
            assert not found[name].geometric
            assert values(by_name(found[name])["depth"]) == pytest.approx({5: -0.05, 9: -0.12})
            assert values(by_name(found[name])["activation"]) == pytest.approx({"relu": 0.03, "gelu": 0.02})

    def test_intervals_are_students_over_seeds(self, tmp_path):
        logs = logs_of(additive, noise=0.2)
        effects = by_name(ask(tmp_path, trials_of(logs))["gradient_decay"])
        for place, name in ((0, "activation"), (1, "depth")):
            means = marginal(logs, place)
            for level in effects[name].levels:
                of_seed = means[level.level] - means[effects[name].reference]
                expected = stats.ttest_1samp(of_seed, 0.0)
                ends = expected.confidence_interval(0.95)
                found = level.difference
                assert found.value == pytest.approx(of_seed.mean())
                assert (found.low, found.high, found.p) == pytest.approx((ends.low, ends.high, expected.pvalue))

    def test_shares_are_those_of_an_analysis_of_variance(self, tmp_path):
        """Activations 0, 0.3, 0.2: squares 0.046667; depths 0, -0.5, -1.2: 0.726667; every level three times."""
        effects = by_name(ask(tmp_path, trials_of(logs_of(additive, noise=0)))["gradient_decay"])
        assert effects["activation"].share == pytest.approx(0.046667 / 0.773333, rel=1e-4)
        assert effects["depth"].share == pytest.approx(0.726667 / 0.773333, rel=1e-4)

    def test_a_factor_that_does_nothing_is_not_clear(self, tmp_path):
        logs = logs_of(lambda activation, depth: DEPTH[depth], noise=0.05)
        effects = by_name(ask(tmp_path, trials_of(logs))["gradient_decay"])
        assert effects["depth"].clear
        assert not effects["activation"].clear
        assert effects["activation"].share < 0.01

    def test_a_level_is_clear_beyond_the_number_of_levels(self, tmp_path):
        """Three levels: the smaller p-value of the two differences, twice, is below 0.05 or not."""
        for state, noise in enumerate((0.3, 0.6, 1.0, 2.0)):
            logs = logs_of(additive, noise=noise)
            effects = by_name(ask(tmp_path / str(state), trials_of(logs))["gradient_decay"])
            for place, name in ((0, "activation"), (1, "depth")):
                first, *others = (marginal(logs, place)[level] for level in ({0: ACTIVATION, 1: DEPTH}[place]))
                smallest = min(stats.ttest_rel(other, first).pvalue for other in others)
                assert effects[name].clear == (2 * smallest < 0.05)

    def test_one_seed_has_no_interval(self, tmp_path):
        effects = by_name(ask(tmp_path, trials_of(logs_of(additive, seeds=1, noise=0)))["gradient_decay"])
        assert values(effects["depth"]) == pytest.approx({5: -0.5, 9: -1.2})
        for effect in effects.values():
            assert not effect.clear
            assert {(d.difference.low, d.difference.high, d.difference.p) for d in effect.levels} == {(None,) * 3}

    def test_a_hole_in_the_grid_biases_nothing(self, tmp_path):
        """Without gelu at depth 9 the plain means of gelu and tanh would be 0.6 apart; the fit says 0.2."""
        logs = {key: log for key, log in logs_of(additive, noise=0).items() if key[:2] != ("gelu", 9)}
        effects = by_name(ask(tmp_path, trials_of(logs))["gradient_decay"])
        assert values(effects["activation"]) == pytest.approx({"relu": 0.3, "gelu": 0.2})
        assert values(effects["depth"]) == pytest.approx({5: -0.5, 9: -1.2})

    def test_by_names_the_factors_and_holds_the_others_equal(self, tmp_path):
        logs = {key: log for key, log in logs_of(additive, noise=0).items() if key[:2] != ("gelu", 9)}
        decay = ask(tmp_path, trials_of(logs), by=("activation",))["gradient_decay"]
        assert list(by_name(decay)) == ["activation"]
        assert values(by_name(decay)["activation"]) == pytest.approx({"relu": 0.3, "gelu": 0.2})

    def test_where_nothing_varies_there_are_no_effects(self, tmp_path):
        assert ask(tmp_path, [trial("tanh", 3, seed, -0.1 * seed) for seed in range(4)]) == {}


class TestFactors:
    def test_those_that_change_together_are_one(self, tmp_path):
        width = {3: 8, 5: 16, 9: 64}
        trials = [
            trial(*key, log, settings={"init": f"i{key[1]}"}, width=width[key[1]])
            for key, log in logs_of(additive, noise=0).items()
        ]
        effects = by_name(ask(tmp_path, trials)["gradient_decay"])
        assert set(effects) == {"depth + width + init", "activation"}
        together = effects["depth + width + init"]
        assert together.reference == "3 + 8 + i3"
        assert values(together) == pytest.approx({"5 + 16 + i5": -0.5, "9 + 64 + i9": -1.2})

    def test_one_that_comes_only_with_some_levels_of_another_cannot_be_told(self, tmp_path):
        """Each depth of two has its own pair of widths, so nothing tells depths from widths; activations are told."""
        trials = [
            trial(activation, depth, seed, additive(activation, depth), width=width)
            for activation in ACTIVATION
            for depth, width in ((3, 8), (3, 16), (5, 32), (5, 64))
            for seed in range(2)
        ]
        effects = by_name(ask(tmp_path, trials)["gradient_decay"])
        assert values(effects["depth"]) == {5: None}
        assert values(effects["width"]) == {16: pytest.approx(0, abs=1e-9), 32: None, 64: None}
        assert values(effects["activation"]) == pytest.approx({"relu": 0.3, "gelu": 0.2})
        assert effects["depth"].largest is None

    def test_many_numbers_are_cut_in_quarters(self, tmp_path):
        """Twelve learning rates, 0.001 to 0.012, each with a decay of its own: quarters of three."""
        rates = [number / 1000 for number in range(1, 13)]
        log_of = {rate: -0.1 * (number // 3) - 0.01 * (number % 3) for number, rate in enumerate(rates)}
        trials = [
            trial(name, 3, seed, ACTIVATION[name] + log_of[rate] - 0.4, settings={"lr": rate})
            for name in ("tanh", "relu")
            for rate in rates
            for seed in range(2)
        ]
        effect = by_name(ask(tmp_path, trials)["gradient_decay"])["lr"]
        assert effect.reference == "0.001 .. 0.003"
        assert values(effect) == pytest.approx({"0.004 .. 0.006": -0.1, "0.007 .. 0.009": -0.2, "0.01 .. 0.012": -0.3})

    def test_names_without_end_are_noted(self, tmp_path):
        trials = [trial(f"f{number}", depth, 0, DEPTH[depth]) for number in range(101) for depth in DEPTH]
        decay = ask(tmp_path, trials)["gradient_decay"]
        assert list(by_name(decay)) == ["depth"]
        assert len(decay.notes) == 1
        assert "activation has 101 values" in decay.notes[0]


class TestLeftOut:
    def test_a_gradient_of_zero_has_no_logarithm(self, tmp_path):
        """Half of the trials of one network have no gradient in layer 1: its mean is that of the others."""
        logs = logs_of(additive, noise=0)
        zero = {(0, 1): {"delta_rms": 0.0, "log10_delta_rms": None}}
        trials = [
            trial(*key, log, layers=zero if key[:2] == ("relu", 9) and key[2] < 2 else {}) for key, log in logs.items()
        ]
        found = ask(tmp_path, trials)
        assert (found["gradient_decay"].left_out, found["gradient_decay"].trials) == (2, 36)
        assert (found["final_eval_metric"].left_out, found["final_eval_metric"].trials) == (0, 36)
        assert values(by_name(found["gradient_decay"])["depth"]) == pytest.approx({5: -0.5, 9: -1.2})

    def test_a_gradient_that_is_no_number(self, tmp_path):
        broken = {(0, 1): {"delta_rms": math.nan, "log10_delta_rms": None, "non_finite": 3}}
        trials = [
            trial(*key, log, layers=broken if key[2] == 3 else {}) for key, log in logs_of(additive, noise=0).items()
        ]
        found = ask(tmp_path, trials)["gradient_decay"]
        assert found.left_out == 9
        assert values(by_name(found)["activation"]) == pytest.approx({"relu": 0.3, "gelu": 0.2})

    def test_a_network_that_always_diverges_leaves_a_hole(self, tmp_path):
        """It has no metric, so the others tell what depth and activation do to it; its gradient at step 0 counts."""
        gone = {"status": "diverged", "diverged_step": 7, "final_eval_metric": None, "diagnosis": "diverged"}
        trials = [
            trial(*key, log, results=gone if key[:2] == ("gelu", 9) else {})
            for key, log in logs_of(additive, noise=0).items()
        ]
        found = ask(tmp_path, trials)
        assert (found["final_eval_metric"].left_out, found["gradient_decay"].left_out) == (4, 0)
        assert values(by_name(found["final_eval_metric"])["depth"]) == pytest.approx({5: -0.05, 9: -0.12})
        assert values(by_name(found["final_eval_metric"])["activation"]) == pytest.approx({"relu": 0.03, "gelu": 0.02})

    def test_a_level_that_always_diverges_has_no_effect_to_tell(self, tmp_path):
        gone = {"status": "diverged", "final_eval_metric": None}
        trials = [
            trial(*key, log, results=gone if key[1] == 9 else {}) for key, log in logs_of(additive, noise=0).items()
        ]
        found = ask(tmp_path, trials)["final_eval_metric"]
        assert found.left_out == 12
        assert values(by_name(found)["depth"]) == pytest.approx({5: -0.05})

    def test_seeds_that_are_missing_here_and_there(self, tmp_path):
        """Each network has two seeds of its own: the means are those of its own trials, the intervals finite."""
        logs = {
            key: log
            for key, log in logs_of(additive, noise=0.01).items()
            if (GRID.index(key[:2]) + key[2]) % SEEDS in (0, 1)
        }
        cells = {cell: np.mean([log for key, log in logs.items() if key[:2] == cell]) for cell in GRID}
        effect = by_name(ask(tmp_path, trials_of(logs))["gradient_decay"])["activation"]
        plain = {name: np.mean([mean for cell, mean in cells.items() if cell[0] == name]) for name in ACTIVATION}
        assert values(effect) == pytest.approx({name: plain[name] - plain["tanh"] for name in ("relu", "gelu")})
        for level in effect.levels:
            assert level.difference.low < level.difference.value < level.difference.high


WIDTHS = (8, 16)


def three_factors(tmp_path, bonus, noise=0.01):
    """A grid of activation, depth and width whose logs are a sum but for `bonus(activation, depth, width)`.

    Returns the effects and `[activation, depth, width, seed]`, the logs.
    """
    rng = np.random.default_rng(11)
    shape = (len(ACTIVATION), len(DEPTH), len(WIDTHS), SEEDS)
    logs = noise * rng.normal(size=shape)
    trials = []
    for a, d, w, seed in np.ndindex(shape):
        activation, depth, width = list(ACTIVATION)[a], list(DEPTH)[d], WIDTHS[w]
        logs[a, d, w, seed] += additive(activation, depth) + 0.1 * w + bonus(activation, depth, width)
        trials.append(trial(activation, depth, seed, logs[a, d, w, seed], width=width))
    return ask(tmp_path, trials)["gradient_decay"], logs


class TestInteraction:
    def test_the_one_that_was_put_in_is_found(self, tmp_path):
        """relu loses another 0.8 at depth 9: the pair, the levels, and what the move does on either side."""
        found, logs = three_factors(
            tmp_path, lambda activation, depth, width: -0.8 * ((activation, depth) == ("relu", 9))
        )
        one = found.interaction
        levels = {"activation": list(ACTIVATION), "depth": list(DEPTH)}
        assert {one.mover, one.other} == {"activation", "depth"}
        ends = {one.mover: (one.start, one.end), one.other: (one.here, one.there)}
        assert ends == {"activation": ("tanh", "relu"), "depth": (3, 9)}

        def of(mover, other):
            place = {one.mover: levels[one.mover].index(mover), one.other: levels[one.other].index(other)}
            return logs[place["activation"], place["depth"]].mean(axis=0)

        here, there = (of(one.end, side) - of(one.start, side) for side in (one.here, one.there))
        expected = stats.ttest_rel(there, here)
        ends = expected.confidence_interval(0.95)
        assert one.effect_here == pytest.approx(here.mean())
        assert one.effect_there == pytest.approx(there.mean())
        assert one.difference.value == pytest.approx((there - here).mean())
        assert (one.difference.low, one.difference.high) == pytest.approx((ends.low, ends.high))
        assert one.difference.value == pytest.approx(-0.8, abs=0.05)
        assert one.clear

    def test_its_share_is_what_the_sum_of_both_leaves_over(self, tmp_path):
        found, logs = three_factors(
            tmp_path, lambda activation, depth, width: -0.8 * ((activation, depth) == ("relu", 9)), noise=0
        )
        cells = logs[..., 0]
        pair = cells.mean(axis=2)
        left = pair - pair.mean(axis=1, keepdims=True) - pair.mean(axis=0, keepdims=True) + pair.mean()
        expected = len(WIDTHS) * (left**2).sum() / ((cells - cells.mean()) ** 2).sum()
        assert found.interaction.share == pytest.approx(expected)

    def test_where_effects_add_up_there_is_none_that_is_clear(self, tmp_path):
        found, _ = three_factors(tmp_path, lambda activation, depth, width: 0.0, noise=0.05)
        assert found.interaction is not None
        assert not found.interaction.clear
        assert found.interaction.share < 0.01

    def test_a_single_factor_has_none(self, tmp_path):
        trials = [trial("tanh", depth, seed, log + 0.01 * seed) for depth, log in DEPTH.items() for seed in range(3)]
        assert ask(tmp_path, trials)["gradient_decay"].interaction is None

    def test_factors_that_never_cross_have_none(self, tmp_path):
        """A baseline and one change at a time."""
        points = [("tanh", 3), ("relu", 3), ("tanh", 9)]
        trials = [trial(*point, seed, additive(*point) + 0.01 * seed) for point in points for seed in range(3)]
        decay = ask(tmp_path, trials)["gradient_decay"]
        assert decay.interaction is None
        assert values(by_name(decay)["depth"]) == pytest.approx({9: -1.2})

    def test_without_seeds_it_is_told_and_never_clear(self, tmp_path):
        logs = {key: log - 0.8 * (key[:2] == ("relu", 9)) for key, log in logs_of(additive, 1, 0).items()}
        one = ask(tmp_path, trials_of(logs))["gradient_decay"].interaction
        assert one.difference.value == pytest.approx(-0.8)
        assert (one.difference.low, one.p, one.clear) == (None, None, False)
