"""A small network, its data, and one recorded step of a loop with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradlab
from tests.watching.recorded import Key, assert_close, by_key, is_null

EXAMPLES, CLASSES = 8, 3

Rows = dict[Key, dict[str, Any]]


def network() -> nn.Sequential:
    torch.manual_seed(31)
    return nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, CLASSES))


def data(examples: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    return torch.randn(examples, 5, generator=torch.Generator().manual_seed(32)), torch.arange(examples) % CLASSES


def loss(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def recorded(loop: Callable[[nn.Module, torch.optim.Optimizer], None], out: Path, model: nn.Module | None = None,
             **watched: Any) -> Rows:  # fmt: skip
    """The rows of step 0 of a loop; identities and places apart."""
    model = network() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, every=1, out=out, seed=0, **watched):
        loop(model, optimizer)
    told = {"trial_id", "step", "layer", "name", "kind"}
    return {key: {name: value for name, value in row.items() if name not in told}
            for key, row in by_key(out, 0).items()}  # fmt: skip


def plainly(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    loss(model, data()).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def assert_alike(one: Rows, other: Rows, tolerance: float = 1e-5) -> None:
    assert one.keys() == other.keys()
    for key, row in one.items():
        wanted = {name: None if is_null(value) else value for name, value in row.items()}
        assert_close(other[key], wanted, str(key), tolerance)
