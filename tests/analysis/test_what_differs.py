"""Effects, interactions and a reference: tables whose differences are known by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from gradlab.analysis.compare import Question, compare_runs
from gradlab.store.finding import find_runs
from tests.store.synthetic import FakeTrial, make_run

NOISE = np.array([0.0, 0.02, -0.01, 0.03, -0.04])
"""Of log10 decay, the same for a seed in every network; sums to 0."""

ZERO = {"weight_grad_norm": 0.0, "log10_weight_grad_norm": None, "delta_rms": 0.0, "log10_delta_rms": None}


def trial(depth, name, seed, log10, metric=0.9, dead=0.0, settings=None, **more):
    results = {"final_eval_metric": metric, "dead_fraction": dead, **more.pop("results", {})}
    settings = {"activation": name, **(settings or {})}
    label = f"{depth}{name}{seed}{sorted(settings.items())}"
    return FakeTrial(label, seed, depth=depth, decay=10.0**log10, settings=settings, results=results, **more)


def sweep(log10, seeds=5, **more):
    """Depths 3 and 9 by three activations; `log10(depth, name)` is the decay's logarithm before noise."""
    return [
        trial(depth, name, seed, log10(depth, name) + NOISE[seed], **more)
        for depth in (3, 9)
        for name in ("sigmoid", "tanh", "relu")
        for seed in range(seeds)
    ]


ADDITIVE = {"sigmoid": -0.6, "tanh": -0.2, "relu": 0.0}


def additive(depth, name):
    return ADDITIVE[name] - 0.1 * (depth == 9)


def ask(tmp_path, *runs, **question):
    for number, trials in enumerate(runs):
        make_run(tmp_path, [trials], f"run{number}")
    return compare_runs(find_runs([tmp_path])[0], Question(**question))


def factors(effects):
    return {one.factor: one for one in effects.factors}


def test_main_effects_are_the_differences_that_were_put_in(tmp_path):
    decay, dead, metric = ask(tmp_path, sweep(additive)).effects
    assert (decay.measure, dead.measure, metric.measure) == ("gradient_decay", "dead_fraction", "final_eval_metric")
    assert [one.factor for one in decay.factors] == ["activation", "depth"]
    activation, depth = decay.factors
    assert (activation.reference, depth.reference) == ("sigmoid", 3)
    assert [level.level for level in activation.levels] == ["tanh", "relu"]
    assert [level.difference.value for level in activation.levels] == pytest.approx([0.4, 0.6])
    assert depth.levels[0].difference.value == pytest.approx(-0.1)
    # A seed's noise is the same in every network, so every difference is exact.
    assert activation.levels[0].difference.low == pytest.approx(0.4)
    # Of the sum of squares of the six means: activations 2 (1/9 + 1/225 + 16/225), depths 6 * 0.05^2 = 0.015.
    of_activation = 2 * sum((value + 0.8 / 3) ** 2 for value in ADDITIVE.values())
    assert activation.share == pytest.approx(of_activation / (of_activation + 0.015), abs=0.01)
    assert activation.clear
    assert not factors(dead)["activation"].clear
    assert [level.difference.value for level in factors(metric)["activation"].levels] == [0.0, 0.0]


def test_an_interval_by_hand(tmp_path):
    """Seed s adds NOISE[s] to relu alone: its effect is -0.1 + NOISE[s] seed by seed."""
    trials = [
        trial(3, name, seed, (NOISE[seed] - 0.1) * (name == "relu")) for name in ("tanh", "relu") for seed in range(5)
    ]
    found = ask(tmp_path, trials).effects[0].factors[0].levels[0].difference
    half = stats.t.ppf(0.975, 4) * NOISE.std(ddof=1) / math.sqrt(5)
    assert (found.value, found.low, found.high) == pytest.approx((-0.1, -0.1 - half, -0.1 + half))


def test_the_strongest_interaction_is_found_with_both_moves(tmp_path):
    """Depth costs 0.1 with sigmoid and tanh, 0.5 with relu; dead units and the metric have none."""
    decay, dead, _ = ask(
        tmp_path, sweep(lambda d, name: ADDITIVE[name] - (0.5 if name == "relu" else 0.1) * (d == 9))
    ).effects
    found = decay.interaction
    assert found.clear
    assert {found.mover, found.other} == {"depth", "activation"}
    assert (found.start, found.end, found.here, found.there) == (3, 9, "sigmoid", "relu")
    assert (found.effect_here, found.effect_there) == pytest.approx((-0.1, -0.5))
    assert not dead.interaction.clear


def test_no_interaction_where_effects_add_up(tmp_path):
    decay, _, _ = ask(tmp_path, sweep(additive)).effects
    assert not decay.interaction.clear
    assert decay.interaction.share == pytest.approx(0, abs=1e-9)


def test_what_has_no_logarithm_is_left_out_and_counted(tmp_path):
    cut = [
        trial(3, "sigmoid", 7, -0.6, layers={(0, 1): ZERO}),
        trial(3, "relu", 8, 0.0, results={"dead_fraction": None}),
    ]
    decay, dead, _ = ask(tmp_path, [*sweep(additive), *cut]).effects
    assert (decay.left_out, decay.trials, dead.left_out) == (1, 32, 1)
    assert [level.difference.value for level in factors(decay)["activation"].levels] == pytest.approx([0.4, 0.6])


def test_holes_in_the_grid_do_not_bias_an_effect(tmp_path):
    """Without sigmoid at depth 9 the plain means of the depths would differ by more than depth does."""
    holes = [one for one in sweep(additive) if (one.depth, one.settings["activation"]) != (9, "sigmoid")]
    decay = ask(tmp_path, holes).effects[0]
    assert factors(decay)["depth"].levels[0].difference.value == pytest.approx(-0.1)


def test_factors_that_always_change_together_are_one(tmp_path):
    trials = [trial(d, "relu", seed, -0.01 * d, settings={"lr": 0.1 * d}) for d in (2, 4) for seed in range(3)]
    (factor,) = ask(tmp_path, trials).effects[0].factors
    assert (factor.factor, factor.reference) == ("depth + lr", "2 + 0.2")
    assert factor.levels[0].difference.value == pytest.approx(-0.02)


def test_many_numbers_become_quarters(tmp_path):
    trials = [trial(3, "relu", seed, -0.01 * k, settings={"lr": float(k)}) for k in range(1, 13) for seed in range(2)]
    (factor,) = ask(tmp_path, trials).effects[0].factors
    assert [factor.reference, *(level.level for level in factor.levels)] == [
        "1.0 .. 3.0",
        "4.0 .. 6.0",
        "7.0 .. 9.0",
        "10.0 .. 12.0",
    ]
    assert [level.difference.value for level in factor.levels] == pytest.approx([-0.03, -0.06, -0.09])


def test_one_seed_has_effects_without_intervals(tmp_path):
    decay, *_ = ask(tmp_path, sweep(additive, seeds=1)).effects
    found = factors(decay)["depth"].levels[0].difference
    assert (found.value, found.low, found.p) == (pytest.approx(-0.1), None, None)
    assert not decay.factors[0].clear
    assert not decay.interaction.clear


def test_where_nothing_varies_nothing_has_an_effect(tmp_path):
    assert ask(tmp_path, [trial(3, "relu", seed, 0.0) for seed in range(3)]).effects == ()


def against(tmp_path, reference, candidate, **question):
    runs = [make_run(tmp_path, [trials], name) for name, trials in (("a", reference), ("b", candidate))]
    found, _ = find_runs([run.path for run in runs])
    (answer,) = compare_runs(found, Question(**question), found[:1]).against
    return answer


def changes(answer, network=0):
    return {change.measure: change for change in answer.changes[network]}


def test_a_reference_by_hand(tmp_path):
    """Seed by seed the decay is 10^-0.1 to 10^-0.5 times the reference's: a paired t interval of these."""
    steps = np.array([-0.1, -0.2, -0.3, -0.4, -0.5])
    one = [trial(3, "relu", seed, NOISE[seed]) for seed in range(5)]
    other = [trial(3, "relu", seed, NOISE[seed] + steps[seed], metric=0.8, settings={"lr": 0.5}) for seed in range(5)]
    answer = against(tmp_path, one, other)
    assert (answer.keys, answer.changed) == ((), {"lr": (0.05, 0.5)})
    found = changes(answer)
    low, high = stats.ttest_1samp(steps, 0).confidence_interval(0.95)
    decay = found["gradient_decay"].difference
    assert (decay.value, decay.low, decay.high) == pytest.approx((-0.3, low, high))
    assert found["gradient_decay"].reference.value == pytest.approx(1.0)
    assert found["final_eval_metric"].difference.value == pytest.approx(-0.1)
    assert found["final_eval_metric"].verdict == "differs"
    assert found["final_eval_loss"].verdict == found["dead_fraction"].verdict == "identical"
    assert answer.differing == [0]


def test_p_values_are_corrected_for_all_that_is_compared(tmp_path):
    """Holm: of the m measures that are not identical, the smallest p counts m times, the next m - 1 times."""
    random = np.random.default_rng(0)
    one = [trial(3, "relu", s, NOISE[s]) for s in range(5)]
    other = [
        trial(3, "relu", s, NOISE[s] + random.normal(0, 0.1), metric=0.9 + random.normal(0, 0.1)) for s in range(5)
    ]
    compared = [change for change in against(tmp_path, one, other).changes[0] if change.verdict != "identical"]
    plain = sorted((change.difference.p, change.p) for change in compared)
    expected, largest = [], 0.0
    for place, (p, _) in enumerate(plain):
        largest = max(largest, min(1.0, p * (len(plain) - place)))
        expected.append(largest)
    assert [corrected for _, corrected in plain] == pytest.approx(expected)


def test_the_same_run_twice_is_identical(tmp_path):
    answer = against(tmp_path, sweep(additive), sweep(additive))
    assert {change.verdict for row in answer.changes for change in row} == {"identical"}
    assert (answer.differing, answer.changed) == ([], {})


def test_networks_that_one_side_lacks_are_named(tmp_path):
    reference = [one for one in sweep(additive) if one.depth == 3]
    candidate = [one for one in sweep(additive) if one.settings["activation"] != "tanh"]
    answer = against(tmp_path, reference, candidate)
    assert answer.keys == ("depth", "activation")
    assert [row["activation"] for row in answer.networks] == ["sigmoid", "relu"]
    assert list(answer.only_reference) == [{"depth": 3, "activation": "tanh"}]
    assert [row["activation"] for row in answer.only_candidate] == ["sigmoid", "relu"]


def test_no_gradient_against_some_differs(tmp_path):
    one = [trial(3, "relu", seed, 0.0) for seed in range(3)]
    other = [trial(3, "relu", seed, 0.0, layers={(0, 1): ZERO}) for seed in range(3)]
    assert changes(against(tmp_path, one, other))["gradient_decay"].verdict == "differs"
    assert changes(against(tmp_path / "none", other, other))["gradient_decay"].verdict == "identical"


def test_one_seed_tells_no_difference(tmp_path):
    one, other = [trial(3, "relu", 0, 0.0)], [trial(3, "relu", 0, -0.5)]
    found = changes(against(tmp_path, one, other))["gradient_decay"]
    assert (found.verdict, found.difference.low) == ("unknown", None)
    assert found.difference.value == pytest.approx(-0.5)


def test_other_statistics_beside_a_reference(tmp_path):
    answer = against(tmp_path, sweep(additive), sweep(lambda d, n: additive(d, n) - 0.2), metrics=("gradient_ratio",))
    assert {change.measure for row in answer.changes for change in row} == {"gradient_ratio"}
    ratios = [row[0].difference.value for row in answer.changes]
    assert ratios == pytest.approx([-0.4] * 3 + [-1.6] * 3)
