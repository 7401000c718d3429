"""What a step costs that is not recorded, on a model whose steps take almost nothing."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.nn.functional as F

import gradlab
from benchmarks.watch.models import MLP, OPTIMIZERS

BLOCK = 200
"""Steps of one side before the other takes its turn."""


def unrecorded_step(rounds: int) -> tuple[float, float]:
    """Seconds of processor time of a bare step, and what a recorder adds to it between two records; medians."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_until_the_end:
        bare = _training(None, open_until_the_end)
        watched = _training(Path(folder) / "run", open_until_the_end)
        pairs = [(_seconds(bare), _seconds(watched)) for _ in range(rounds + 1)][1:]
    middle = statistics.median(without for without, _ in pairs)
    return middle / BLOCK, statistics.median(beside - without for without, beside in pairs) / BLOCK


def _training(out: Path | None, open_until_the_end: ExitStack) -> Callable[[], None]:
    """A function that makes one step; the recorder, if there is one, has recorded step 0 and waits for step 10^9."""
    torch.manual_seed(0)
    model = MLP.build()
    optimizer = OPTIMIZERS["sgd"](model)
    (x, y), *_ = MLP.batches()
    recorder = None
    if out is not None:
        recorder = open_until_the_end.enter_context(gradlab.watch(model, optimizer, every=10**9, out=out, seed=0))

    def step() -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        if recorder is not None:
            recorder.log(train_loss=loss)
        optimizer.step()

    step()
    return step


def _seconds(step: Callable[[], None]) -> float:
    start = time.process_time()
    for _ in range(BLOCK):
        step()
    return time.process_time() - start
