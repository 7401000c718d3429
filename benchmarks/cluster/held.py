"""What waits for the driver: parts as large as real ones, made up on the workers, and the memory that they take."""

from __future__ import annotations

import os
import resource
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from gradlab.cluster.connection import OBJECT_STORE
from gradlab.cluster.engine import execute
from gradlab.cluster.settings import ClusterSettings
from gradlab.config.load import load
from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.engine.stacks import Part, plan
from gradlab.preparing import prepare

BYTES_PER_TRIAL = 42_500
"""Of the files of a trial of 500 steps and ten layers, recorded every ten steps."""

SWEEP = """
name: held
data: {name: moons, n_samples: 20}
model: {depth: 1, width: 1}
train: {steps: 1, batch_size: 1}
record: {probe: 1}
seeds: %d
"""


@dataclass(frozen=True)
class Held:
    """What was sent, and what it took: bytes and seconds.

    Attributes:
        grown: the driver's memory at its largest, beyond what it was before the first part.
        most: what lay in the object store at its fullest, of `store`.
    """

    trials: int
    parts: int
    sent: int
    grown: int
    most: int
    store: int
    seconds: float


class _Nobody:
    """Listens to nothing."""

    sighted = None

    def begin(self, trials: Sequence[Trial], finished: Collection[str], parts: int) -> None: ...

    def progress(self, share: float) -> None: ...

    def stored(self, statuses: Mapping[str, str]) -> None: ...


def made_up(part: Part, _histories: list[TrialHistory]) -> bytes:
    """As many bytes as the part's files would have; no two alike, so that nothing can be shared."""
    return os.urandom(BYTES_PER_TRIAL * len(part.trials))


def held(trials: int) -> Held:
    """Send so many made-up trials from two workers to this process, which drops them."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "held.yaml")
        config.write_text(SWEEP % trials)
        loaded = load(config)
    shop = prepare(loaded.trials, loaded.directory, torch.device("cpu"))
    parts = plan(loaded.trials, shop.positions)
    sent, began = 0, time.monotonic()
    before = largest()
    with fullest() as most:
        results = execute(parts, shop, "cpu", ClusterSettings(), 2, _Nobody(), made_up, lambda: None, lambda note: None)
        for _, content in results:
            sent += len(content)
    return Held(
        len(loaded.trials), len(parts), sent, largest() - before, most[0], OBJECT_STORE, time.monotonic() - began
    )


def largest() -> int:
    """Bytes of this process at its largest so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def fullest() -> Iterator[list[int]]:
    """How full the object store was at most, as Ray counts it; it is asked several times a second."""
    most, ended = [0], threading.Event()

    def look() -> None:
        import ray

        while not ended.wait(0.2):
            if ray.is_initialized():
                total = ray.cluster_resources().get("object_store_memory", 0.0)
                most[0] = max(most[0], int(total - ray.available_resources().get("object_store_memory", total)))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()
