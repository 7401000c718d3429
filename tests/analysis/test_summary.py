"""Known tables in, known rows out."""

import math

import pytest

from gradlab.analysis.summary import metric_name, summarise, summarise_runs
from gradlab.store.finding import find_runs
from gradlab.store.reading import read_trials
from tests.store.synthetic import FakeTrial, make_run

ZERO = {"weight_grad_norm": 0.0, "log10_weight_grad_norm": None, "delta_rms": 0.0, "log10_delta_rms": None}
BROKEN = {
    "weight_grad_norm": math.nan,
    "log10_weight_grad_norm": None,
    "delta_rms": math.nan,
    "log10_delta_rms": None,
    "non_finite": 4,
}


def summary_of(path, *runs):
    for number, trials in enumerate(runs):
        make_run(path, [trials], f"run{number}")
    return summarise_runs(find_runs([path])[0])


def test_one_group_by_hand(tmp_path):
    """Decays 0.1, 0.2, 0.4 at depth 3 below a delta of 0.01: geometric mean 0.2, |grad W_1| = 0.1 decay^2."""
    trials = [
        FakeTrial(
            f"t{seed}",
            seed,
            depth=3,
            decay=decay,
            results={
                "predicted_gradient_decay": 0.25,
                "dead_fraction": 0.1 * seed,
                "final_eval_metric": 0.8 + 0.1 * seed,
                "diagnosis": "vanishing" if seed else "healthy",
            },
        )
        for seed, decay in enumerate([0.1, 0.2, 0.4])
    ]
    summary = summary_of(tmp_path, trials)
    (group,) = summary.groups
    assert summary.varying == ()
    assert summary.keys == ("depth", "activation")
    assert (group.trials, group.completed, group.diverged, group.failed) == (3, 3, 0, 0)
    assert group.decay.value == pytest.approx(0.2)
    assert group.first_grad_norm.value == pytest.approx(0.1 * 0.2**2)
    assert group.last_grad_norm.value == pytest.approx(0.1)
    # logs -1, log 0.2, log 0.4 are log10(2) apart: s = log10 2, half width t(0.975; 2) s / sqrt 3, t = 4.302653
    half = 4.302653 * math.log10(2) / math.sqrt(3)
    assert group.decay.log10_high - group.decay.log10 == pytest.approx(half, rel=1e-6)
    assert group.predicted_decay == pytest.approx(0.25)
    assert group.dead_fraction.value == pytest.approx(0.1)
    assert group.metric.value == pytest.approx(0.9)
    assert group.diagnosis == "vanishing"
    assert dict(group.diagnoses) == {"vanishing": 2, "healthy": 1}
    (profile,) = summary.profiles
    assert profile.layers == (1, 2, 3, 4)
    assert [mean.value for mean in profile.delta_rms] == pytest.approx([4e-4, 2e-3, 0.01, 0.05])
    assert len(profile.hidden) == 3


def test_groups_are_all_factors_but_the_seed_in_the_order_of_their_values(tmp_path):
    trials = [
        FakeTrial(f"{depth}{name}{seed}", seed, depth=depth, settings={"activation": name, "train.momentum": 0.9})
        for name in ("leaky_relu(negative_slope=0.2)", "relu", "sigmoid")
        for depth in (10, 2)
        for seed in (0, 1)
    ]
    summary = summary_of(tmp_path, trials)
    assert summary.varying == ("depth", "activation")
    assert [tuple(group.settings[key] for key in summary.keys) for group in summary.groups] == [
        (depth, name) for depth in (2, 10) for name in ("sigmoid", "relu", "leaky_relu(negative_slope=0.2)")
    ]
    assert {group.trials for group in summary.groups} == {2}


def test_zeros_are_counted_and_never_averaged_away(tmp_path):
    cut = FakeTrial("cut", 1, depth=3, layers={(0, 1): ZERO})
    summary = summary_of(tmp_path, [FakeTrial("whole", 0, depth=3), cut])
    (group,) = summary.groups
    assert (group.decay.count, group.decay.zeros) == (1, 1)
    assert (group.first_grad_norm.count, group.first_grad_norm.zeros) == (1, 1)
    assert group.decay.value == pytest.approx(0.5)


def test_no_gradient_at_all(tmp_path):
    """0 at layer 1 alone is a decay of 0; 0 at the last hidden layer too is 0/0, unknown."""
    cut = FakeTrial("cut", depth=3, layers={(0, 1): ZERO})
    none = FakeTrial("none", depth=3, layers={(0, layer): ZERO for layer in (1, 2, 3)}, settings={"lr": 1.0})
    summary = summary_of(tmp_path, [cut, none])
    assert [group.decay.value for group in summary.groups] == [0.0, None]
    assert summary.groups[1].decay.zeros == 0
    assert summary.profiles[1].hidden == (-math.inf, -math.inf, -math.inf)


def test_one_hidden_layer_has_no_decay(tmp_path):
    (group,) = summary_of(tmp_path, [FakeTrial("a", depth=1)]).groups
    assert group.decay.value is None
    assert group.first_grad_norm.value == pytest.approx(0.1)


def test_gradients_below_float64(tmp_path):
    tiny = {
        (0, 1): {"delta_rms": 0.0, "log10_delta_rms": -500.0, "weight_grad_norm": 0.0, "log10_weight_grad_norm": -499.0}
    }
    (group,) = summary_of(tmp_path, [FakeTrial("a", depth=3, layers=tiny)]).groups
    assert group.first_grad_norm.log10 == pytest.approx(-499)
    assert group.first_grad_norm.zeros == 0
    assert group.decay.log10 == pytest.approx((-500 + 2) / 2)


def test_diverged_and_failed_trials_are_counted(tmp_path):
    nan = math.nan
    diverged = {"status": "diverged", "diverged_step": 7, "final_train_loss": nan, "diagnosis": "diverged"}
    failed = {"status": "failed", "error": "no such file", "diagnosis": "failed", "final_train_loss": None}
    trials = [
        FakeTrial("a", 0),
        FakeTrial("b", 1, results=diverged, layers={(20, layer): BROKEN for layer in range(1, 7)}),
        FakeTrial("c", 2, results=failed),
    ]
    summary = summary_of(tmp_path, trials)
    (group,) = summary.groups
    assert (group.trials, group.completed, group.diverged, group.failed) == (3, 1, 1, 1)
    assert group.diverged_step == 7
    assert group.error == "no such file"
    assert (group.train_loss.value, group.train_loss.count, group.train_loss.left_out) == (0.5, 1, 2)
    last = summary.last_profiles[0].delta_rms[0]
    assert (last.count, last.not_finite) == (2, 1)
    assert group.diagnosis == "failed"


def test_the_last_record_is_each_trials_own(tmp_path):
    halved = {"delta_rms": 0.005, "log10_delta_rms": math.log10(0.005)}
    trials = [
        FakeTrial("a", 0, depth=1, last_step=20, layers={(20, 1): halved}),
        FakeTrial("b", 1, depth=1, last_step=9, layers={(9, 1): halved}, settings={"steps": 21}),
    ]
    summary = summary_of(tmp_path, trials)
    assert summary.profiles[0].delta_rms[0].value == pytest.approx(0.01)
    last = summary.last_profiles[0].delta_rms[0]
    assert last.value == pytest.approx(0.005)
    assert last.count == 2


def test_units_that_were_dead_before_training(tmp_path):
    layers = {(0, 1): {"dead_units": 4}, (20, 1): {"dead_units": 8}}
    dying = FakeTrial("a", depth=2, width=8, layers=layers, results={"diagnosis": "dying"})
    (group,) = summary_of(tmp_path, [dying]).groups
    assert group.dead_fraction_first.value == pytest.approx(4 / 16)


def test_runs_are_a_factor_only_where_settings_repeat(tmp_path):
    apart = summary_of(tmp_path / "apart", [FakeTrial("a", depth=2)], [FakeTrial("b", depth=3)])
    assert apart.varying == ("depth",)
    assert apart.runs == {"run0-01234567": 1, "run1-01234567": 1}
    same = summary_of(tmp_path / "same", [FakeTrial("a", 0)], [FakeTrial("b", 1), FakeTrial("c", 2)])
    assert same.varying == ("run",)
    assert [group.trials for group in same.groups] == [1, 2]


def test_custom_models_have_no_settings_of_built_in_ones(tmp_path):
    nothing = dict.fromkeys(("depth", "width", "activation", "init", "norm", "residual"))
    custom = [FakeTrial(f"{s}", s, settings={"family": "custom", **nothing}) for s in (0, 1)]
    summary = summary_of(tmp_path, [*custom, FakeTrial("mlp", depth=4)])
    assert [group.settings["depth"] for group in summary.groups] == [None, 4]
    assert isinstance(summary.groups[1].settings["depth"], int)
    assert summary.groups[0].trials == 2
    assert summary.groups[0].last_grad_norm.value == pytest.approx(0.1)


def test_nothing_in_nothing_out(tmp_path):
    summary = summarise_runs([make_run(tmp_path, [])])
    assert len(summary.groups) == 0
    assert len(summary.skipped) == 1


def test_rows_of_other_trials_are_ignored(tmp_path):
    trials = read_trials([make_run(tmp_path, [[FakeTrial("a"), FakeTrial("b", depth=9)]])])
    summary = summarise(trials.where((trials.frame["trial_id"] == "a").to_numpy()))
    assert len(summary.groups) == 1
    assert summary.profiles[0].layers == tuple(range(1, 7))


@pytest.mark.parametrize("name", ["digits", "moons", "multilabel", "delayed_recall"])
def test_the_metric_of_classifications(name):
    assert metric_name([(name, None), ("breast_cancer", None)]) == "accuracy"


def test_the_metric_of_regressions_and_of_who_knows_what():
    assert metric_name([("diabetes", None), ("adding", None)]) == "R^2"
    for unknown in (["diabetes", "digits"], ["npz"], ["custom"], [None], ["digits", None], []):
        assert metric_name((name, None) for name in unknown) == "metric"


def test_the_metric_on_data_of_the_users_own_is_told_by_the_run(tmp_path):
    def run_on(name, metrics, data="npz"):
        run = make_run(tmp_path, [[FakeTrial(name, settings={"data": data})]], name)
        run.write_info({"metrics": metrics} if metrics else {})
        return run

    regression, classes = run_on("a", {"npz": ["R^2"]}), run_on("b", {"npz": ["accuracy"]})
    silent, both = run_on("c", None), run_on("d", {"custom": ["R^2", "accuracy"]}, "custom")
    diabetes = run_on("e", None, "diabetes")
    for runs, name in (
        ([regression], "R^2"),
        ([classes], "accuracy"),
        ([regression, diabetes], "R^2"),
        ([classes, diabetes], "metric"),
        ([regression, silent], "metric"),
        ([both], "metric"),
        ([silent], "metric"),
    ):
        assert summarise_runs(runs).metric == name


def test_the_order_of_trials_does_not_matter(tmp_path):
    trials = [FakeTrial(f"{d}{s}", s, depth=d, decay=0.3 + 0.1 * s) for d in (2, 5) for s in range(3)]
    one, other = (
        summarise_runs([make_run(tmp_path / name, parts)])
        for name, parts in (("one", [trials]), ("other", [trials[::-2], trials[::2]]))
    )
    for group, again in zip(one.groups, other.groups, strict=True):
        assert group.settings == again.settings
        assert group.decay.log10 == pytest.approx(again.decay.log10)


def test_everything_at_another_record(tmp_path):
    """At step 20: a decay of 0.25, 3 of 16 units dead, a quarter of layer 1 saturated, losses from the steps table."""
    at_20 = {
        (20, 1): {"log10_delta_rms": -3.0, "dead_units": 3, "saturated_fraction": 0.25},
        (20, 2): {"log10_delta_rms": -3.0 - math.log10(0.25)},
    }
    run = make_run(tmp_path, [[FakeTrial("a", depth=2, width=8, layers=at_20, results={"dead_fraction": 0.9})]])
    for when in ("last", 20):
        (group,) = summarise(read_trials([run]), when=when).groups
        assert group.decay.value == pytest.approx(0.25)
        assert group.dead_fraction.value == pytest.approx(3 / 16)
        assert group.saturated_fraction.value == pytest.approx(0.125)
        assert group.train_loss.value == 1.0
    (first,) = summarise(read_trials([run]), when="first").groups
    assert (first.decay.value, first.dead_fraction.value) == (pytest.approx(0.5), 0.0)
