"""A run directory as large as wanted, written as gradlab writes it, filled with made-up numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import LAYERS, STEPS, schema

DEPTH = 10
RECORDS = 20
EVERY = 10
PART_TRIALS = 256
SEEDS = 5

_ACTIVATIONS = {"sigmoid": -0.5, "tanh": -0.05, "relu": 0.0, "leaky_relu": 0.01, "elu": -0.1}
_INITS = {"pytorch_default": -0.2, "xavier_normal": -0.1, "he_normal": 0.0, "orthogonal": -0.05}
_WIDTHS = (16, 32, 64, 128)
_OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop")


def write_run(out: Path, trials: int, name: str = "made-up") -> RunDirectory:
    """A run of so many trials: 11 layers and 20 records each, five seeds of every network, parts of 256 trials."""
    run = RunDirectory.create_or_continue(out, name, f"{trials:08x}" * 8, f"name: {name}\n")
    settings = itertools.islice(_settings(), trials)
    random = np.random.default_rng(0)
    for part in range(-(-trials // PART_TRIALS)):
        rows = list(itertools.islice(settings, PART_TRIALS))
        run.write_part(f"part-{part:05}", *_tables(rows, run.path.name, random))
    return run


def _settings() -> Iterator[dict[str, object]]:
    """Settings of one trial after another, without end: the learning rate makes new networks of old ones."""
    for number in itertools.count():
        grid = itertools.product(_OPTIMIZERS, _INITS, _WIDTHS, _ACTIVATIONS)
        for (optimizer, init, width, activation), seed in itertools.product(grid, range(SEEDS)):
            yield {
                "trial_id": f"{number:04x}{_OPTIMIZERS.index(optimizer)}{list(_INITS).index(init)}"
                f"{_WIDTHS.index(width)}{list(_ACTIVATIONS).index(activation)}{seed:04x}",
                "seed": seed,
                "width": width,
                "activation": activation,
                "init": init,
                "optimizer": optimizer,
                "lr": 0.001 * (1 + number),
            }


def _tables(rows: list[dict[str, object]], run: str, random: np.random.Generator) -> tuple[pa.Table, ...]:
    slopes = np.array([_ACTIVATIONS[str(row["activation"])] + _INITS[str(row["init"])] for row in rows])
    slopes += random.normal(0, 0.02, len(rows))
    return _trials(rows, run, slopes, random), _steps(rows, random), _layers(rows, slopes, random)


def _trials(rows: list[dict[str, object]], run: str, slopes: np.ndarray, random: np.random.Generator) -> pa.Table:
    same = {
        "run": run,
        "data": "digits",
        "family": "mlp",
        "depth": DEPTH,
        "norm": "none",
        "residual": False,
        "batch_size": 64,
        "steps": EVERY * (RECORDS - 1) + 1,
        "parameters": 10_000,
        "status": "completed",
        "diagnosis": "healthy",
    }
    results = {
        "gradient_decay": 10**slopes,
        "gradient_ratio": 10 ** (slopes * (DEPTH - 1)),
        "predicted_gradient_decay": 10 ** np.round(slopes, 2),
        "dead_fraction": random.beta(1, 20, len(rows)),
        "saturated_fraction": random.beta(1, 5, len(rows)),
        "final_train_loss": random.lognormal(0, 0.5, len(rows)),
        "final_eval_loss": random.lognormal(0, 0.5, len(rows)),
        "final_eval_metric": random.beta(9, 1, len(rows)),
    }
    full = [same | row | {key: float(column[i]) for key, column in results.items()} for i, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=schema("trials"))


def _steps(rows: list[dict[str, object]], random: np.random.Generator) -> pa.Table:
    size = len(rows) * RECORDS
    columns: dict[str, object] = {
        "trial_id": np.repeat([str(row["trial_id"]) for row in rows], RECORDS),
        "step": np.tile(EVERY * np.arange(RECORDS), len(rows)),
    }
    columns |= {column: random.lognormal(size=size) for column in STEPS if column not in columns}
    return pa.table([columns[column] for column in STEPS], schema=schema("steps"))


def _layers(rows: list[dict[str, object]], slopes: np.ndarray, random: np.random.Generator) -> pa.Table:
    shape = (len(rows), RECORDS, DEPTH + 1)
    layer = np.arange(1, DEPTH + 2)
    hidden = np.broadcast_to(layer <= DEPTH, shape).ravel()
    logs = slopes[:, None, None] * (DEPTH - layer) - 2 + random.normal(0, 0.1, shape)
    columns: dict[str, object] = {
        "trial_id": np.repeat([str(row["trial_id"]) for row in rows], RECORDS * (DEPTH + 1)),
        "step": np.broadcast_to(EVERY * np.arange(RECORDS)[:, None], shape).ravel(),
        "layer": np.broadcast_to(layer, shape).ravel(),
        "name": np.tile([f"layer{number}" for number in layer], len(rows) * RECORDS),
        "kind": np.repeat("layer", hidden.size),
        "units": np.where(hidden, np.repeat([int(str(row["width"])) for row in rows], RECORDS * (DEPTH + 1)), 10),
        "weight_count": np.full(hidden.size, 4096),
        "log10_weight_grad_norm": logs.ravel() + 1,
        "weight_grad_norm": 10 ** (logs.ravel() + 1),
        "log10_delta_rms": logs.ravel(),
        "delta_rms": 10 ** logs.ravel(),
        "float32_zero_fraction": np.zeros(hidden.size),
        "non_finite": np.zeros(hidden.size, np.int64),
    }
    only_hidden = {"activation_mean", "activation_rms", "dead_units", "zero_gradient_units", "saturated_fraction"}
    for column, kind in LAYERS.items():
        if column not in columns:
            real = random.lognormal(size=hidden.size)
            values = np.floor(real) if kind == pa.int64() else real
            mask = ~hidden if column in only_hidden else None
            columns[column] = pa.array(values, mask=mask).cast(kind)
    return pa.table([columns[column] for column in LAYERS], schema=schema("layers"))
