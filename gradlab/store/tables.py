"""The three tables of a run directory: every column, declared once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

SCHEMA_VERSION = 1
"""Stands in the footer of every part file and in run.json; raised when a column changes its meaning."""

VERSION_KEY = b"gradlab.schema_version"
"""Its key in a part file's footer."""

_INT, _REAL, _TEXT, _FLAG = pa.int64(), pa.float64(), pa.string(), pa.bool_()

TRIALS: dict[str, pa.DataType] = {
    "trial_id": _TEXT,
    "run": _TEXT,
    "seed": _INT,
    "data": _TEXT,
    "family": _TEXT,
    "depth": _INT,
    "width": _INT,
    "activation": _TEXT,
    "init": _TEXT,
    "norm": _TEXT,
    "residual": _FLAG,
    "optimizer": _TEXT,
    "lr": _REAL,
    "batch_size": _INT,
    "steps": _INT,
    "parameters": _INT,
    "status": _TEXT,
    "error": _TEXT,
    "diverged_step": _INT,
    "final_train_loss": _REAL,
    "final_eval_loss": _REAL,
    "final_eval_metric": _REAL,
    "dead_fraction": _REAL,
    "saturated_fraction": _REAL,
    "gradient_ratio": _REAL,
    "gradient_decay": _REAL,
    "predicted_gradient_decay": _REAL,
    "diagnosis": _TEXT,
}
"""One row per trial. Other swept fields stand under their paths, after `steps`."""

STEPS: dict[str, pa.DataType] = {
    "trial_id": _TEXT,
    "step": _INT,
    "train_loss": _REAL,
    "eval_loss": _REAL,
    "eval_metric": _REAL,
    "grad_norm": _REAL,
}
"""One row per trial and recorded step."""

LAYERS: dict[str, pa.DataType] = {
    "trial_id": _TEXT,
    "step": _INT,
    "layer": _INT,
    "name": _TEXT,
    "kind": _TEXT,
    "units": _INT,
    "weight_count": _INT,
    "weight_grad_norm": _REAL,
    "log10_weight_grad_norm": _REAL,
    "bias_grad_norm": _REAL,
    "delta_rms": _REAL,
    "log10_delta_rms": _REAL,
    "float32_zero_fraction": _REAL,
    "preactivation_rms": _REAL,
    "activation_mean": _REAL,
    "activation_rms": _REAL,
    "dead_units": _INT,
    "zero_gradient_units": _INT,
    "saturated_fraction": _REAL,
    "weight_norm": _REAL,
    "update_ratio": _REAL,
    "non_finite": _INT,
    **{f"activation_q{percent:02d}": _REAL for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99)},
}
"""One row per trial, recorded step and layer; layer 1 is nearest the input, the output layer is the last.

`kind` says what the row is about: `layer`, a module with weights; `norm`, a normalisation, `layer` being the number of
the layer that it follows (0 if none); `time`, a time step of a recurrent module, `layer` being the step from 1. Files
without this column hold layers alone. Quantiles of activations stand at a trial's first and last record alone.
"""

CELL, EXAMPLE = "cell", "example"
"""What a row of the regions table can be about."""

REGIONS: dict[str, pa.DataType] = {
    "trial_id": _TEXT,
    "step": _INT,
    "kind": _TEXT,
    "x": _REAL,
    "y": _REAL,
    "class": _INT,
}
"""What networks decide in the plane of two features; in parts with trials whose data have two, and classes.

A row is a cell (`kind` is `cell`): the class decided in its middle, before training (step 0) and after it (step
`steps`; not where it diverged); or one of the first training examples (`example`, step 0) with its own class.
"""

LAYER, NORM, TIME = "layer", "norm", "time"
"""What `kind` can be."""

TABLES = {"trials": TRIALS, "steps": STEPS, "layers": LAYERS, "regions": REGIONS}
"""Table -> its columns. Every part has a file of the first three, a part with regions one of the fourth, too."""


def schema(table: str, extra: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """The arrow schema of a table, `extra` columns (other swept fields) after `steps`, the version in its metadata."""
    fields = list(TABLES[table].items())
    if extra:
        place = 1 + list(TABLES[table]).index("steps")
        fields[place:place] = extra.items()
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION)})


def column_type(values: Iterable[object]) -> pa.DataType:
    """The narrowest of flag, integer, real and text that holds every value of a swept field."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return _FLAG
    if kinds == {int}:
        return _INT
    return _REAL if kinds and kinds <= {int, float} else _TEXT
