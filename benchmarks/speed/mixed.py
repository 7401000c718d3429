"""A mixed sweep as whole runs: many depths, widths and activations, every trial on both sides."""

from __future__ import annotations

import statistics
from dataclasses import asdict

from benchmarks.speed.cases import Case
from benchmarks.speed.report import Report, Wanted, spread
from benchmarks.speed.whole import WholeRuns

ROUNDS = 3
ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "gelu")
DEPTHS, WIDTHS, SEEDS, STEPS = (2, 5, 10, 20), (16, 32, 64), 5, 200
QUICK_DEPTHS, QUICK_WIDTHS, QUICK_SEEDS, QUICK_STEPS = (2, 10), (16, 64), 2, 50
GOALS = ("7x", "8x")


def measure(wanted: Wanted) -> list[Report]:
    """End to end and start-up apart."""
    depths, widths = (QUICK_DEPTHS, QUICK_WIDTHS) if wanted.quick else (DEPTHS, WIDTHS)
    seeds, steps = (QUICK_SEEDS, QUICK_STEPS) if wanted.quick else (SEEDS, STEPS)
    grid = (("model.depth", depths), ("model.width", widths), ("model.activation", ACTIVATIONS))
    case = Case(seeds, steps=steps, grid=grid)
    count = len(case.plain())
    runs = WholeRuns({case: count})
    for number in range(wanted.count(ROUNDS)):
        wanted.told(f"mixed sweep, round {number + 1}")
        runs.start()
        runs.run(case)
    pairs = runs.pairs(case)
    walls, starts = (
        [
            f"{statistics.median(getattr(side, run).wall for side in sides):.1f}"
            for sides in ([one.plain for one in pairs], [one.gradlab for one in pairs])
        ]
        for run in ("run", "start")
    )
    rows = [
        ["end to end", *walls, *spread([one.end_to_end() for one in pairs]), GOALS[0]],
        ["start-up", *starts, "", "", "", ""],
        ["without it", "", "", *spread([one.ratio() for one in pairs]), GOALS[1]],
        ["without it, processor time", "", "", *spread([one.processor_ratio() for one in pairs]), ""],
    ]
    note = (
        f"{count} trials of {steps} steps: depths {', '.join(map(str, depths))}; widths {', '.join(map(str, widths))}; "
        f"{', '.join(ACTIVATIONS)}; {seeds} seeds; sgd, batch 64, every: 10, probe 512; two workers, two processes."
    )
    headers = ("", "plain s", "gradlab s", "ratio", "lowest", "highest", "goal")
    return [Report("A mixed sweep", note, headers, rows, [asdict(one) for one in pairs])]
