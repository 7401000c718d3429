"""A run directory made by hand: gradients that shrink by a known factor a layer, no training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import column_type, schema

DIGEST = "0123456789abcdef" * 4
TABLES = ("trials", "steps", "layers")


@dataclass(frozen=True)
class FakeTrial:
    """A trial whose delta_rms in layer l of D is `top * decay^(D - l)`, the weight gradient ten times that."""

    trial_id: str
    seed: int = 0
    depth: int = 5
    width: int = 8
    decay: float = 0.5
    top: float = 1e-2
    last_step: int = 20
    settings: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[tuple[int, int], Mapping[str, Any]] = field(default_factory=dict)
    """(step, layer) -> columns that differ from the above."""

    def trial_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "trial_id": self.trial_id,
            "run": "fake",
            "seed": self.seed,
            "data": "digits",
            "family": "mlp",
            "depth": self.depth,
            "width": self.width,
            "activation": "tanh",
            "init": "pytorch_default",
            "norm": "none",
            "residual": False,
            "optimizer": "sgd",
            "lr": 0.05,
            "batch_size": 32,
            "steps": self.last_step + 1,
            "parameters": 100,
            "status": "completed",
            "final_train_loss": 0.5,
            "final_eval_loss": 0.6,
            "final_eval_metric": 0.9,
            "dead_fraction": 0.0,
            "saturated_fraction": 0.0,
            "gradient_ratio": self.decay ** (self.depth - 1),
            "gradient_decay": self.decay,
            "predicted_gradient_decay": self.decay,
            "diagnosis": "healthy",
        }
        return row | dict(self.settings) | dict(self.results)

    def step_rows(self) -> list[dict[str, Any]]:
        return [
            {"trial_id": self.trial_id, "step": step, "train_loss": 1.0, "grad_norm": 0.1}
            for step in (0, self.last_step)
        ]

    def layer_rows(self) -> list[dict[str, Any]]:
        rows = []
        for step in (0, self.last_step):
            for layer in range(1, self.depth + 2):
                log10 = math.log10(self.top) + (self.depth - layer) * math.log10(self.decay)
                hidden = layer <= self.depth
                row = {
                    "trial_id": self.trial_id,
                    "step": step,
                    "layer": layer,
                    "name": f"layer{layer}",
                    "units": self.width if hidden else 3,
                    "weight_count": 64,
                    "weight_grad_norm": 10.0 ** (log10 + 1),
                    "log10_weight_grad_norm": log10 + 1,
                    "bias_grad_norm": 0.1,
                    "delta_rms": 10.0**log10,
                    "log10_delta_rms": log10,
                    "float32_zero_fraction": 0.0,
                    "preactivation_rms": 1.0,
                    "activation_mean": 0.0 if hidden else None,
                    "activation_rms": 0.5 if hidden else None,
                    "dead_units": 0 if hidden else None,
                    "zero_gradient_units": 0 if hidden else None,
                    "saturated_fraction": 0.0 if hidden else None,
                    "weight_norm": 1.0,
                    "update_ratio": 1e-3,
                    "non_finite": 0,
                }
                rows.append(row | dict(self.layers.get((step, layer), {})))
        return rows


def arrow(trials: Iterable[FakeTrial]) -> dict[str, pa.Table]:
    """The three tables of these trials."""
    trials = list(trials)
    extra: dict[str, list[Any]] = {}
    for trial in trials:
        for key in trial.settings:
            if key not in schema("trials").names:
                extra[key] = [other.settings.get(key) for other in trials]
    types = {key: column_type(values) for key, values in extra.items()}
    rows = {
        "trials": [trial.trial_row() for trial in trials],
        "steps": [row for trial in trials for row in trial.step_rows()],
        "layers": [row for trial in trials for row in trial.layer_rows()],
    }
    return {
        table: pa.Table.from_pylist(rows[table], schema=schema(table, types if table == "trials" else None))
        for table in TABLES
    }


def make_run(out: Path, parts: Iterable[Iterable[FakeTrial]], name: str = "fake", digest: str = DIGEST) -> RunDirectory:
    """A run directory with one part for each list of trials."""
    run = RunDirectory.create_or_continue(out, name, digest, "name: fake\n")
    for number, trials in enumerate(parts):
        run.write_part(f"part-{number}", **arrow(trials))
    return run
