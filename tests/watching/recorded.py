"""What a recorder wrote, read by pandas alone, and held against what should be there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import gradlab
from tests.watching.twin import LossOf, Part, norm, rows

TOLERANCE = 1e-4

Key = tuple[str, str, int]


def layers(out: Path, step: int | None = None) -> pd.DataFrame:
    found = pd.read_parquet(out / "layers")
    return found if step is None else found[found["step"] == step]


def steps(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "steps").sort_values("step", ignore_index=True)


def trial(out: Path) -> pd.Series[Any]:
    (row,) = (row for _, row in pd.read_parquet(out / "trials").iterrows())
    return row


def by_key(out: Path, step: int) -> dict[Key, dict[str, Any]]:
    """(kind, name, number) -> the row of a step, as they stand in the file."""
    table = layers(out, step)
    found = {(row["kind"], row["name"], row["layer"]): row for row in table.to_dict("records")}
    assert len(found) == len(table), "two rows of the same layer"
    return found


def column(out: Path, name: str, step: int = 0, kind: str = "layer") -> dict[str, float]:
    """The name of a layer -> a statistic."""
    table = layers(out, step)
    table = table[table["kind"] == kind]
    return dict(zip(table["name"], table[name].tolist(), strict=True))


def is_null(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def assert_close(found: Mapping[str, Any], expected: Mapping[str, float | None], where: str, tolerance: float) -> None:
    for name, value in expected.items():
        told = f"{where}: {name} is {found[name]}, should be {value}"
        if value is None:
            assert is_null(found[name]), told
        elif isinstance(value, int):
            assert found[name] == value, told
        else:
            # A mean of numbers of both signs has the digits that their size leaves it.
            least = tolerance * (expected.get("activation_rms") or 0.0) if name == "activation_mean" else 0.0
            assert math.isclose(found[name], value, rel_tol=tolerance, abs_tol=least), told
    for name in ("weight_grad_norm", "delta_rms"):
        value = expected.get(name)
        if value:
            assert math.isclose(found[f"log10_{name}"], math.log10(value), abs_tol=tolerance), where
        elif name in expected:
            assert is_null(found[f"log10_{name}"]), where


def weights(model: nn.Module) -> dict[str, Any]:
    return {name: p.detach().double().numpy().copy() for name, p in model.named_parameters()}


def update_ratio(before: Mapping[str, Any], after: Mapping[str, Any], names: Sequence[str]) -> float | None:
    size = norm([before[name] for name in names])
    change = norm([after[name] - before[name] for name in names])
    return change / size if size else None


def follow(
    model: nn.Module,
    batch: Any,
    loss: LossOf,
    parts: Sequence[Part],
    out: Path,
    *,
    examples: int,
    singles: Sequence[Any] = (),
    times: Callable[[nn.Module], Mapping[Key, Mapping[str, float | None]]] | None = None,
    updates: int = 3,
    tolerance: float = TOLERANCE,
    optimizer: torch.optim.Optimizer | None = None,
) -> gradlab.watching.Recorder:
    """Train a few steps on one batch, every step recorded, and compare all rows of all steps with the twin's.

    Args:
        times: the rows of time steps by the model as it is before an update.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1) if optimizer is None else optimizer
    expected: list[dict[Key, dict[str, float | None]]] = []
    totals = []
    with gradlab.watch(model, optimizer, every=1, out=out, seed=0) as recorder:
        for _ in range(updates):
            here: dict[Key, dict[str, float | None]] = dict(rows(model, batch, loss, parts, singles, examples))
            along_time = times(model) if times is not None else {}
            before = weights(model)
            optimizer.zero_grad()
            value: Tensor = loss(model, batch)
            value.backward()
            totals.append(norm([p.grad.to_dense().double().numpy() for p in model.parameters() if p.grad is not None]))
            optimizer.step()
            after = weights(model)
            for part in parts:
                here[part.kind, part.name, part.number]["update_ratio"] = update_ratio(before, after, part.weights)
            expected.append(here | {key: dict(row) for key, row in along_time.items()})
    assert recorder.step == updates
    for step, wanted in enumerate(expected):
        found = by_key(out, step)
        assert set(found) == set(wanted)
        for key, row in wanted.items():
            assert_close(found[key], row, f"step {step}, {key}", tolerance)
    np.testing.assert_allclose(steps(out)["grad_norm"], totals, rtol=TOLERANCE)
    return recorder
