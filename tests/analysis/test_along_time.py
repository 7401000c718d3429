"""Runs whose rows are of several kinds: layers, normalisations and time steps, each told as what it is."""

import numpy as np
import pandas as pd
import pytest

from gradlab.analysis.advice import advice
from gradlab.analysis.catalogue import chosen_measures
from gradlab.analysis.compare import Question, compare_runs
from gradlab.analysis.layerwise import layer_tables
from gradlab.analysis.summary import summarise_runs
from gradlab.store.finding import find_runs
from gradlab.store.reading import read_trials
from tests.store.synthetic import FakeTrial, make_run
from tests.store.watched_runs import WatchedTrial, make_watched, recurrent


def trainings(seeds=3):
    return [
        WatchedTrial(f"{name}{seed}", seed, rows, decay=decay, draw=number, settings={"activation": name})
        for number, (name, rows, decay) in enumerate((("flat", None, 0.5), ("long", recurrent(7), 0.2)))
        for seed in range(seeds)
        for rows in [rows or WatchedTrial("").rows]
    ]


def geometric(values):
    return 10 ** np.log10(values).mean()


def test_every_row_stands_in_its_place_with_the_means_that_pandas_finds(tmp_path):
    run = make_watched(tmp_path / "run", trainings())
    flat, long = layer_tables(read_trials([run.directory]))[0]
    assert [(row.kind, row.layer, row.name) for row in flat.rows] == [
        ("layer", 1, "embed"), ("norm", 1, "norm"), ("layer", 2, "body"), ("layer", 3, "head"),
    ]  # fmt: skip
    assert [(row.kind, row.layer) for row in long.rows] == [("layer", 1), ("layer", 2), ("norm", 2), ("layer", 3)]
    assert flat.time_steps == ()
    assert [(row.name, row.layer) for row in long.time_steps] == [
        (name, step) for name in ("lstm.l0", "lstm.l1") for step in range(1, 8)
    ]
    table = pd.read_parquet(run.path / "layers")
    for found, prefix in ((flat, "flat"), (long, "long")):
        for row in (*found.rows, *found.time_steps):
            own = table[table["trial_id"].str.startswith(prefix) & (table["name"] == row.name)]
            own = own[own["layer"] == row.layer]
            for step, estimates in ((0, row.first), (30, row.last)):
                at = own[own["step"] == step]
                assert len(at) == 3
                assert estimates["activation_rms"].value == pytest.approx(geometric(at["activation_rms"]))
                assert estimates["dead_units"].value == pytest.approx(at["dead_units"].mean())
                if row.kind == "time":
                    assert estimates["weight_grad_norm"].value is None
                else:
                    assert estimates["weight_grad_norm"].value == pytest.approx(geometric(at["weight_grad_norm"]))


def test_several_norms_after_one_layer_stay_apart_in_the_order_of_the_model(tmp_path):
    rows = (("z", "norm", 0), ("b", "layer", 1), ("y", "norm", 1), ("x", "norm", 1), ("head", "layer", 2))
    run = make_watched(tmp_path / "run", [WatchedTrial("a", rows=rows), WatchedTrial("b", 1, rows)])
    (table,) = layer_tables(read_trials([run.directory]))[0]
    assert [(row.name, row.kind, row.layer) for row in table.rows] == list(rows)


def test_groups_know_whether_their_gradient_goes_along_time(tmp_path):
    make_watched(tmp_path / "watched", trainings())
    make_run(tmp_path, [[FakeTrial("s", depth=4, decay=0.7)]])
    summary = summarise_runs(find_runs([tmp_path])[0])
    found = {group.settings["activation"]: group for group in summary.groups}
    assert {name: group.along_time for name, group in found.items()} == {"flat": False, "long": True, "tanh": False}
    decays = {name: round(group.decay.value, 9) for name, group in found.items()}
    assert decays == {"flat": 0.5, "long": 0.2, "tanh": 0.7}
    profiles = {group.settings["activation"]: summary.profiles[place] for place, group in enumerate(summary.groups)}
    assert profiles["long"].layers == (1, 2, 3, 4, 5, 6, 7)
    np.testing.assert_allclose(profiles["long"].hidden, [(7 - step) * np.log10(0.2) for step in range(7, 0, -1)][::-1])
    assert len(profiles["flat"].hidden) == 2
    assert profiles["flat"].layers == (1, 2, 3)
    assert len(profiles["tanh"].hidden) == 4


def test_a_pooled_group_of_both_kinds_has_the_profile_of_its_layers(tmp_path):
    run = make_watched(tmp_path / "watched", trainings())
    comparison = compare_runs([run.directory], Question(by=("optimizer",)))
    (group,) = comparison.summary.groups
    assert not group.along_time
    assert comparison.summary.profiles[0].layers == (1, 2, 3)


def test_layer_by_layer_is_step_by_step_along_the_first_series(tmp_path):
    run = make_watched(tmp_path / "watched", trainings())
    layers = compare_runs([run.directory], Question(layers=True)).layers
    kinds = [[layers.kind[row] for row in layers.rows_of(group)] for group in (0, 1)]
    assert kinds == [["layer"] * 3, ["time"] * 7]
    assert {layers.name[row] for row in layers.rows_of(1)} == {"lstm.l0"}
    found = [layers.estimates["delta_rms"][row].value for row in layers.rows_of(1)]
    np.testing.assert_allclose(found, [0.2 ** (7 - step) for step in range(1, 8)])


def test_statistics_of_the_first_and_the_last(tmp_path):
    run = make_watched(tmp_path / "watched", trainings(1))
    trials = read_trials([run.directory])
    names = ["delta_rms.first", "delta_rms.last", "weight_grad_norm.first", "activation_rms.last", "gradient_ratio"]
    found = {one.name: one.numbers for one in chosen_measures(names, trials, None)}
    at = trials.frame["trial_id"].tolist().index("long0")
    table = pd.read_parquet(run.path / "layers")
    table = table[(table["trial_id"] == "long0") & (table["step"] == 0) & (table["kind"] == "layer")].set_index("layer")
    assert found["delta_rms.first"][at] == pytest.approx(6 * np.log10(0.2))
    assert found["delta_rms.last"][at] == pytest.approx(0.0)
    assert found["gradient_ratio"][at] == pytest.approx(6 * np.log10(0.2))
    assert found["weight_grad_norm.first"][at] == pytest.approx(table.loc[1, "log10_weight_grad_norm"])
    assert found["activation_rms.last"][at] == pytest.approx(np.log10(table.loc[2, "activation_rms"]))


def test_two_watched_runs_side_by_side(tmp_path):
    for name, draw in (("before", 0), ("after", 0), ("other", 50)):
        run = [WatchedTrial(f"{name}{seed}", seed, recurrent(7), decay=0.2, draw=draw) for seed in range(3)]
        make_watched(tmp_path / name, run)
    runs, _ = find_runs([tmp_path / name for name in ("before", "after", "other")])
    same = compare_runs(runs[:2], Question(), runs[:1]).against[0]
    assert len(same.networks) == 1
    verdicts = {change.measure: change.verdict for change in same.changes[0]}
    assert (verdicts["gradient_decay"], verdicts["first_grad_norm"]) == ("identical", "identical")
    other = compare_runs([runs[0], runs[2]], Question(), runs[:1]).against[0]
    verdicts = {change.measure: change.verdict for change in other.changes[0]}
    assert verdicts["gradient_decay"] == "identical"
    assert verdicts["first_grad_norm"] != "identical"


@pytest.mark.parametrize(
    ("family", "rows", "diagnosis", "settings", "said", "unsaid"),
    [
        ("rnn", recurrent(9), "vanishing", {"activation": "tanh"}, ["5.0x a time step", "model.cell: lstm"], ["resid"]),
        ("rnn", recurrent(9), "vanishing", {"activation": None}, ["5.0x a time step", "orthogonal"], ["model.cell"]),
        ("custom", recurrent(9), "vanishing", {}, ["5.0x a time step", "orthogonal"], ["model.", "residual", "gated"]),
        ("rnn", recurrent(9), "exploding", {}, ["a time step", "clipping"], ["layer norm"]),
        ("rnn", recurrent(9), "saturated", {}, ["smaller learning rate"], ["model.norm"]),
        ("transformer", None, "vanishing", {"norm": "post"}, ["a layer", "model.norm: pre"], ["residual", "time step"]),
        ("transformer", None, "exploding", {"norm": "pre"}, ["a layer", "fewer blocks"], ["model.norm"]),
        ("transformer", None, "saturated", {"norm": "none"}, ["smaller learning rate"], ["model.norm"]),
    ],
)  # fmt: skip
def test_advice_speaks_of_time_steps_and_of_what_the_family_has(
    tmp_path, family, rows, diagnosis, settings, said, unsaid
):
    results = {"diagnosis": diagnosis, "saturated_fraction": 0.9}
    settings = {"family": family, "init": "pytorch_default", **settings}
    rows = rows or WatchedTrial("").rows
    training = WatchedTrial("a", rows=rows, decay=0.2, settings=settings | results)
    (group,) = summarise_runs([make_watched(tmp_path / "run", [training]).directory]).groups
    text = advice(group)
    assert [part for part in said if part not in text] == [], text
    assert [part for part in unsaid if part in text] == [], text
