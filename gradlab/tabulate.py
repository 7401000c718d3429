"""From histories to the rows of the three tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from gradlab.analysis.diagnosis import diagnose
from gradlab.analysis.estimates import power_of_ten
from gradlab.config.schema import Diagnosis
from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.store.tables import LAYERS, STEPS, schema


@dataclass(frozen=True)
class PartTables:
    """One part of each table."""

    trials: pa.Table
    steps: pa.Table
    layers: pa.Table


def tabulate(
    trials: Sequence[Trial],
    histories: Sequence[TrialHistory],
    run: str,
    thresholds: Diagnosis,
    extra: Mapping[str, pa.DataType],
) -> PartTables:
    """The rows of some finished trials.

    Args:
        histories: of these trials, in the same order.
        run: the name of the run directory.
        extra: type of the columns of swept fields that have none of their own.
    """
    rows = [
        _trial_row(trial, history, run, thresholds, extra) for trial, history in zip(trials, histories, strict=True)
    ]
    recorded = [history for history in histories if history.steps]
    return PartTables(
        pa.Table.from_pylist(rows, schema=schema("trials", extra)),
        _steps_table(recorded),
        _layers_table(recorded),
    )


def _trial_row(
    trial: Trial, history: TrialHistory, run: str, thresholds: Diagnosis, extra: Mapping[str, pa.DataType]
) -> dict[str, Any]:
    dead, saturated, dead_layer = _last_record(history)
    ratio, decay = gradient_ratio_and_decay(history)
    row = {
        "trial_id": trial.trial_id,
        "run": run,
        "seed": trial.seed,
        **trial.factors(),
        "parameters": sum(history.parameters.values()) or None,
        "status": history.status,
        "error": history.error,
        "diverged_step": history.diverged_step,
        **history.finals,
        "dead_fraction": dead,
        "saturated_fraction": saturated,
        "gradient_ratio": ratio,
        "gradient_decay": decay,
        "predicted_gradient_decay": history.predicted_gradient_decay,
        "diagnosis": diagnose(
            status=history.status,
            gradient_ratio=ratio,
            dead_layer=dead_layer,
            dead_fraction=dead,
            saturated_fraction=saturated,
            reaches_zero_derivative=not history.never_zero,
            thresholds=thresholds,
        ),
    }
    for name, kind in extra.items():
        if pa.types.is_string(kind) and row.get(name) is not None:
            row[name] = str(row[name])
    return row


def gradient_ratio_and_decay(history: TrialHistory) -> tuple[float | None, float | None]:
    """delta_rms(1) / delta_rms(D) at step 0 over the hidden layers, and its (D - 1)-th root; None for 0/0."""
    depth = len(history.layers) - 1
    if depth < 1 or not history.steps:
        return None, None
    first, last = history.layer_values["log10_delta_rms"][0, [0, depth - 1]].tolist()
    if math.isnan(first) or math.isnan(last):
        return math.nan, (math.nan if depth > 1 else None)
    if first == last == -math.inf:
        return None, None
    difference = first - last
    return power_of_ten(difference), (power_of_ten(difference / (depth - 1)) if depth > 1 else None)


def _last_record(history: TrialHistory) -> tuple[float | None, float | None, bool]:
    """Dead and saturated share of hidden units at the last record, and whether a hidden layer is entirely dead."""
    if not history.steps:
        return None, None, False
    units = np.array([info.units or 0 for info in history.layers])

    def known(name: str) -> Any:
        return ~history.meaningless.get(name, np.zeros(len(units), bool))

    dead, saturated = (history.layer_values[name][-1] for name in ("dead_units", "saturated_fraction"))
    with_dead, with_saturated = known("dead_units"), known("saturated_fraction")
    dead_fraction = float(dead[with_dead].sum() / units[with_dead].sum()) if with_dead.any() else None
    weights = units[with_saturated]
    saturated_fraction = (
        float((saturated[with_saturated] * weights).sum() / weights.sum()) if with_saturated.any() else None
    )
    return dead_fraction, saturated_fraction, bool((dead[with_dead] == units[with_dead]).any())


def _steps_table(histories: Sequence[TrialHistory]) -> pa.Table:
    columns: dict[str, Any] = {
        "trial_id": [history.trial_id for history in histories for _ in history.steps],
        "step": [step for history in histories for step in history.steps],
    }
    for name in STEPS:
        if name not in columns:
            columns[name] = _joined([history.step_values[name] for history in histories])
    return pa.table([columns[name] for name in STEPS], schema=schema("steps"))


def _layers_table(histories: Sequence[TrialHistory]) -> pa.Table:
    places = [(h, step, index) for h in histories for step in h.steps for index in range(len(h.layers))]
    columns: dict[str, Any] = {
        "trial_id": [history.trial_id for history, _, _ in places],
        "step": [step for _, step, _ in places],
        "layer": [index + 1 for _, _, index in places],
        "name": [history.layers[index].name for history, _, index in places],
        "units": [history.layers[index].units for history, _, index in places],
        "weight_count": [history.layers[index].weight_count for history, _, index in places],
    }
    for name, kind in LAYERS.items():
        if name not in columns:
            values = _joined([history.layer_values[name].ravel() for history in histories])
            null = _joined([_null(name, history).ravel() for history in histories]).astype(bool)
            columns[name] = pa.array(values, pa.float64(), mask=null, from_pandas=False).cast(kind)
    return pa.table([columns[name] for name in LAYERS], schema=schema("layers"))


def _null(name: str, history: TrialHistory) -> Any:
    """Which values of a statistic are null: without meaning for the layer, the logarithm of 0, 0/0, uncountable."""
    values = history.layer_values[name]
    null = np.zeros(values.shape, bool)
    if name in history.meaningless:
        null |= history.meaningless[name]
    if name.startswith("log10"):
        null |= values == -np.inf
    if name == "update_ratio":
        without_update = np.array([step == history.diverged_step for step in history.steps])
        null |= np.isnan(values) & ((history.layer_values["weight_norm"] == 0) | without_update[:, None])
    if LAYERS[name] == pa.int64():
        null |= np.isnan(values)
    return null


def _joined(arrays: Sequence[Any]) -> Any:
    return np.concatenate(arrays) if arrays else np.empty(0)
