"""Advice names the figures and never what the user already has."""

from dataclasses import replace

import pytest

from gradlab.analysis.advice import advice
from gradlab.analysis.summary import summarise_runs
from tests.store.synthetic import FakeTrial, make_run
from tests.store.watched_runs import WatchedTrial, make_watched, recurrent


def advise(tmp_path, diagnosis, decay=0.5, predicted=None, settings=None, results=None, layers=None):
    results = {
        "diagnosis": diagnosis,
        "predicted_gradient_decay": decay if predicted is None else predicted,
        **(results or {}),
    }
    trial = FakeTrial("a", depth=20, decay=decay, settings=settings or {}, results=results, layers=layers or {})
    (group,) = summarise_runs([make_run(tmp_path, [[trial]])]).groups
    assert group.advice == advice(group)
    return group.advice


def test_a_vanishing_gradient_with_its_figures(tmp_path):
    said = advise(tmp_path, "vanishing", 1 / 4.2, 1 / 4.1, {"activation": "sigmoid"})
    assert said.startswith(
        "sigmoid shrinks the gradient 4.2x a layer (mean-field: 4.1x); "
        "He-initialised relu at this depth is predicted at 1.0x; a residual connection"
    )


def test_healthy_needs_none(tmp_path):
    assert advise(tmp_path, "healthy") is None


@pytest.mark.parametrize(
    ("diagnosis", "settings", "absent"),
    [
        ("vanishing", {"activation": "relu", "init": "he_normal"}, "he_normal"),
        ("vanishing", {"activation": "relu", "init": "he_uniform"}, "He-init"),
        ("vanishing", {"activation": "linear", "init": "orthogonal"}, "orthogonal"),
        ("vanishing", {"residual": True}, "residual"),
        ("vanishing", {"norm": "layer", "residual": True}, "layer norm"),
        ("vanishing", {"norm": "batch"}, "predicted at"),
        ("exploding", {"norm": "layer"}, "layer norm"),
        ("exploding", {"norm": "batch", "residual": True}, "residual"),
        ("exploding", {"activation": "relu", "init": "he_normal"}, "He init"),
        ("dead", {"activation": "leaky_relu(negative_slope=0.2)"}, "leaky_relu"),
        ("dying", {"activation": "gelu"}, "leaky_relu"),
        ("dying", {"lr": 0.0}, "smaller learning rate"),
        ("saturated", {"norm": "layer"}, "layer norm"),
    ],
)
def test_what_the_user_has_is_not_advised(tmp_path, diagnosis, settings, absent):
    decay = 3.0 if diagnosis == "exploding" else 0.5
    results = {"dead_fraction": 0.8, "saturated_fraction": 0.9}
    said = advise(tmp_path, diagnosis, decay, settings=settings, results=results)
    assert said
    assert absent not in said


def test_measured_and_predicted_may_disagree(tmp_path):
    assert "shrinks the gradient 2.0x a layer (mean-field: grows 1.5x)" in advise(tmp_path / "a", "vanishing", 0.5, 1.5)
    assert "(mean-field: 1.00x)" in advise(tmp_path / "b", "vanishing", 0.5, 1.0)


def test_no_gradient_at_all_is_said(tmp_path):
    zero = {"delta_rms": 0.0, "log10_delta_rms": None}
    assert "no gradient at all" in advise(tmp_path, "vanishing", layers={(0, 1): zero})


def test_divergence_names_step_and_rate(tmp_path):
    results = {"status": "diverged", "diverged_step": 12}
    said = advise(tmp_path / "late", "diverged", settings={"lr": 2.0}, results=results)
    assert "1 of 1 trials is not finite from step 12 on: lr 2 is too large" in said
    assert "try 0.2" in said
    at_once = advise(tmp_path / "once", "diverged", results=results | {"diverged_step": 0})
    assert "before any learning" in at_once
    assert "lr" not in at_once


def test_units_dead_from_the_start_are_not_blamed_on_training(tmp_path):
    dead_then = {(0, layer): {"dead_units": 7} for layer in range(1, 21)}
    results = {"dead_fraction": 0.9}
    early = advise(tmp_path / "early", "dead", settings={"activation": "relu"}, results=results, layers=dead_then)
    assert "90 % of the hidden units are dead at the last record, 88 % before training" in early
    assert "dead from the start" in early
    late = advise(tmp_path / "late", "dying", settings={"activation": "relu"}, results=results)
    assert "leaky_relu keeps a slope everywhere; a smaller learning rate than 0.05" in late


def test_failures_give_their_reason(tmp_path):
    said = advise(tmp_path, "failed", results={"status": "failed", "error": "KeyError: 'x'\nmore"})
    assert said == "1 of 1 trials failed: KeyError: 'x'"


def test_a_model_of_the_users_own(tmp_path):
    nothing = dict.fromkeys(("depth", "width", "activation", "init", "norm", "residual"))
    said = advise(tmp_path, "vanishing", settings={"family": "custom", **nothing})
    assert said.startswith("this network shrinks the gradient 2.0x a layer")
    assert "model.residual" not in said
    broken = {"status": "diverged", "diverged_step": 0}
    at_once = advise(tmp_path / "diverged", "diverged", settings={"family": "custom", **nothing}, results=broken)
    assert "try smaller initial weights" in at_once
    assert "sigma_w" not in at_once
    kept = advise(tmp_path / "kept", "vanishing", settings={"family": "custom", **nothing, "residual": True})
    assert "model." not in kept


def test_only_an_init_that_has_one_is_told_of_its_sigma_w(tmp_path):
    broken = {"status": "diverged", "diverged_step": 0}
    for init, words in (("normal(sigma_w=4)", "a smaller initial sigma_w"), ("he_normal", "smaller initial weights")):
        said = advise(tmp_path / init, "diverged", settings={"init": init}, results=broken)
        assert f"try {words}, or check the data" in said


@pytest.mark.parametrize("settings", [{"family": "rnn", "activation": None}, {"family": "custom", "activation": None}])
def test_gated_cells_are_not_advised_to_who_has_or_may_have_them(settings, tmp_path):
    run = make_watched(tmp_path / "run", [WatchedTrial("a", rows=recurrent(9), settings=settings)]).directory
    (group,) = summarise_runs([run]).groups
    assert group.along_time
    said = advice(replace(group, diagnoses={"vanishing": 1}))
    assert "a time step" in said
    assert "gated" not in said
    assert "lstm" not in said
    plain_cells = {**group.settings, "family": "rnn", "activation": "tanh"}
    assert "gated cells (model.cell: lstm)" in advice(replace(group, diagnoses={"vanishing": 1}, settings=plain_cells))
