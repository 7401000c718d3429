"""Runs made by hand that hold whatever is hard to export."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from gradlab.store.rundir import RunDirectory
from tests.store.synthetic import FakeTrial, make_run

NAN, INF = math.nan, math.inf

AWKWARD = [
    FakeTrial(
        "00000000aaaa",
        depth=2,
        settings={"train.momentum": 0.9, "activation": 'nasty, "quoted"\nname/with:odd* chars', "lr": 0.1},
        results={
            "final_train_loss": 1 / 3,
            "final_eval_loss": INF,
            "final_eval_metric": -INF,
            "gradient_ratio": 1e-300,
        },
        layers={
            (0, 1): {"weight_grad_norm": 5e-324, "log10_weight_grad_norm": -400.25, "delta_rms": 0.0},
            (0, 2): {"log10_weight_grad_norm": None, "log10_delta_rms": None, "update_ratio": None, "dead_units": 3},
            (20, 1): {"weight_norm": 1e300, "update_ratio": NAN, "activation_rms": INF},
        },
    ),
    FakeTrial(
        "00000000bbbb",
        depth=2,
        seed=2**62 + 1,
        settings={"train.momentum": None, "activation": "", "lr": 1e-07},
        results={"status": "diverged", "diverged_step": 7, "final_train_loss": NAN, "final_eval_loss": None},
    ),
    FakeTrial(
        "11111111cccc",
        depth=3,
        settings={"train.momentum": 0.1 + 0.2, "activation": "tanh", "lr": 0.1},
        results={"status": "failed", "error": "two\nlines, and a comma", "final_train_loss": None},
    ),
]
"""Numbers at the ends of float64, nulls, NaN, infinities, and texts that need quotes."""


def awkward_run(folder: Path) -> RunDirectory:
    """`AWKWARD` in two parts."""
    return make_run(folder, [AWKWARD[:2], AWKWARD[2:]])


def rows_of(tables: dict[str, list[pa.Table]]) -> Callable[[str], Iterator[pa.Table]]:
    """What an exporter is given, from tables."""
    return lambda name: iter(tables[name])
