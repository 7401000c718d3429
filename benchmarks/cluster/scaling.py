"""The same sweep with one worker and with two, on Ray and on the local engine, in turns."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS_PER_ROUND = 240
TRIALS_PER_SECOND = 1.15
"""Of the sweep below, with one worker: about."""

SWEEP = """
name: scaling
data: {name: digits}
model: {depth: 10, width: 64}
seeds: %d
sweep: {grid: {model.activation: [tanh, relu], train.lr: [0.01, 0.05, 0.1, 0.2]}}
"""


@dataclass(frozen=True)
class Round:
    """Seconds of whole commands, by engine and workers."""

    seconds: dict[tuple[str, int], float]


def scaling(seconds: int, told: Callable[[str], object]) -> Round:
    """One round of a sweep that takes one worker about so long; `told` hears of every command."""
    seeds = max(2, round(seconds * TRIALS_PER_SECOND / 8))
    found = {}
    for engine, workers in (("ray", 1), ("local", 1), ("ray", 2), ("local", 2)):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "scaling.yaml")
            config.write_text(SWEEP % seeds)
            command = [sys.executable, "-m", "gradlab", "run", str(config), "--out", folder, "--quiet"]
            began = time.monotonic()
            subprocess.run(
                [*command, "--engine", engine, "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL
            )
            found[engine, workers] = time.monotonic() - began
            told(f"{engine}, workers {workers}: {found[engine, workers]:.1f} s")
    return Round(found)
