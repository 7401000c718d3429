"""One training with somebody watching, and what each of its parts took."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.watch.models import OPTIMIZERS, Case
from benchmarks.watch.sides import EVERY, Start
from benchmarks.yardstick import Seconds, now


@dataclass(frozen=True)
class Spent:
    """What a training took: before its first step, in each step, after the last."""

    opening: Seconds
    laps: tuple[Seconds, ...]
    closing: Seconds

    def steps(self) -> Seconds:
        """All steps together."""
        return sum(self.laps, Seconds(0, 0))

    def records(self) -> float:
        """Processor time of all records and what is written meanwhile, as a share of that of the steps without.

        A record takes place in the step that is recorded and at the end of the one before. Both are set against the
        median of the eight steps before them, so that it doesn't matter how fast the machine is at that moment. Step 0
        isn't counted, as anybody's first step takes longer.
        """
        times = [lap.processor for lap in self.laps]
        added = bare = 0.0
        for step in range(EVERY, len(times), EVERY):
            step_alone = statistics.median(times[step - EVERY + 1 : step - 1])
            added += times[step - 1] + times[step] - 2 * step_alone
            bare += EVERY * step_alone
        return added / bare if bare else math.nan


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
    losses, laps = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = now()
        watcher = start(model, optimizer, folder)
        opened = last = now()
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
            laps.append(done - last)
            last = done
        watcher.close()
        closed = now()
        files = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        look(folder)
    return Left(Spent(opened - begin, tuple(laps), closed - last), torch.stack(losses).tolist(), files)
