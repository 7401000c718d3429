"""`gradlab run` as a user starts it, against the plain loop as a script: processes of their own, start-up included."""

from __future__ import annotations

import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import plain_loop
from yardstick import Seconds

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "gelu")
TRAIN = {"batch_size": 64, "optimizer": "sgd", "lr": 0.05}
RECORD = {"every": 10, "probe": 512}
GRADLAB = ("-c", "from gradlab.cli import main; main()", "run", "--workers", "1", "--out")


@dataclass(frozen=True)
class Sweep:
    """A mixed sweep over depths, widths, `ACTIVATIONS` and seeds."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    seeds: int
    steps: int

    @property
    def trials(self) -> int:
        """How many networks it trains."""
        return len(self.depths) * len(self.widths) * len(ACTIVATIONS) * self.seeds


SWEEP = Sweep(depths=(2, 8, 20), widths=(16, 64), seeds=3, steps=200)
QUICK_SWEEP = Sweep(depths=(2, 10), widths=(16, 64), seeds=2, steps=50)
START_UP = Sweep(depths=(2,), widths=(16,), seeds=1, steps=1)
"""Next to no training: what both sides need before and after it."""


@dataclass(frozen=True)
class RunRound:
    """One round: seconds of the whole sweep, and of next to no training, on either side."""

    plain: Seconds
    gradlab: Seconds
    plain_start: Seconds
    gradlab_start: Seconds


@dataclass(frozen=True)
class WholeRuns:
    """What was measured of whole runs of one sweep."""

    sweep: Sweep
    rounds: tuple[RunRound, ...]

    def median(self, name: str, clock: str = "processor") -> float:
        """Seconds of one side."""
        return statistics.median(getattr(getattr(one, name), clock) for one in self.rounds)

    def ratio(self, clock: str = "processor", *, start_up: bool = True) -> float:
        """How many times quicker `gradlab run` is, the median over the rounds."""

        def seconds(one: RunRound, side: str) -> float:
            whole: float = getattr(getattr(one, side), clock)
            start: float = getattr(getattr(one, f"{side}_start"), clock)
            return whole if start_up else whole - start

        ratios = [seconds(one, "plain") / seconds(one, "gradlab") for one in self.rounds]
        return statistics.median(ratios)


def compare_whole_runs(sweep: Sweep, rounds: int) -> WholeRuns:
    """Measure whole runs of a sweep, both sides in turn, after each has been started once."""
    _plain(START_UP), _gradlab(START_UP)
    return WholeRuns(
        sweep,
        tuple(RunRound(_plain(sweep), _gradlab(sweep), _plain(START_UP), _gradlab(START_UP)) for _ in range(rounds)),
    )


def _plain(sweep: Sweep) -> Seconds:
    points = itertools.product(sweep.depths, sweep.widths, ACTIVATIONS, range(sweep.seeds))
    trials = [
        plain_loop.Trial(depth=depth, width=width, activation=name, seed=seed, steps=sweep.steps, **TRAIN, **RECORD)
        for depth, width, name, seed in points
    ]
    return _timed(json.dumps([asdict(trial) for trial in trials]), lambda file, out: [plain_loop.__file__, file, out])


def _gradlab(sweep: Sweep) -> Seconds:
    config: dict[str, Any] = {
        "data": {"name": "digits"},
        "model": {"init": "he_normal"},
        "train": {"steps": sweep.steps, **TRAIN},
        "record": RECORD,
        "seeds": sweep.seeds,
        "sweep": {"grid": {"model.depth": sweep.depths, "model.width": sweep.widths, "model.activation": ACTIVATIONS}},
    }
    return _timed(json.dumps(config), lambda file, out: [*GRADLAB, out, file])


def _timed(job: str, arguments: Callable[[str, str], list[str]]) -> Seconds:
    """Seconds of a Python process that does the `job` in a file, one thread each, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "job.yaml")
        file.write_text(job)
        command = [sys.executable, *arguments(str(file), str(Path(folder, "out.npz")))]
        start = _clocks()
        subprocess.run(
            command,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=True,
        )
        return _clocks() - start


def _clocks() -> Seconds:
    """Processor time of all child processes that have ended, and the wall's clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(used.ru_utime + used.ru_stime, time.perf_counter())
