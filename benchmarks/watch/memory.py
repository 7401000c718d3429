"""Memory of a training in a process of its own (Linux).

`python -m benchmarks.watch.memory CASE OPTIMIZER SIDE STEPS`
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas  # noqa: F401  (the first file that gradlab writes brings it, so everybody has it here)
import pyarrow.parquet as pq
import torch

from benchmarks.watch.models import CASES, MLP
from benchmarks.watch.sides import SIDES, Watcher
from benchmarks.watch.training import train


@dataclass(frozen=True)
class Memory:
    """Of one training.

    Attributes:
        peak: MiB at most, of the whole process with all that is imported.
        growth: MiB that the peak rose by in the second half of the steps.
        records: rows of the steps table; 0 where no run directory was written.
        files, bytes: that were written.
    """

    peak: float
    growth: float
    records: int
    files: int
    bytes: int


def measured(case: str, optimizer: str, side: str, steps: int) -> Memory:
    """The memory of a training, run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.watch.memory", case, optimizer, side, str(steps)]
    return Memory(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main(arguments: Sequence[str]) -> None:
    """Train and print what it took."""
    case, optimizer, side, steps = arguments[0], arguments[1], arguments[2], int(arguments[3])
    torch.set_num_threads(1)
    halfway: list[float] = []
    records: list[int] = []

    def start(model: torch.nn.Module, its_optimizer: torch.optim.Optimizer, folder: Path) -> Watcher:
        watcher, count = SIDES[side](model, its_optimizer, folder), 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1
            if count == steps // 2:
                halfway.append(_peak())

        its_optimizer.register_step_post_hook(counted)
        return watcher

    def look(folder: Path) -> None:
        records.extend(pq.read_metadata(file).num_rows for file in folder.glob("run/steps/*.parquet"))
        ends.append(_peak())

    ends: list[float] = []
    left = train({**CASES, "mlp": MLP}[case], optimizer, start, steps, look)
    peak = ends[0]
    found = Memory(peak, peak - halfway[0], sum(records), len(left.files), sum(left.files.values()))
    print(json.dumps(asdict(found)))


def _peak() -> float:
    """MiB of memory at most so far, of this process alone: `ru_maxrss` remembers the one that started it, too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
