"""From histories to the rows of the tables."""

from __future__ import annotations

import itertools
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
from gradlab.engine.history import LAYER, TrialHistory, profile_places
from gradlab.store.tables import CELL, EXAMPLE, LAYERS, STEPS, schema


@dataclass(frozen=True)
class PartTables:
    """One part of each table; `regions` is None where no trial has any."""

    trials: pa.Table
    steps: pa.Table
    layers: pa.Table
    regions: pa.Table | None = None

    def by_name(self) -> dict[str, pa.Table]:
        """Those that there are."""
        return {name: rows for name, rows in vars(self).items() if rows is not None}


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
    return PartTables(
        pa.Table.from_pylist(rows, schema=schema("trials", extra)),
        steps_table(histories),
        layers_table(histories),
        regions_table(histories),
    )


def measured_columns(history: TrialHistory, thresholds: Diagnosis) -> dict[str, Any]:
    """What the trials table says of what was measured: `parameters` to `diagnosis`, None for null.

    Args:
        history: its first record is the one that the gradient's columns are about, its last one that of dead and
            saturated units; those between don't matter.
    """
    dead, saturated, dead_layer = _last_record(history)
    ratio, decay = gradient_ratio_and_decay(history)
    return {
        "parameters": sum(history.parameters.values()) or None,
        "status": history.status,
        "error": history.error,
        "diverged_step": history.diverged_step,
        **{name: history.finals.get(name) for name in ("final_train_loss", "final_eval_loss", "final_eval_metric")},
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


def gradient_ratio_and_decay(history: TrialHistory) -> tuple[float | None, float | None]:
    """delta_rms(1) / delta_rms(D) at the first record, and its (D - 1)-th root; None for 0/0 or nothing measured.

    1 to D are the time steps of the first recurrent series, where there is one, else the hidden layers.
    """
    profile = profile_places(history.layers)
    if not profile or not history.steps:
        return None, None
    name, ends = "log10_delta_rms", [profile[0], profile[-1]]
    if history.meaningless_in(name)[0, ends].any():
        return None, None
    first, last = history.layer_values[name][0, ends].tolist()
    steps = len(profile) - 1
    if math.isnan(first) or math.isnan(last):
        return math.nan, (math.nan if steps else None)
    if first == last == -math.inf:
        return None, None
    difference = first - last
    return power_of_ten(difference), (power_of_ten(difference / steps) if steps else None)


def steps_table(histories: Sequence[TrialHistory]) -> pa.Table:
    """The rows of the steps table: one for each record of each history."""
    counts = [len(history.steps) for history in histories]
    columns: dict[str, Any] = {
        "trial_id": _repeated([history.trial_id for history in histories], counts),
        "step": [step for history in histories for step in history.steps],
    }
    spans = _spans(histories, counts)
    for name in STEPS:
        if name not in columns:
            values, null = np.full(sum(counts), np.nan), np.zeros(sum(counts), bool)
            for history, span in spans:
                if name in history.step_values:
                    values[span] = history.step_values[name]
                    null[span] = history.not_logged.get(name, False)
                else:
                    null[span] = True
            columns[name] = pa.array(values, pa.float64(), mask=null, from_pandas=False)
    return pa.table([columns[name] for name in STEPS], schema=schema("steps"))


def layers_table(histories: Sequence[TrialHistory]) -> pa.Table:
    """The rows of the layers table: for each record of each history one for each of its layers, in their order."""
    rows = [len(history.steps) * len(history.layers) for history in histories]
    infos = [info for history in histories for info in history.layers]
    numbers = [
        place if info.number is None else info.number
        for history in histories
        for place, info in enumerate(history.layers, 1)
    ]
    # Each record of a history goes through all of its layers.
    layer, step = np.empty(sum(rows), np.int64), np.empty(sum(rows), np.int64)
    spans, first = _spans(histories, rows), 0
    for history, span in spans:
        shape = (len(history.steps), len(history.layers))
        layer[span].reshape(shape)[:] = np.arange(first, first + shape[1])
        step[span].reshape(shape)[:] = np.array(history.steps, np.int64)[:, None]
        first += shape[1]
    columns: dict[str, Any] = {
        "trial_id": _repeated([history.trial_id for history in histories], rows),
        "step": step,
        "layer": np.array(numbers, np.int64)[layer],
        "name": pa.array([info.name for info in infos], pa.string()).take(layer),
        "kind": pa.array([info.kind for info in infos], pa.string()).take(layer),
        "units": pa.array([info.units for info in infos], pa.int64()).take(layer),
        "weight_count": np.array([info.weight_count for info in infos], np.int64)[layer],
    }
    without_update = step == np.repeat([_step_of_divergence(history) for history in histories], rows)
    statistics = [name for name in LAYERS if name not in columns]
    values = {name: _joined([history.values_of(name).ravel() for history in histories]) for name in statistics}
    for name in statistics:
        null = _meaningless(name, spans, sum(rows)) | _undefined(name, values, without_update)
        columns[name] = pa.array(values[name], pa.float64(), mask=null, from_pandas=False).cast(LAYERS[name])
    return pa.table([columns[name] for name in LAYERS], schema=schema("layers"))


def regions_table(histories: Sequence[TrialHistory]) -> pa.Table | None:
    """The rows of the regions table, of histories with decisions; None where there are none."""
    pieces = [
        (history.trial_id, step, kind, places, classes)
        for history in histories
        if (found := history.decisions) is not None
        for step, kind, places, classes in (
            (0, EXAMPLE, found.examples, found.classes),
            *((step, CELL, found.cells, classes) for step, classes in found.decided.items()),
        )
    ]
    if not pieces:
        return None
    ids, steps, kinds, places, classes = zip(*pieces, strict=True)
    counts = [len(own) for own in classes]
    x, y = np.concatenate(places).astype(np.float64).T
    columns = [
        _repeated(ids, counts),
        np.repeat(steps, counts),
        _repeated(kinds, counts),
        np.ascontiguousarray(x),
        np.ascontiguousarray(y),
        np.concatenate(classes),
    ]
    return pa.table(columns, schema=schema("regions"))


def _trial_row(
    trial: Trial, history: TrialHistory, run: str, thresholds: Diagnosis, extra: Mapping[str, pa.DataType]
) -> dict[str, Any]:
    row = {
        "trial_id": trial.trial_id,
        "run": run,
        "seed": trial.seed,
        **trial.factors(),
        **measured_columns(history, thresholds),
    }
    for name, kind in extra.items():
        if pa.types.is_string(kind) and row.get(name) is not None:
            row[name] = str(row[name])
    return row


def _last_record(history: TrialHistory) -> tuple[float | None, float | None, bool]:
    """Dead and saturated share of hidden units at the last record, and whether a hidden layer is entirely dead."""
    dead, saturated = _last_of_units("dead_units", history), _last_of_units("saturated_fraction", history)
    dead_fraction = sum(count for _, count in dead) / sum(units for units, _ in dead) if dead else None
    saturated_fraction = (
        sum(share * units for units, share in saturated) / sum(units for units, _ in saturated) if saturated else None
    )
    return dead_fraction, saturated_fraction, any(count == units for units, count in dead)


def _last_of_units(name: str, history: TrialHistory) -> list[tuple[int, float]]:
    """The units of each layer that has some and for which a statistic of units has a meaning, and its last value."""
    if not history.steps:
        return []
    last = zip(history.layers, history.values_of(name)[-1].tolist(), history.meaningless_in(name)[-1], strict=True)
    return [(info.units, value) for info, value, lacks in last if info.kind == LAYER and info.units and not lacks]


def _spans(histories: Sequence[TrialHistory], counts: Sequence[int]) -> list[tuple[TrialHistory, slice]]:
    """Where the rows of each history stand, so many of each."""
    ends = list(itertools.accumulate(counts))
    return [(history, slice(end - n, end)) for history, end, n in zip(histories, ends, counts, strict=True)]


def _meaningless(name: str, spans: Sequence[tuple[TrialHistory, slice]], rows: int) -> Any:
    """In which rows of the layers table a statistic has no meaning, [row]."""
    found = np.zeros(rows, bool)
    for history, span in spans:
        if name not in history.layer_values:
            found[span] = True
        elif name in history.meaningless:
            found[span].reshape(len(history.steps), len(history.layers))[:] = history.meaningless[name]
    return found


def _undefined(name: str, values: Mapping[str, Any], without_update: Any) -> Any:
    """Which values of a statistic are null whatever the layer: the logarithm of 0, 0/0, what can't be counted.

    Args:
        values: statistic -> [row], all of them.
        without_update: [row], whether the step made no update.
    """
    if name.startswith("log10"):
        return values[name] == -np.inf
    if name == "update_ratio":
        return np.isnan(values[name]) & ((values["weight_norm"] == 0) | without_update)
    return np.isnan(values[name]) if LAYERS[name] == pa.int64() else False


def _step_of_divergence(history: TrialHistory) -> int:
    return -1 if history.diverged_step is None else history.diverged_step


def _repeated(texts: Sequence[str], counts: Sequence[int]) -> pa.Array:
    return pa.array(texts, pa.string()).take(np.repeat(np.arange(len(texts)), counts))


def _joined(arrays: Sequence[Any]) -> Any:
    return np.concatenate(arrays) if arrays else np.empty(0)
