"""The tables of a run directory: every column, declared once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import pyarrow as pa

SCHEMA_VERSION = 1
"""Stands in the footer of every part file and in run.json; raised when a column changes its meaning."""

VERSION_KEY = b"gradlab.schema_version"
"""Its key in a part file's footer."""

_INT, _REAL, _TEXT, _FLAG = pa.int64(), pa.float64(), pa.string(), pa.bool_()

_Columns: TypeAlias = dict[str, tuple[pa.DataType, str]]
"""Column -> its type, and what it holds in half a sentence."""

_TRIALS: _Columns = {
    "trial_id": (_TEXT, "joins the tables; a hash of the trial's own settings and seed"),
    "run": (_TEXT, "name of the run directory"),
    "seed": (_INT, "of weights and minibatches"),
    "data": (_TEXT, "data set"),
    "family": (_TEXT, "family of networks"),
    "depth": (_INT, "hidden layers"),
    "width": (_INT, "units of a hidden layer"),
    "activation": (_TEXT, "with the parameters that are not at their default"),
    "init": (_TEXT, "likewise"),
    "norm": (_TEXT, "normalisation"),
    "residual": (_FLAG, "whether there are residual connections"),
    "optimizer": (_TEXT, "of torch.optim"),
    "lr": (_REAL, "learning rate"),
    "batch_size": (_INT, "examples in a minibatch"),
    "steps": (_INT, "updates that were asked for"),
    "parameters": (_INT, "trainable parameters"),
    "status": (_TEXT, "`completed`, `diverged` or `failed`"),
    "error": (_TEXT, "why it failed"),
    "diverged_step": (_INT, "first step whose loss is not finite"),
    "final_train_loss": (_REAL, "on the probe, after the last update"),
    "final_eval_loss": (_REAL, "on the evaluation split, after the last update"),
    "final_eval_metric": (_REAL, "accuracy, or R^2 of a regression, after the last update"),
    "dead_fraction": (_REAL, "dead units as a share of all hidden units, at the last record"),
    "saturated_fraction": (_REAL, "saturated pairs as a share of all, over the hidden layers, at the last record"),
    "gradient_ratio": (_REAL, "`delta_rms` of the first hidden layer over that of the last, at step 0"),
    "gradient_decay": (_REAL, "factor by which the gradient changes per layer on its way back, at step 0"),
    "predicted_gradient_decay": (_REAL, "the same by mean-field theory"),
    "diagnosis": (_TEXT, "what is wrong, in one word"),
}
"""One row per trial. Other swept fields stand under their paths, after `steps`."""

_STEPS: _Columns = {
    "trial_id": (_TEXT, "of the trial"),
    "step": (_INT, "0 is the untrained network"),
    "train_loss": (_REAL, "on the minibatch of this step's update"),
    "eval_loss": (_REAL, "on the evaluation split"),
    "eval_metric": (_REAL, "accuracy, or R^2 of a regression, on the evaluation split"),
    "grad_norm": (_REAL, "norm of the gradient by all parameters"),
}
"""One row per trial and recorded step."""

_LAYERS: _Columns = {
    "trial_id": (_TEXT, "of the trial"),
    "step": (_INT, "0 is the untrained network"),
    "layer": (_INT, "1 is nearest the input, the output layer is the last"),
    "name": (_TEXT, "of the layer, or of the module"),
    "kind": (_TEXT, "`layer`, `norm` or `time`: what the row is about"),
    "units": (_INT, "units of the layer"),
    "weight_count": (_INT, "entries of its weight"),
    "weight_grad_norm": (_REAL, "norm of the gradient by the layer's weight"),
    "log10_weight_grad_norm": (_REAL, "its logarithm, which goes on where the norm itself leaves float64"),
    "bias_grad_norm": (_REAL, "norm of the gradient by the layer's bias"),
    "delta_rms": (_REAL, "root mean square over examples of the gradient by the pre-activations"),
    "log10_delta_rms": (_REAL, "its logarithm, likewise"),
    "float32_zero_fraction": (_REAL, "share of the gradient's entries that float32 loses"),
    "preactivation_rms": (_REAL, "root mean square of the pre-activations"),
    "activation_mean": (_REAL, "mean of the activations"),
    "activation_rms": (_REAL, "root mean square of the activations"),
    "dead_units": (_INT, "units whose derivative is 0 on every probe example"),
    "zero_gradient_units": (_INT, "units that no gradient reaches on any probe example"),
    "saturated_fraction": (_REAL, "share of (unit, probe example) pairs with hardly any derivative"),
    "weight_norm": (_REAL, "norm of the weight before the update"),
    "update_ratio": (_REAL, "norm of the update over that of the weight"),
    "non_finite": (_INT, "entries of the gradient that are NaN or infinite"),
    **{
        f"activation_q{percent:02d}": (
            _REAL,
            f"{percent} % quantile of the activations, in the first and the last record",
        )
        for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99)
    },
}
"""One row per trial, recorded step and layer; layer 1 is nearest the input, the output layer is the last.

`kind` says what the row is about: `layer`, a module with weights; `norm`, a normalisation, `layer` being the number of
the layer that it follows (0 if none); `time`, a time step of a recurrent module, `layer` being the step from 1. Files
without this column hold layers alone. Quantiles of activations stand at a trial's first and last record alone.
"""

CELL, EXAMPLE = "cell", "example"
"""What a row of the regions table can be about."""

_REGIONS: _Columns = {
    "trial_id": (_TEXT, "of the trial"),
    "step": (_INT, "0 is the untrained network, `steps` the trained one"),
    "kind": (_TEXT, "`cell` or `example`: what the row is about"),
    "x": (_REAL, "first feature as the network sees it, in the cell's middle"),
    "y": (_REAL, "second feature, likewise"),
    "class": (_INT, "decided in the cell's middle; an example's own"),
}
"""What networks decide in the plane of two features; in parts with trials whose data have two, and classes.

A row is a cell (`kind` is `cell`): the class decided in its middle, before training (step 0) and after it (step
`steps`; not where it diverged); or one of the first training examples (`example`, step 0) with its own class.
"""

LAYER, NORM, TIME = "layer", "norm", "time"
"""What `kind` can be."""

_TABLES = {"trials": _TRIALS, "steps": _STEPS, "layers": _LAYERS, "regions": _REGIONS}

TABLES: dict[str, dict[str, pa.DataType]] = {
    table: {name: kind for name, (kind, _) in columns.items()} for table, columns in _TABLES.items()
}
"""Table -> column -> type. Every part has a file of the first three, a part with regions one of the fourth, too."""

OPTIONAL = ("regions",)
"""Tables of which a part may have no file."""

TRIALS, STEPS, LAYERS, REGIONS = (TABLES[table] for table in _TABLES)

DESCRIPTIONS = {table: {name: told for name, (_, told) in columns.items()} for table, columns in _TABLES.items()}
"""Table -> column -> what it holds, in half a sentence."""


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
