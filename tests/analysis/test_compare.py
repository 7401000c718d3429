"""Known tables in, known rows out, for every way to ask."""

import math

import pyarrow.parquet as pq
import pytest
from scipy import stats

from gradlab.analysis.catalogue import layer_statistics
from gradlab.analysis.compare import Question, compare_runs
from gradlab.errors import UsageError
from gradlab.store.finding import find_runs
from tests.store.synthetic import FakeTrial, make_run

DECAYS = {("tanh", 2): 0.5, ("tanh", 4): 0.4, ("relu", 2): 1.0, ("relu", 4): 0.8}


@pytest.fixture
def runs(tmp_path):
    """Two activations by two depths by three seeds whose decays are 10^-0.1, 1 and 10^0.1 times those above."""
    trials = [
        FakeTrial(
            f"{name}{depth}{seed}",
            seed,
            depth=depth,
            decay=decay * 10 ** (0.1 * (seed - 1)),
            settings={"activation": name},
            results={
                "predicted_gradient_decay": decay,
                "final_eval_metric": 0.5 + 0.1 * depth + 0.01 * seed,
                "dead_fraction": 0.2 if name == "relu" else 0.0,
            },
            layers={(20, 1): {"dead_units": seed, "log10_weight_grad_norm": -3.0, "weight_grad_norm": 1e-3}},
        )
        for (name, depth), decay in DECAYS.items()
        for seed in range(3)
    ]
    make_run(tmp_path, [trials[:5], trials[5:]])
    return find_runs([tmp_path])[0]


def ask(runs, **question):
    return compare_runs(runs, Question(**question))


def names(comparison):
    return [(group.settings.get("activation"), group.settings.get("depth")) for group in comparison.summary.groups]


def test_groups_with_their_means_and_theory(runs):
    found = ask(runs)
    assert names(found) == [("tanh", 2), ("relu", 2), ("tanh", 4), ("relu", 4)]
    decays = [group.decay.value for group in found.summary.groups]
    assert decays == pytest.approx([0.5, 1.0, 0.4, 0.8])
    assert (found.agreement.groups, found.agreement.close) == (4, 4)


def test_theory_that_is_off_is_named(tmp_path):
    off = {"predicted_gradient_decay": 0.4}
    run = make_run(tmp_path, [[FakeTrial("a", depth=2), FakeTrial("b", depth=3, results=off)]])
    found = ask([run]).agreement
    assert (found.groups, found.close, found.furthest) == (2, 1, 1)
    assert found.log10_ratio == pytest.approx(math.log10(0.5 / 0.4))


def test_by_pools_everything_else(runs):
    found = ask(runs, by=("activation",))
    assert [dict(group.settings) for group in found.summary.groups] == [{"activation": "tanh"}, {"activation": "relu"}]
    assert [group.trials for group in found.summary.groups] == [6, 6]
    assert [group.decay.value for group in found.summary.groups] == pytest.approx([math.sqrt(0.2), math.sqrt(0.8)])
    assert [effect.factor for effect in found.effects[0].factors] == ["activation"]


def test_by_may_be_the_seed_or_the_diagnosis(runs):
    assert [group.trials for group in ask(runs, by=("seed",)).summary.groups] == [4, 4, 4]
    (group,) = ask(runs, by=("diagnosis",)).summary.groups
    assert dict(group.settings) == {"diagnosis": "healthy"}


def test_where_takes_trials(runs):
    found = ask(runs, where="depth > 2 and activation == 'relu' and seed < 2")
    assert names(found) == [("relu", 4)]
    assert found.summary.groups[0].trials == 2
    with pytest.raises(UsageError, match="none of 12 trials"):
        ask(runs, where="depth > 4")


def test_sort_and_top(runs):
    assert names(ask(runs, sort=("gradient_decay",))) == [("tanh", 4), ("tanh", 2), ("relu", 4), ("relu", 2)]
    assert names(ask(runs, sort=("-depth", "activation"))) == [("tanh", 4), ("relu", 4), ("tanh", 2), ("relu", 2)]
    top = ask(runs, sort=("-decay",), top=2)
    assert names(top) == [("relu", 2), ("relu", 4)]
    assert top.summary.grouping.size == 4
    with pytest.raises(UsageError, match="did you mean gradient_decay"):
        ask(runs, sort=("gradient_dekay",))


def test_what_is_unknown_is_sorted_last(tmp_path):
    results = ({"final_eval_metric": None}, {"final_eval_metric": 0.1}, {"final_eval_metric": 0.2})
    run = make_run(tmp_path, [[FakeTrial(f"t{n}", depth=n + 2, results=one) for n, one in enumerate(results)]])
    for sort, depths in (("final_eval_metric", [3, 4, 2]), ("-final_eval_metric", [4, 3, 2])):
        assert [group.settings["depth"] for group in ask([run], sort=(sort,)).summary.groups] == depths


def test_metrics_by_name_and_wildcard(runs):
    found = ask(runs, metrics=("final_*_loss", "gradient_*", "weight_grad_norm", "grad_norm"))
    assert list(found.estimates) == [
        "final_train_loss",
        "final_eval_loss",
        "gradient_ratio",
        "gradient_decay",
        "weight_grad_norm.first",
        "weight_grad_norm.last",
        "grad_norm",
    ]
    assert [mean.value for mean in found.estimates["gradient_ratio"]] == pytest.approx([0.5, 1.0, 0.4**3, 0.8**3])
    assert [mean.value for mean in found.estimates["weight_grad_norm.last"]] == pytest.approx([0.1] * 4)
    assert found.estimates["grad_norm"][0].value == pytest.approx(0.1)
    assert [one.measure for one in found.effects] == list(found.estimates)
    with pytest.raises(UsageError, match="did you mean gradient_decay"):
        ask(runs, metrics=("gradient_deacy",))


def test_metrics_at_a_record(runs):
    patterns = ("dead_units", "weight_grad_norm.first", "dead_fraction", "train_loss")
    last = ask(runs, metrics=patterns, step="last").estimates
    assert last["dead_units.first"][0].value == pytest.approx(1.0)
    assert last["weight_grad_norm.first"][0].value == pytest.approx(1e-3)
    assert last["dead_fraction"][0].value == pytest.approx(1 / 16)
    assert last["train_loss"][0].value == 1.0
    assert ask(runs, metrics=patterns).estimates["dead_fraction"][1].value == pytest.approx(0.2)


def test_layer_by_layer(runs):
    found = ask(runs, layers=True, metrics=("dead_*", "delta_rms"), step=20)
    assert list(found.layers.estimates) == ["dead_units", "delta_rms"]
    rows = found.layers.rows_of(2)
    assert found.layers.layer[rows].tolist() == [1, 2, 3, 4, 5]
    assert [found.layers.name[row] for row in rows][:2] == ["layer1", "layer2"]
    assert found.layers.row(rows[0])["dead_units"].value == pytest.approx(1.0)
    assert found.layers.row(rows[0])["delta_rms"].value == pytest.approx(1e-2 * 0.4**3)
    assert found.layers.row(rows[4])["dead_units"].value is None
    assert layer_statistics(None)[0] == "weight_grad_norm"


def test_a_step_that_some_or_all_trials_lack(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a", last_step=20), FakeTrial("b", depth=3, last_step=40)]])
    assert ask([run], step=40).notes == ("1 of 2 trials have no record at step 40",)
    assert ask([run], step="last").notes == ()
    with pytest.raises(UsageError, match="the nearest recorded are 0, 20, 40"):
        ask([run], step=21)


def test_an_unknown_column_of_by(runs):
    with pytest.raises(UsageError, match="--by widht: no such column; did you mean width"):
        ask(runs, by=("widht",))


def test_runs_of_different_sweeps_are_aligned(tmp_path):
    make_run(tmp_path, [[FakeTrial("a", settings={"train.momentum": 0.9})]], "one")
    make_run(tmp_path, [[FakeTrial("b", depth=7)]], "two")
    found = ask(find_runs([tmp_path])[0]).summary
    assert found.varying == ("depth", "train.momentum")
    assert [dict(group.settings)["train.momentum"] for group in found.groups] == [0.9, None]


def test_the_interval_of_a_pooled_group_is_that_of_its_means_seed_by_seed(runs):
    """Seed s has decay 10^(0.1 (s - 1)) times the networks': log10 means of -0.1, 0 and 0.1 around the group's."""
    tanh, relu = ask(runs, by=("activation",)).summary.groups
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    for group, center in ((tanh, math.log10(0.2) / 2), (relu, math.log10(0.8) / 2)):
        assert (group.decay.log10_low, group.decay.log10_high) == pytest.approx((center - half, center + half))


def test_runs_of_the_same_settings_are_further_trials_unless_nothing_else_varies(tmp_path):
    for name in ("one", "two"):
        make_run(tmp_path, [[FakeTrial(f"{d}{s}", s, depth=d, decay=0.1 * d) for d in (2, 4) for s in (0, 1)]], name)
    both = find_runs([tmp_path])[0]
    assert ask(both).summary.varying == ("run", "depth")
    assert [factor.factor for factor in ask(both).effects[0].factors] == ["depth"]
    assert [factor.factor for factor in ask(both, where="depth == 2").effects[0].factors] == ["run"]


def test_without_rows_of_layers_the_decay_is_the_trials_tables(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a", decay=0.25)]])
    run.parts("layers")[0].unlink()
    (group,) = ask([run]).summary.groups
    assert group.decay.value == pytest.approx(0.25)
    assert group.first_grad_norm.value is None


def test_without_logarithms_the_plain_columns_serve(tmp_path):
    run = make_run(tmp_path, [[FakeTrial("a", decay=0.25)]])
    part = run.parts("layers")[0]
    pq.write_table(pq.read_table(part).drop_columns(["log10_delta_rms", "log10_weight_grad_norm"]), part)
    (group,) = ask([run]).summary.groups
    assert group.decay.value == pytest.approx(0.25)
    assert group.last_grad_norm.value == pytest.approx(0.1)
