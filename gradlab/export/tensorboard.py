"""A run as event files of TensorBoard: a log directory for each trial, compared by factor in the HPARAMS tab.

Needs the package `tensorboard`, of which neither TensorFlow nor torch is a part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import Discrete, HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from gradlab.analysis.factors import factor_columns
from gradlab.export.log_directories import log_directories
from gradlab.export.selection import Rows
from gradlab.store.tables import TIME

EVENT_FILE = "events.out.tfevents.gradlab"
"""Every event file's name: TensorBoard looks for `tfevents`, and the same run makes the same files."""

STEP_TAGS = {
    "loss/train": "train_loss",
    "loss/eval": "eval_loss",
    "metric/eval": "eval_metric",
    "gradient/norm": "grad_norm",
    "gradient/log10_norm": "log10_grad_norm",
}
"""Tag -> column of the steps table, or the logarithm of one."""

LAYER_STATISTICS = (
    "log10_weight_grad_norm",
    "log10_delta_rms",
    "float32_zero_fraction",
    "preactivation_rms",
    "activation_mean",
    "activation_rms",
    "dead_units",
    "zero_gradient_units",
    "saturated_fraction",
    "weight_norm",
    "update_ratio",
)
"""Columns of the layers table that become scalars; norms as logarithms, as TensorBoard's float32 ends at 1e-38."""

RESULTS = (
    "final_eval_metric",
    "final_eval_loss",
    "final_train_loss",
    "gradient_decay",
    "predicted_gradient_decay",
    "log10_gradient_ratio",
    "dead_fraction",
    "saturated_fraction",
)
"""Columns of the trials table, or the logarithm of one, that become the metrics of the HPARAMS tab."""


def start_of(info: Mapping[str, Any]) -> float:
    """When a run began by its `run.json`, in seconds since the epoch; 0 where that is not known."""
    try:
        return datetime.fromisoformat(info["start"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return 0.0


def write_tensorboard(trials: pa.Table, rows: Rows, folder: Path, start: float) -> None:
    """Write a log directory with one event file for each trial, and the experiment's own beside them.

    A record of step k stands at the time `start` + k seconds, so that the same run always makes the same bytes.

    Args:
        trials: rows of the trials table.
        rows: the rows of the other tables.
        folder: where to write; what TensorBoard's `--logdir` names.
        start: when the run began, in seconds since the epoch.

    Raises:
        OSError: disk full, no permission.
    """
    records = _with_steps(trials.to_pylist(), rows)
    factors = factor_columns(trials.to_pandas())
    varying = [name for name in factors if len({record[name] for record in records}) > 1]
    files = {trial: folder / name / EVENT_FILE for trial, name in log_directories(records, varying).items()}
    experiment = Event(wall_time=start, summary=_experiment(records, varying, start))
    _append(folder / EVENT_FILE, [_opening(start), experiment])
    for record in records:
        file = files[record["trial_id"]]
        file.parent.mkdir()
        _append(file, _trial_events(record, factors, start))
    for table, scalars in (("steps", _step_scalars), ("layers", _layer_scalars)):
        for part in rows(table):
            ordered = part.sort_by([(key, "ascending") for key in ("trial_id", "step")])
            every = (row for batch in ordered.to_batches(max_chunksize=10_000) for row in batch.to_pylist())
            for trial, its in groupby(every, itemgetter("trial_id")):
                steps = groupby(its, itemgetter("step"))
                _append(files[trial], (_scalars(step, start, map(scalars, at)) for step, at in steps))


def _with_steps(records: list[dict[str, Any]], rows: Rows) -> list[dict[str, Any]]:
    """The trials with their steps; those of a watched training, which nobody knows before its end, as far as it got."""
    got = {record["trial_id"]: 0 for record in records if record["steps"] is None}
    if got:
        for part in rows("steps"):
            for trial, step in zip(part["trial_id"].to_pylist(), part["step"].to_pylist(), strict=True):
                if trial in got:
                    got[trial] = max(got[trial], step + 1)
    return [record | {"steps": got.get(record["trial_id"], record["steps"])} for record in records]


def _append(file: Path, events: Iterable[Event]) -> None:
    with file.open("ab") as stream:
        writer = RecordWriter(stream)
        for event in events:
            writer.write(event.SerializeToString(deterministic=True))


def _opening(start: float) -> Event:
    """The event with which every event file begins."""
    return Event(wall_time=start, file_version="brain.Event:2")


def _experiment(records: Sequence[Mapping[str, Any]], varying: Sequence[str], start: float) -> Summary:
    """What the HPARAMS tab has as its columns: the factors that vary, the seed and the results."""
    domains = {name: {record[name] for record in records} - {None} for name in (*varying, "seed")}
    parameters = [HParam(name, Discrete(values)) for name, values in domains.items() if values]
    metrics = [Metric(f"result/{name}", display_name=name) for name in RESULTS]
    return hparams_config_pb(parameters, metrics, time_created_secs=start)


def _trial_events(record: dict[str, Any], factors: Sequence[str], start: float) -> Iterator[Event]:
    """A trial's settings, its results after the last update, and how it ended."""
    end = start + record["steps"]
    status = STATUS_FAILURE if record["status"] == "failed" else STATUS_SUCCESS
    ending = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=end))
    yield _opening(start)
    yield Event(wall_time=start, summary=_settings(record, factors, start))
    results = record | {"log10_gradient_ratio": _log10(record["gradient_ratio"])}
    yield _scalars(record["steps"], start, [{f"result/{name}": results[name] for name in RESULTS}])
    closing = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(ending),
        tensor=metadata.NULL_TENSOR,
    )
    yield Event(wall_time=end, summary=Summary(value=[closing]))


def _settings(record: Mapping[str, Any], factors: Sequence[str], start: float) -> Summary:
    settings = {name: record[name] for name in (*factors, "seed") if record[name] is not None}
    summary = hparams_pb(settings, trial_id=record["trial_id"], start_time_secs=start)
    # The settings are a map, whose order in bytes is another in every process unless one asks.
    plugin = summary.value[0].metadata.plugin_data
    plugin.content = HParamsPluginData.FromString(plugin.content).SerializeToString(deterministic=True)
    return summary


def _step_scalars(row: dict[str, Any]) -> dict[str, float | None]:
    values = row | {"log10_grad_norm": _log10(row["grad_norm"])}
    return {tag: values[column] for tag, column in STEP_TAGS.items()}


def _layer_scalars(row: dict[str, Any]) -> dict[str, float | None]:
    # The layer's place first, so that names of any kind stand in the order of the layers. A time step may have the
    # place and the name of a layer, too.
    layer = f"{row['layer']:02d} {row['name']}"
    if row["kind"] == TIME:
        layer = f"time {row['layer']:03d} {row['name']}"
    return {f"{statistic}/{layer}": row[statistic] for statistic in LAYER_STATISTICS}


def _scalars(step: int, start: float, scalars: Iterable[Mapping[str, float | None]]) -> Event:
    """An event with every scalar that is not null."""
    event = Event(wall_time=start + step, step=step)
    for tag, value in ((tag, value) for some in scalars for tag, value in some.items() if value is not None):
        event.summary.value.add(tag=tag, simple_value=value)
    return event


def _log10(norm: float | None) -> float | None:
    return math.log10(norm) if norm is not None and norm > 0 else None
