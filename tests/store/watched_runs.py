"""Run directories of watched trainings made by hand: rows of every kind, in files of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gradlab.store.tables import LAYERS, STEPS, schema
from gradlab.store.watched import WatchedRun
from tests.store.synthetic import FakeTrial

PLAIN = (("embed", "layer", 1), ("norm", "norm", 1), ("body", "layer", 2), ("head", "layer", 3))


def recurrent(steps: int, series: Sequence[str] = ("lstm.l0", "lstm.l1")) -> tuple[tuple[str, str, int], ...]:
    """Rows of a model with one recurrent module: its time steps, series by series, among its layers."""
    times = tuple((name, "time", step) for name in series for step in range(1, steps + 1))
    return (("embed", "layer", 1), ("lstm", "layer", 2), *times, ("norm", "norm", 2), ("head", "layer", 3))


@dataclass(frozen=True)
class WatchedTrial:
    """A watched training.

    `rows` are the name, kind and number of what a record has rows of; `files` the recorded steps of each file. Every
    number is drawn from `draw`, delta_rms being `decay^(last - number)`, where the last is that of the row's series.
    """

    trial_id: str
    seed: int = 0
    rows: tuple[tuple[str, str, int], ...] = PLAIN
    files: tuple[tuple[int, ...], ...] = ((0, 10), (20, 30))
    decay: float = 0.5
    draw: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)

    def layers_of(self, steps: Iterable[int]) -> pa.Table:
        """The rows of the layers table of these records."""
        rows = []
        for step in steps:
            random = np.random.default_rng([self.draw, self.seed, step])
            for name, kind, number in self.rows:
                top = max(other for _, its, other in self.rows if its == kind)
                log10 = (top - number) * np.log10(self.decay) + step / 100
                row = {"trial_id": self.trial_id, "step": step, "layer": number, "name": name, "kind": kind}
                row |= {"units": 8, "weight_count": 0 if kind == "time" else 64, "non_finite": 0}
                row |= {column: random.lognormal() for column, of in LAYERS.items() if of == pa.float64()}
                row |= {column: random.random() for column in ("saturated_fraction", "float32_zero_fraction")}
                row |= {"dead_units": int(random.integers(8)), "zero_gradient_units": 0}
                row |= {"delta_rms": 10**log10, "log10_delta_rms": log10}
                row |= {"log10_weight_grad_norm": np.log10(row["weight_grad_norm"])}
                if kind == "time":
                    row = {key: None if "weight" in key and key != "weight_count" else it for key, it in row.items()}
                rows.append(row)
        return pa.Table.from_pylist(rows, schema=schema("layers"))

    def steps_of(self, steps: Iterable[int]) -> pa.Table:
        """The rows of the steps table of these records."""
        numbers = {column: 1.5 for column in STEPS if column not in ("trial_id", "step")}
        rows = [{"trial_id": self.trial_id, "step": step} | numbers for step in steps]
        return pa.Table.from_pylist(rows, schema=schema("steps"))

    def trials(self) -> pa.Table:
        """Its row of the trials table."""
        row = FakeTrial(self.trial_id, self.seed, settings=self.settings, results=self.results).trial_row()
        own = {"family": "custom", "activation": None, "init": None, "width": None, "depth": None, "norm": None}
        return pa.Table.from_pylist([row | own | dict(self.settings)], schema=schema("trials"))


def make_watched(path: Path, trials: Iterable[WatchedTrial], info: Mapping[str, Any] | None = None) -> WatchedRun:
    """The run directory of these trainings."""
    run = WatchedRun.open(path, "name: watched\n", info or {})
    for trial in trials:
        for number, steps in enumerate(trial.files):
            run.write_rows(trial.trial_id, number, trial.steps_of(steps), trial.layers_of(steps))
        run.replace_trials(trial.trial_id, trial.trials())
    return run
