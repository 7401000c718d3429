"""A sweep on Ray: how it scales from one worker to two, and what 100,000 trials leave in the driver's memory.

`OMP_NUM_THREADS=1 python -m benchmarks.cluster [--rounds N] [--trials N] [--json FILE]`

What is measured, and how, stands in the README one folder up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.cluster.held import held
from benchmarks.cluster.scaling import SECONDS_PER_ROUND, scaling
from benchmarks.yardstick import processor_name
from gradlab import __version__

ROUNDS = 3
TRIALS = 100_000
MIB = 2**20


def main() -> None:
    """Take turns, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--trials", type=int, default=TRIALS, help="of the sweep of made-up parts")
    parser.add_argument("--seconds", type=int, default=SECONDS_PER_ROUND, help="about, of one worker in one round")
    parser.add_argument("--json", type=Path, help="write every number to this file")
    options = parser.parse_args()
    page, aside = Console(), Console(stderr=True)
    page.print(f"gradlab {__version__}, {processor_name()}, {os.cpu_count()} cores", highlight=False)
    rounds = [
        scaling(options.seconds, lambda what: aside.print(what, style="dim", highlight=False))
        for _ in range(options.rounds)
    ]
    for name in ("ray", "local"):
        one, two = (statistics.median(r.seconds[name, workers] for r in rounds) for workers in (1, 2))
        page.print(
            f"{name}: {one:.1f} s with one worker, {two:.1f} s with two: {one / two:.2f} times as fast", highlight=False
        )
    found = held(options.trials)
    told = [
        f"{found.trials:,} trials in {found.parts} parts, {found.sent / MIB:,.0f} MiB sent in {found.seconds:.0f} s",
        f"the driver grew by {found.grown / MIB:.0f} MiB",
        f"the object store ({found.store / MIB:.0f} MiB) held {found.most / MIB:.0f} MiB at most",
    ]
    page.print("; ".join(told), highlight=False)
    if options.json:
        content = {
            "rounds": [{f"{n} {w}": s for (n, w), s in r.seconds.items()} for r in rounds],
            "held": asdict(found),
        }
        options.json.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
