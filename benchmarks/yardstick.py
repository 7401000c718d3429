"""What speeds are held against: clocks, the processor's peak, and the arithmetic that training cannot do without."""

from __future__ import annotations

import platform
import subprocess
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

SGEMM_SIZES = {"cpu": (1024, 1536, 2048), "cuda": (4096, 8192)}
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

    def on(self, device: str) -> float:
        """The clock that counts: other programs disturb the processor's least, which doesn't see other devices."""
        return self.processor if device == "cpu" else self.wall


def now(device: str = "cpu") -> Seconds:
    """Both clocks, once the device has done what it was told."""
    if device != "cpu":
        torch.cuda.synchronize()
    return Seconds(time.process_time(), time.perf_counter())


def sgemm_peak(device: str = "cpu") -> float:
    """The fastest float32 product of square matrices seen now, in flop per second.

    Of processor time on this thread, or of the wall's time on another device.
    """
    fastest = 0.0
    for size in SGEMM_SIZES[device]:
        a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
        out = torch.empty(size, size, device=device)
        for _ in range(SGEMM_TRIES):
            start = now(device)
            torch.mm(a, b, out=out)
            fastest = max(fastest, 2 * size**3 / (now(device) - start).on(device))
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
