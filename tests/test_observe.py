"""From histories to what a check compares, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gradlab.config.schema import Experiment
from gradlab.config.sweep import Trial, expand
from gradlab.engine.history import LayerInfo, TrialHistory
from gradlab.errors import UsageError
from gradlab.observe import named_steps, network_statistics
from gradlab.store.measurement import Key


@pytest.mark.parametrize(
    ("steps", "every", "named"),
    [
        (500, 10, {"first": 0, "middle": 250, "last": 499}),
        (20, 10, {"first": 0, "middle": 10, "last": 19}),
        (101, 20, {"first": 0, "middle": 40, "last": 100}),
        (10, 20, {"first": 0, "last": 9}),
        (11, 10, {"first": 0, "last": 10}),
        (3, 1, {"first": 0, "middle": 1, "last": 2}),
        (2, 1, {"first": 0, "last": 1}),
        (1, 1, {"first": 0}),
        (1, 50, {"first": 0}),
    ],
)
def test_named_steps(steps: int, every: int, named: dict[str, int]) -> None:
    assert named_steps(steps, every) == named


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_named_steps_are_recorded_ones_and_the_middle_is_nearest_the_middle(steps: int, every: int) -> None:
    named, last = named_steps(steps, every), steps - 1
    found = list(named.values())
    assert found == sorted(set(found))
    assert found[0] == 0
    assert found[-1] == last
    between = range(every, last, every)
    assert ("middle" in named) == (len(between) > 0)
    if between:
        assert named["middle"] in between
        assert abs(named["middle"] - last / 2) == min(abs(step - last / 2) for step in between)


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_fewer_records_leave_the_named_steps_as_they_are(steps: int, every: int) -> None:
    """Recording at the middle alone, as a check does."""
    named = named_steps(steps, every)
    assert named_steps(steps, named.get("middle", max(1, steps - 1))) == named


LAYERS = (LayerInfo("body", 8, 40), LayerInfo("head", None, 16))
STATISTICS = {
    "log10_weight_grad_norm": [-400.0, -1.0],
    "log10_delta_rms": [-np.inf, -2.0],
    "weight_grad_norm": [0.0, 0.1],
    "delta_rms": [0.0, 0.01],
    "activation_rms": [0.0, np.nan],
    "update_ratio": [1e-3, np.nan],
    "weight_norm": [100.0, 1.0],
    "dead_units": [2.0, np.nan],
    "zero_gradient_units": [4.0, np.nan],
    "saturated_fraction": [0.25, np.nan],
    "non_finite": [10.0, 4.0],
}
UNITS_ONLY = ("activation_rms", "dead_units", "zero_gradient_units", "saturated_fraction")


def trials(count: int = 2, **train: Any) -> list[Trial]:
    return expand(Experiment.model_validate({"seeds": count, "train": {"steps": 20, **train}, "record": {"every": 10}}))


def history(scale: float = 1.0, steps: tuple[int, ...] = (0, 10, 19), **fields: Any) -> TrialHistory:
    """Two layers, the second without units; later records are larger by `scale`."""
    return TrialHistory(
        trial_id="",
        layers=LAYERS,
        steps=steps,
        layer_values={
            name: np.array([row, *[np.multiply(row, scale)] * (len(steps) - 1)]) for name, row in STATISTICS.items()
        },
        meaningless={name: np.array([False, True]) for name in UNITS_ONLY},
        weight_prints=np.array([scale, -scale]),
        finals={"final_train_loss": 0.01 * scale, "final_eval_loss": 0.0, "final_eval_metric": 0.5},
        **fields,
    )


def test_norms_become_logarithms_and_counts_become_shares() -> None:
    values = network_statistics(trials(), [history(), history(2.0)]).values
    expected = {
        ("weight_grad_norm", 1): -400,
        ("weight_grad_norm", 2): -1,
        ("delta_rms", 1): -np.inf,
        ("activation_rms", 1): -np.inf,
        ("update_ratio", 1): -3,
        ("update_ratio", 2): np.nan,
        ("weight_norm", 1): 2,
        ("dead_units", 1): 2 / 8,
        ("zero_gradient_units", 1): 4 / 8,
        ("saturated_fraction", 1): 0.25,
        ("non_finite", 1): 10 / 40,
        ("non_finite", 2): 4 / 16,
    }
    for (statistic, layer), value in expected.items():
        assert_allclose(values[Key("first", statistic, layer)], [value, value], rtol=1e-12)
    assert_allclose(values[Key("last", "dead_units", 1)], [2 / 8, 4 / 8])
    assert_allclose(values[Key("middle", "update_ratio", 1)], [-3, np.log10(2e-3)])
    assert_allclose(values[Key("end", "final_train_loss", 0)], [-2, np.log10(0.02)])
    assert_array_equal(values[Key("end", "final_eval_loss", 0)], [-np.inf, -np.inf])


def test_rows_that_are_no_layers_are_not_compared() -> None:
    """A normalisation and time steps among the layers change nothing about what is compared of these."""
    more = (LayerInfo("norm", 8, 8, "norm", 1), LayerInfo("body", 8, 0, "time", 1), LayerInfo("body", 8, 0, "time", 2))
    plain, order = history(), [0, 2, 3, 4, 1]
    among = replace(
        plain,
        layers=tuple([*LAYERS, *more][place] for place in order),
        layer_values={
            name: np.concatenate([values, np.full((3, 3), 7.0)], axis=1)[:, order]
            for name, values in plain.layer_values.items()
        },
        meaningless={name: np.array([False, True, True, False, False])[order] for name in UNITS_ONLY},
    )
    expected, found = (network_statistics(trials(), [one, one]) for one in (plain, among))
    assert (found.layers, found.weight_counts) == (("body", "head"), (40, 16))
    assert found.weight_prints.shape == (2, 2)
    assert found.values.keys() == expected.values.keys()
    for key, values in expected.values.items():
        assert_array_equal(found.values[key], values)


def test_what_has_no_meaning_for_a_layer_is_not_compared() -> None:
    keys = set(network_statistics(trials(), [history(), history()]).values)
    assert {key.statistic for key in keys if key.layer == 1} - {key.statistic for key in keys if key.layer == 2} == {
        *UNITS_ONLY
    }
    assert {key.step for key in keys if key.statistic == "weight_norm"} == {"first"}
    assert {key.step for key in keys if key.layer} == {"first", "middle", "last"}
    assert {key.statistic for key in keys if not key.layer} == {"final_train_loss", "final_eval_loss"}


def test_what_a_diverged_trial_never_reached_is_no_number() -> None:
    """It is recorded at the step where it diverged and no further."""
    found = network_statistics(trials(), [history(), history(steps=(0, 7), diverged_step=7)])
    assert found.diverged == (None, 7)
    for step, lost in (("first", False), ("middle", True), ("last", True)):
        values = found.values[Key(step, "weight_grad_norm", 2)]
        assert np.isnan(values).tolist() == [False, lost]


def test_seeds_are_the_last_axis_everywhere() -> None:
    found = network_statistics(trials(3), [history(1.0), history(2.0), history(3.0)])
    assert_array_equal(found.weight_prints, [[1, 2, 3], [-1, -2, -3]])
    assert {values.shape for values in found.values.values()} == {(3,)}
    assert found.layers == ("body", "head")
    assert found.weight_counts == (40, 16)
    assert found.steps == {"first": 0, "middle": 10, "last": 19}


def test_the_swept_settings_name_the_network() -> None:
    one, other = expand(Experiment.model_validate({"seeds": 1, "sweep": {"grid": {"train.lr": [0.1, 0.2]}}}))
    assert network_statistics([other], [history()]).settings == {"train.lr": 0.2}
    assert network_statistics([one], [history()]).settings == {"train.lr": 0.1}


def test_layers_that_differ_from_seed_to_seed_cannot_be_compared() -> None:
    other = replace(history(), layers=(LAYERS[0], LayerInfo("head", None, 17)))
    with pytest.raises(UsageError, match=r"model\.factory.*seed"):
        network_statistics(trials(), [history(), other])
