"""One training with somebody watching, and what each of its parts took."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.watch.models import OPTIMIZERS, Case
from benchmarks.watch.sides import Start
from benchmarks.yardstick import Seconds, now


@dataclass(frozen=True)
class Spent:
    """What a training took: before its first step, in all its steps, after the last."""

    opening: Seconds
    steps: Seconds
    closing: Seconds


@dataclass(frozen=True)
class Left:
    """What a training left: its losses, and the files that were written beside it with their sizes in bytes."""

    spent: Spent
    losses: list[float]
    files: dict[str, int]


def train(
    case: Case, optimizer_name: str, start: Start, steps: int, look: Callable[[Path], None] = lambda folder: None
) -> Left:
    """Train a model from scratch, always from the same weights.

    Args:
        case: the model and its data.
        optimizer_name: one of `OPTIMIZERS`.
        start: who watches.
        steps: of the optimizer.
        look: what to do with the folder that was written before it goes away.
    """
    batches = case.batches()
    torch.manual_seed(0)
    model = case.build()
    optimizer = OPTIMIZERS[optimizer_name](model)
    losses = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = now()
        watcher = start(model, optimizer, folder)
        opened = now()
        for step in range(steps):
            x, y = batches[step % len(batches)]
            watcher.begin()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            watcher.before_update(loss)
            optimizer.step()
            watcher.after_update()
            losses.append(loss.detach())
        done = now()
        watcher.close()
        closed = now()
        files = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        look(folder)
    return Left(Spent(opened - begin, done - opened, closed - done), torch.stack(losses).tolist(), files)
