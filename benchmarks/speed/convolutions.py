"""Convolutional stacks against the plain loop with `nn.Conv2d`."""

from __future__ import annotations

import statistics
from dataclasses import asdict

from benchmarks.speed.beside import Both, measure_both, warm_up
from benchmarks.speed.cases import Case, digits
from benchmarks.speed.report import Report, Wanted, micro, spread

ROUNDS = 5
GOALS = {8: "3x", 16: "", 64: "1x"}
STEPS = {8: 51, 16: 41, 64: 21}
TRIALS = 64
DEPTH = 6


def measure(wanted: Wanted) -> list[Report]:
    """Every width in turn, both sides in turn."""
    task, data = digits()
    channels = (8,) if wanted.quick else tuple(GOALS)
    cases = {
        (width, optimizer): Case(TRIALS, width, DEPTH, family="cnn", optimizer=optimizer, steps=STEPS[width])
        for width in channels
        for optimizer in ("sgd", "adam")
    }
    for case in cases.values():
        warm_up(case, task, data)
    found: dict[tuple[int, str], list[Both]] = {key: [] for key in cases}
    for number in range(wanted.count(ROUNDS)):
        for key, case in cases.items():
            wanted.told(f"convolutions, round {number + 1}: {key[0]} channels, {key[1]}")
            found[key].append(measure_both(case, task, data))
    rows = [
        [
            str(width),
            optimizer,
            micro(statistics.median(one.plain for one in pairs)),
            micro(statistics.median(one.engine for one in pairs)),
            *spread([one.ratio() for one in pairs]),
            GOALS[width],
        ]
        for (width, optimizer), pairs in found.items()
    ]
    note = (
        f"cnn on 8 x 8 images, {DEPTH} convolutions, batch 64, every: 10, all columns, probe 512. Per trial and step, "
        "one thread, by the processor's clock."
    )
    headers = ("channels", "optimizer", "plain us", "gradlab us", "ratio", "lowest", "highest", "goal")
    measured = [{"case": asdict(cases[key]), "rounds": [asdict(one) for one in pairs]} for key, pairs in found.items()]
    return [Report("Convolutional stacks", note, headers, rows, measured)]
