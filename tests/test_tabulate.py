"""From histories to rows: kinds and numbers, what is null, and what a trial's row says of layers and of time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradlab.config.schema import Diagnosis
from gradlab.engine.history import LayerInfo, TrialHistory
from gradlab.store.tables import LAYERS, STEPS
from gradlab.tabulate import gradient_ratio_and_decay, layers_table, measured_columns, steps_table

NAN = math.nan
ROWS = (
    LayerInfo("embed", 4, 40, "layer", 1),
    LayerInfo("norm", 4, 4, "norm", 1),
    LayerInfo("rnn", 6, 60, "layer", 2),
    *(LayerInfo(f"rnn.{series}", 6, 36, "time", step) for series in ("l0", "l1") for step in (1, 2, 3)),
    LayerInfo("head", 2, 12, "layer", 3),
)
LOGS = [-1.0, NAN, -2.0, -5.0, -4.0, -3.0, -9.0, -8.0, -7.0, -0.5]
DEAD = [1.0, 4.0, 6.0, *[6.0] * 6, NAN]


def history(rows: tuple[LayerInfo, ...] = ROWS, **fields: Any) -> TrialHistory:
    """Two records; rows without units of their own have no shares, the normalisation no delta."""
    places = [ROWS.index(row) for row in rows]
    meaningless = np.isnan(np.array([LOGS, DEAD]))[:, places]
    made = TrialHistory(
        trial_id="a",
        layers=rows,
        steps=(0, 10),
        step_values={"train_loss": np.array([1.0, NAN]), "eval_loss": np.array([NAN, 2.0])},
        not_logged={"eval_loss": np.array([True, False])},
        layer_values={
            "log10_delta_rms": np.array([LOGS, LOGS])[:, places],
            "dead_units": np.array([DEAD, DEAD])[:, places],
            "saturated_fraction": np.array([np.zeros(10), np.linspace(0, 0.9, 10)])[:, places],
        },
        meaningless={"log10_delta_rms": meaningless[0], "dead_units": meaningless[1]},
    )
    return replace(made, **fields)


def test_each_row_has_its_kind_and_its_number() -> None:
    table = layers_table([history()])
    assert table.column_names == list(LAYERS)
    found = list(zip(*(table[name].to_pylist() for name in ("step", "name", "kind", "layer")), strict=True))
    assert found == [(step, row.name, row.kind, row.number) for step in (0, 10) for row in ROWS]


def test_without_numbers_layers_count_by_their_place() -> None:
    rows = layers_table([TrialHistory("a", (LayerInfo("a", 1, 1), LayerInfo("b", 1, 1)), (0, 10))])
    assert (rows["layer"].to_pylist(), rows["kind"].to_pylist()) == ([1, 2, 1, 2], ["layer"] * 4)


def test_what_was_not_measured_is_null_and_what_is_no_number_is_not() -> None:
    table = steps_table([history()])
    assert table.column_names == list(STEPS)
    train, evaluation = table["train_loss"].to_pylist(), table["eval_loss"].to_pylist()
    assert train[0] == 1.0
    assert math.isnan(train[1])
    assert evaluation == [None, 2.0]
    assert table["grad_norm"].to_pylist() == table["eval_metric"].to_pylist() == [None, None]
    layers = layers_table([history()])
    assert layers["delta_rms"].null_count == layers["weight_norm"].null_count == len(layers)
    assert layers["log10_delta_rms"].to_pylist() == [None if math.isnan(log) else log for log in LOGS] * 2


def test_a_statistic_may_lack_meaning_in_one_record_only() -> None:
    once = np.zeros((2, len(ROWS)), bool)
    once[1, 2] = True
    found = layers_table([history(meaningless={"log10_delta_rms": once | np.isnan(LOGS)})])["log10_delta_rms"]
    assert [place for place, value in enumerate(found.to_pylist()) if value is None] == [1, 11, 12]


def test_the_gradient_goes_along_the_first_series_of_time_steps() -> None:
    assert gradient_ratio_and_decay(history()) == pytest.approx((1e-2, 1e-1))
    row = measured_columns(history(), Diagnosis())
    assert (row["gradient_ratio"], row["gradient_decay"]) == pytest.approx((1e-2, 1e-1))


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("layer", "norm"), (10.0, 10.0)),
        (("layer",), (10.0, 10.0)),
        (("norm",), (None, None)),
        ((), (None, None)),
    ],
)
def test_else_it_goes_along_hidden_layers_never_along_norms(kinds: tuple[str, ...], expected: Any) -> None:
    rows = tuple(row for row in ROWS if row.kind in kinds)
    assert gradient_ratio_and_decay(history(rows)) == pytest.approx(expected)


def test_one_time_step_has_no_decay_and_an_end_without_delta_no_ratio() -> None:
    first = [row for row in ROWS if row.kind != "time" or (row.name, row.number) == ("rnn.l0", 1)]
    assert gradient_ratio_and_decay(history(tuple(first))) == (1.0, None)
    hidden = np.isnan(LOGS) | (np.arange(len(ROWS)) == 5)
    assert gradient_ratio_and_decay(history(meaningless={"log10_delta_rms": hidden})) == (None, None)


def test_shares_are_those_of_the_layers_alone() -> None:
    row = measured_columns(history(), Diagnosis())
    assert row["dead_fraction"] == pytest.approx((1 + 6) / (4 + 6))
    weights, shares = np.array([4, 6, 2]), np.linspace(0, 0.9, 10)[[0, 2, 9]]
    assert row["saturated_fraction"] == pytest.approx((weights * shares).sum() / weights.sum())
    assert row["diagnosis"] == "dead"


def test_a_trial_row_of_nothing_is_null() -> None:
    row = measured_columns(TrialHistory("a"), Diagnosis())
    assert row.pop("status") == "completed"
    assert row.pop("diagnosis") == "healthy"
    assert set(row.values()) == {None}
    assert layers_table([TrialHistory("a")]).num_rows == steps_table([]).num_rows == 0
