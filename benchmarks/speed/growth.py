"""How time and memory grow with trials and with steps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from benchmarks.speed.cases import Case
from benchmarks.speed.processes import Used, gradlab_run
from benchmarks.speed.report import Report, Wanted

ROUNDS = 3
SMALL = Case(50, width=16, depth=5, steps=100)
TRIALS, QUICK_TRIALS = (50, 200, 800, 3200), (50, 200)
STEPS, QUICK_STEPS = (100, 400, 1600), (50, 200)
MEBI = 1 << 20
GOAL = 1.05


def measure(wanted: Wanted) -> list[Report]:
    """Whole runs, more and more trials, more and more steps."""
    trials, steps = (QUICK_TRIALS, QUICK_STEPS) if wanted.quick else (TRIALS, STEPS)
    by_trials = [replace(SMALL, trials=count) for count in trials]
    by_steps = [replace(SMALL, trials=200, steps=count) for count in steps]
    start = replace(SMALL, trials=2, steps=1)
    found: dict[Case, list[Used]] = {case: [] for case in (start, *by_trials, *by_steps)}
    for number in range(wanted.count(ROUNDS)):
        for case, runs in found.items():
            wanted.told(f"growth, round {number + 1}: {case.trials} trials of {case.steps} steps")
            runs.append(gradlab_run(case.config()))
    less = statistics.median(used.wall for used in found[start])
    rows = [*_rows("trials", trials, by_trials, found, less), *_rows("steps", steps, by_steps, found, less)]
    note = (
        f"`gradlab run --workers 2`, width {SMALL.width}, depth {SMALL.depth}, every: 10; {SMALL.steps} steps where "
        f"trials grow, {by_steps[0].trials} trials where steps do. Seconds by the wall's clock, start-up ({less:.2f} "
        "s) taken off. The exponent is the slope of log(seconds), fitted to the rows down to its own; memory is that "
        "of the largest process."
    )
    headers = ("growing", "", "seconds", "exponent", "goal", "peak MiB")
    measured = [{"case": asdict(case), "rounds": [asdict(used) for used in runs]} for case, runs in found.items()]
    return [Report("Growth", note, headers, rows, measured)]


def _rows(
    name: str, counts: Sequence[int], cases: Sequence[Case], found: Mapping[Case, Sequence[Used]], start: float
) -> list[list[str]]:
    seconds = [statistics.median(used.wall for used in found[case]) - start for case in cases]
    rows = []
    for row, (count, case) in enumerate(zip(counts, cases, strict=True)):
        memory = statistics.median(used.memory for used in found[case]) / MEBI
        fit = exponent(counts[: row + 1], seconds[: row + 1])
        rows.append([name, str(count), f"{seconds[row]:.2f}", fit, f"{GOAL}", f"{memory:.0f}"])
    return rows


def exponent(counts: Sequence[int], seconds: Sequence[float]) -> str:
    """The power of the count that seconds grow with, by least squares; nothing of one, or where noise hides it."""
    if len(counts) < 2 or min(seconds) <= 0:
        return ""
    return f"{np.polyfit(np.log(counts), np.log(seconds), 1)[0]:.2f}"
