"""Whole programs as a user starts them, in processes of their own: what they take until they have ended."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.plain.networks import Trial

ROOT = Path(__file__).parents[2]
GRADLAB = (sys.executable, "-c", "from gradlab.cli import main; main()")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of one unit of `ru_maxrss`."""


@dataclass(frozen=True)
class Used:
    """What programs that ran side by side took.

    Attributes:
        processor, wall: seconds; processor time of all of them and their children.
        memory: bytes of the largest process.
    """

    processor: float
    wall: float
    memory: int


def typical(runs: Sequence[Used]) -> Used:
    """The medians of several runs."""
    processor, wall, memory = (
        statistics.median(getattr(used, name) for used in runs) for name in ("processor", "wall", "memory")
    )
    return Used(processor, wall, int(memory))


def environment() -> dict[str, str]:
    """Where byte code is kept, as it is for users, and every process has one thread."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"OMP_NUM_THREADS": "1"}


def run_together(commands: Sequence[Sequence[str]]) -> Used:
    """Run programs side by side from the project's root, until all have ended.

    Raises:
        RuntimeError: one has failed.
    """
    processor, memory = 0.0, 0
    with tempfile.TemporaryFile() as told:
        start = time.perf_counter()
        running = [
            subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=told)
            for command in commands
        ]
        for process in running:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            processor += used.ru_utime + used.ru_stime
            memory = max(memory, used.ru_maxrss * RSS_UNIT)
        wall = time.perf_counter() - start
        if any(process.returncode for process in running):
            told.seek(0)
            raise RuntimeError(told.read().decode(errors="replace"))
    return Used(processor, wall, memory)


def gradlab_run(config: Mapping[str, Any], workers: int = 2, device: str = "cpu") -> Used:
    """`gradlab run` with this config."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text(json.dumps(config))
        options = ("--workers", str(workers), "--device", device, "--out", folder)
        return run_together([[*GRADLAB, "run", *options, str(file)]])


def plain_loops(trials: Sequence[Trial], processes: int = 2, device: str = "cpu") -> Used:
    """The plain loop, every process with its share of the trials; a device other than the processor has one process."""
    count = processes if device == "cpu" else 1
    with tempfile.TemporaryDirectory() as folder:
        commands = []
        for number in range(min(count, len(trials))):
            file = Path(folder, f"{number}.json")
            file.write_text(json.dumps([asdict(trial) for trial in trials[number::count]]))
            out = str(file.with_suffix(".npz"))
            commands.append([sys.executable, "-m", "benchmarks.speed.plain", str(file), out, device])
        return run_together(commands)
