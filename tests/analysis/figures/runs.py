"""Run directories made by hand, with everything that figures show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gradlab.store.row_groups import PartFiles
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import CELL, EXAMPLE, schema
from tests.store.synthetic import FakeTrial, arrow, make_run

PER_CENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)


def sweep(depths: Iterable[int] = (2, 5), widths: Iterable[int] = (8, 16), seeds: int = 3) -> list[FakeTrial]:
    """Trials whose decay depends on the width, with a little noise over seeds; the wide ones have dead units."""
    noise = np.random.default_rng(0)
    return [
        FakeTrial(
            f"d{depth}w{width}s{seed}",
            seed,
            depth,
            width,
            decay=(0.5 if width == 8 else 1.1) * float(noise.uniform(0.95, 1.05)),
            results={
                "predicted_gradient_decay": 0.5 if width == 8 else 1.1,
                "final_eval_metric": round(float(noise.uniform(0.1, 1)), 3),
            },
            layers={(step, 1): {"dead_units": width // 4} for step in (0, 20)} if width > 8 else {},
        )
        for depth in depths
        for width in widths
        for seed in range(seeds)
    ]


def with_quantiles(trial: FakeTrial) -> FakeTrial:
    """The trial with quantiles of activations: symmetric ones, narrower from layer to layer."""
    layers: dict[tuple[int, int], Mapping[str, Any]] = dict(trial.layers)
    for step in (0, trial.last_step):
        for layer in range(1, trial.depth + 1):
            spread = 0.5**layer * (1 + trial.seed)
            own = {f"activation_q{part:02d}": spread * (part - 50) / 50 for part in PER_CENTS}
            layers[step, layer] = {**layers.get((step, layer), {}), **own}
    return FakeTrial(**{**vars(trial), "layers": layers})


def regions(trials: Sequence[FakeTrial], side: int = 4) -> pa.Table:
    """Before training everything is class 0, after it the upper half of the plane is class 1."""
    middles = (np.arange(side) + 0.5) / side * 2 - 1
    rows = []
    for trial in trials:
        own = {"trial_id": trial.trial_id}
        for step in (0, trial.last_step + 1):
            cells = [(x, y) for y in middles for x in middles]
            rows += [
                own | {"step": step, "kind": CELL, "x": x, "y": y, "class": int(step > 0 and y > 0)} for x, y in cells
            ]
        points = [(-0.9, -0.9, 0), (0.9, 0.9, 1), (0.2, 0.6, 1), (0.2, 0.3, 0)]
        rows += [own | {"step": 0, "kind": EXAMPLE, "x": x, "y": y, "class": of} for x, y, of in points]
    return pa.Table.from_pylist(rows, schema=schema("regions"))


def complete_run(folder: Path) -> RunDirectory:
    """A run with a bit of everything."""
    trials = [with_quantiles(trial) for trial in sweep()]
    run = make_run(folder, [])
    run.place_part("part", PartFiles.of(arrow(trials) | {"regions": regions(trials)}))
    return run
