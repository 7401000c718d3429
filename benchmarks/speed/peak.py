"""Training by itself as a share of what the processor can do: its fastest float32 matrix product."""

from __future__ import annotations

import statistics
from dataclasses import asdict, replace

import torch

from benchmarks.speed.cases import Case, digits
from benchmarks.speed.in_process import first_stack, run_engine
from benchmarks.speed.report import Report, Wanted, micro
from benchmarks.yardstick import Seconds, sgemm_peak, training_flops

ROUNDS = 7
GOALS = {16: "", 32: "45 %", 64: "58 %", 128: "66 %", 256: "72 %"}
QUICK = (16, 64)
STEPS, QUICK_STEPS = 82, 22
TRIALS = 1024
"""Seeds of the sweep whose first stack is trained: enough that stacks are as large as they get."""

GIGA = 1e-9


def measure(wanted: Wanted) -> list[Report]:
    """Every width in every round, the peak beside it."""
    task, _ = digits()
    task = task.to(torch.device(wanted.device))
    steps = QUICK_STEPS if wanted.quick else STEPS
    stacks, flops = {}, {}
    for width in QUICK if wanted.quick else GOALS:
        case = Case(TRIALS, width, every=1000, steps=steps)
        stacks[width] = first_stack(case.expanded(), task)
        flops[width] = training_flops(task.in_features, width, case.depth, task.out_features, case.batch_size)
        run_engine(first_stack(replace(case, steps=3).expanded(), task), task)
    found: dict[int, list[tuple[Seconds, float]]] = {width: [] for width in stacks}
    for number in range(wanted.count(ROUNDS, 2)):
        for width, stack in stacks.items():
            wanted.told(f"share of the peak, round {number + 1}: width {width}")
            laps, _ = run_engine(stack, task)
            found[width].append((laps.between(0, steps - 2), sgemm_peak(wanted.device)))
    rows = []
    for width, pairs in found.items():
        seconds = statistics.median(spent.on(wanted.device) for spent, _ in pairs)
        shares = [flops[width] / spent.on(wanted.device) / peak for spent, peak in pairs]
        cells = [f"{share:.0%}" for share in (statistics.median(shares), min(shares), max(shares))]
        rate = f"{GIGA * flops[width] / seconds:.0f}"
        stack_size = str(len(stacks[width].trials))
        rows.append([str(width), stack_size, f"{flops[width] / 1e6:.1f}", micro(seconds), rate, *cells, GOALS[width]])
    peaks = [GIGA * peak for pairs in found.values() for _, peak in pairs]
    note = (
        "sgd, every: 1000, depth 10, batch 64; one stack on one thread, by the processor's clock, steps between the "
        f"first and the last. The peak is the best `torch.mm` of large squares: {statistics.median(peaks):.0f} GFLOP/s "
        f"({min(peaks):.0f} to {max(peaks):.0f}), measured after every case. Three products a layer are counted, two "
        "in the first."
    )
    headers = ("width", "stack", "Mflop a step", "us", "GFLOP/s", "share", "lowest", "highest", "goal")
    measured = [
        {"width": width, "flops": flops[width], "rounds": [{**asdict(spent), "peak": peak} for spent, peak in pairs]}
        for width, pairs in found.items()
    ]
    return [Report("Share of the peak while training", note, headers, rows, measured)]
