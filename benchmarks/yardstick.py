"""What speeds are held against: clocks, the processor's peak, and the arithmetic that training cannot do without."""

from __future__ import annotations

import platform
import subprocess
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch

SGEMM_SIZES = (1024, 1536, 2048)
SGEMM_TRIES = 3


@dataclass(frozen=True)
class Seconds:
    """A span of time, by the processor's clock (this process, all its threads) and by the wall's."""

    processor: float
    wall: float

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.processor + other.processor, self.wall + other.wall)

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.processor - other.processor, self.wall - other.wall)

    def __truediv__(self, count: float) -> Seconds:
        return Seconds(self.processor / count, self.wall / count)


def now() -> Seconds:
    """Both clocks."""
    return Seconds(time.process_time(), time.perf_counter())


@dataclass
class Laps:
    """When each step of a training was done, and when all was."""

    steps: list[Seconds] = field(default_factory=list)
    end: Seconds = Seconds(0, 0)

    def step(self) -> None:
        """A step is done."""
        self.steps.append(now())

    def finish(self) -> None:
        """All is done, final measurements and results included."""
        self.end = now()

    def recording(self) -> Seconds:
        """A step's share of all that follows step 0: the other steps, their records, the final measurements."""
        return (self.end - self.steps[0]) / (len(self.steps) - 1)

    def training(self) -> Seconds:
        """A step between the first and the last; nothing is recorded there if records are rarer than that."""
        return (self.steps[-2] - self.steps[0]) / (len(self.steps) - 2)


def sgemm_peak() -> float:
    """The fastest float32 product of square matrices seen now on this thread, in flop per second of processor time."""
    fastest = 0.0
    for size in SGEMM_SIZES:
        a, b = torch.randn(size, size), torch.randn(size, size)
        out = torch.empty(size, size)
        for _ in range(SGEMM_TRIES):
            start = now()
            torch.mm(a, b, out=out)
            fastest = max(fastest, 2 * size**3 / (now() - start).processor)
    return fastest


def training_flops(features: int, width: int, depth: int, classes: int, batch_size: int) -> int:
    """Floating-point operations of the matrix products of one training step of one fully connected network.

    Three products a layer (forward, gradient of the weights, gradient of the input), two in the first, whose input
    needs no gradient; 2 operations per multiplication. Activations, loss and optimizer don't count.
    """
    sizes = [features, *[width] * depth, classes]
    products = [fan_in * fan_out for fan_in, fan_out in pairwise(sizes)]
    return 2 * batch_size * (3 * sum(products) - products[0])


def processor_name() -> str:
    """The processor's name as its maker has it, where the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()
