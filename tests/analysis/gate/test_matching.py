"""What is set against what: networks, layers, statistics, and seed against seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradlab.analysis.gate.change import REGRESSION, SAME
from gradlab.analysis.gate.judge import Verdict, judge
from gradlab.store.measurement import END, WHOLE_NETWORK, Key, Measurement, NetworkStatistics
from tests.analysis.gate.measurements import SEEDS, THRESHOLDS, Reals, edited, measurement, network, replaced, scaled

NORM = "weight_grad_norm"


def judged(now: Measurement, baseline: Measurement | None = None) -> Verdict:
    return judge(baseline or measurement(), now, THRESHOLDS)


def without(layer: int, whole: NetworkStatistics) -> NetworkStatistics:
    """The network without one of its layers; those behind it move up."""
    keep = [number for number in range(1, len(whole.layers) + 1) if number != layer]
    places = {old: new for new, old in enumerate(keep, 1)} | {WHOLE_NETWORK: WHOLE_NETWORK}
    return replace(
        whole,
        layers=tuple(whole.layers[number - 1] for number in keep),
        values={
            key._replace(layer=places[key.layer]): values for key, values in whole.values.items() if key.layer in places
        },
        weight_prints=whole.weight_prints[[number - 1 for number in keep]],
        weight_counts=tuple(whole.weight_counts[number - 1] for number in keep),
    )


def test_renamed_layers_are_known_by_their_place() -> None:
    verdict = judged(replaced(measurement(), layers=("stem", "block", "head")))
    assert verdict.verdict == SAME
    assert verdict.notes == ()
    assert {change.name for change in verdict.changes} == {"stem", "block", "head", ""}


def test_layers_that_changed_places_are_not_confused_with_a_rename() -> None:
    """As many layers as before: the first is the first, whatever it is called."""
    swapped = edited(measurement(), scaled(5), [NORM], [1])
    regressed = judged(replaced(swapped, layers=("layer_2", "layer_1", "layer_3"))).of(REGRESSION)
    assert {(change.key.layer, change.name) for change in regressed} == {(1, "layer_2")}


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_layer_that_is_gone_is_a_regression_and_the_others_keep_their_names(layer: int) -> None:
    verdict = judged(measurement(without(layer, network())))
    (change,) = verdict.of(REGRESSION)
    assert (change.key.statistic, change.key.layer, change.name) == ("layer", layer, f"layer_{layer}")
    assert (change.reason, change.baseline, change.now, change.p) == ("missing", None, None, None)
    assert verdict.changes[0] is change
    assert all(change.shift == 0 for change in verdict.changes[1:])
    assert {change.key.layer for change in verdict.changes[1:]} == {0, 1, 2, 3} - {layer}


def test_a_new_layer_is_named_and_no_regression() -> None:
    verdict = judged(measurement(), measurement(without(2, network())))
    assert verdict.verdict == SAME
    (note,) = verdict.notes
    assert "layer_2" in note
    assert "new" in note


def test_a_change_is_told_by_the_layer_s_number_in_the_baseline() -> None:
    """Layer 3 of the baseline is the second one now."""
    verdict = judged(edited(measurement(without(2, network())), scaled(5), [NORM], [2]))
    changed = [change for change in verdict.of(REGRESSION) if change.reason == ""]
    assert {(change.key.layer, change.name) for change in changed} == {(3, "layer_3")}


def test_networks_are_known_by_their_settings_in_any_order() -> None:
    deep, flat = network(settings={"model.depth": 9, "train.lr": 0.1}), network(settings={"model.depth": 1}, stream=1)
    turned = replace(deep, settings={"train.lr": 0.1, "model.depth": 9})
    assert judged(measurement(flat, turned), measurement(deep, flat)).verdict == SAME


def test_networks_that_are_gone_or_new() -> None:
    deep, flat = network(settings={"model.depth": 9}), network(settings={"model.depth": 1}, stream=1)
    gone = judged(measurement(deep), measurement(deep, flat))
    (change,) = gone.of(REGRESSION)
    assert (change.key, change.reason) == (Key(END, "network", 0), "missing")
    assert change.network == {"model.depth": 1}
    new = judged(measurement(deep, flat), measurement(deep))
    assert new.verdict == SAME
    (note,) = new.notes
    assert "new" in note
    assert "depth=1" in note


def test_nothing_measured_now_is_no_pass() -> None:
    verdict = judged(replace(measurement(), networks=()))
    assert [change.reason for change in verdict.changes] == ["missing"]
    assert verdict.verdict == REGRESSION


def test_a_setting_of_another_type_is_another_network() -> None:
    assert judged(measurement(network(settings={"a": "1"})), measurement(network(settings={"a": 1}))).of(REGRESSION)


def test_statistics_that_only_one_side_has_are_named() -> None:
    """A functional activation hides its units: what was measured of them can't be any more."""
    whole = network()
    keys = [key for key in whole.values if (key.statistic, key.layer) != ("dead_units", 2)]
    less = measurement(replace(whole, values={key: whole.values[key] for key in keys}))
    for now, baseline, word in ((less, measurement(), "not measured any more"), (measurement(), less, "new")):
        verdict = judged(now, baseline)
        assert verdict.verdict == SAME
        (note,) = verdict.notes
        assert word in note
        assert "dead_units in layer 2" in note


def test_a_layer_of_another_size_is_named() -> None:
    (note,) = judged(replaced(measurement(), weight_counts=(16, 3200, 16))).notes
    for word in ("layer_2", "3,200", "16"):
        assert word in note


def prints(edit: Reals | float, scale: float = 1.0) -> Measurement:
    """The same measurement with other prints of its weights, `[layer, seed]`."""
    return replaced(measurement(), weight_prints=scale * network().weight_prints + edit)


OTHER = np.random.default_rng(5).normal(size=(3, SEEDS))


@pytest.mark.parametrize(
    ("now", "paired"),
    [
        (prints(0.0), True),
        (prints(0.005), True),
        (prints(OTHER), False),
        (prints(0.0, scale=-1), False),
        (prints(OTHER * [[1], [0], [0]]), True),
        (prints(OTHER * [[1], [0], [np.nan]]), True),
        (prints(OTHER * [[1], [1], [0]]), False),
        (prints(np.nan), True),
        (prints(np.where(np.arange(3)[:, None] == 1, np.nan, 0)), True),
        (prints(OTHER * (np.arange(SEEDS) == 0)), False),
        (replace(measurement(), seeds=tuple(range(1, 11))), False),
        (replace(measurement(), seeds=tuple(range(9, -1, -1))), False),
        (measurement(network(seeds=12)), False),
    ],
    ids=[
        "the same draws",
        "rounded to bfloat16",
        "other draws",
        "the opposite draws",
        "one layer drawn anew",
        "one of two layers drawn anew, the third constant",
        "most layers drawn anew",
        "constant weights",
        "one layer of constant weights",
        "one seed drawn anew",
        "other seeds",
        "the seeds in another order",
        "more seeds",
    ],
)
def test_seeds_pair_up_where_most_layers_start_from_the_same_draws(now: Measurement, paired: bool) -> None:
    verdict = judged(now)
    assert verdict.paired == paired
    assert verdict.verdict != REGRESSION


def test_layers_of_another_size_don_t_pair_up() -> None:
    wider = replaced(measurement(), weight_counts=(32, 64, 32))
    assert not judged(wider).paired
