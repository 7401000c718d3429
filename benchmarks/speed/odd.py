"""Never slower than the plain loop: single trials, few trials, narrow, wide, shallow, deep, small and large batches."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from benchmarks.speed.beside import Both, measure_both, warm_up
from benchmarks.speed.cases import Case, digits
from benchmarks.speed.report import Report, Wanted, micro, spread
from benchmarks.speed.whole import Pair, WholeRuns

ROUNDS = 3
TRIALS, WIDTHS, DEPTHS, BATCHES = (1, 3, 20), (8, 64, 512), (1, 10, 50), (1, 16, 512)
QUICK = 4
FLOPS, QUICK_FLOPS = 5e10, 5e9
"""Of the matrix products of one trial, at most, unless ten steps take more; a hundred steps are trained at most."""

WHOLE = (Case(1, 256, steps=400), Case(2, 256, steps=400), Case(3, 256, steps=400), Case(2, 64, steps=1000))
"""Whole runs of few trials: two processes of the plain loop can share them, and so must two workers."""


def grid() -> list[Case]:
    """Every combination of trials, width and depth with a batch of 64, and of trials, width and other batches."""
    shapes = [Case(trials, width, depth) for trials in TRIALS for width in WIDTHS for depth in DEPTHS]
    batches = [Case(trials, width, batch_size=batch) for trials in TRIALS for width in WIDTHS for batch in BATCHES]
    return shapes + batches


def measure(wanted: Wanted) -> list[Report]:
    """The engine in this process on all cases, and whole runs of few trials."""
    return [_in_process(wanted), _whole(wanted)]


def _in_process(wanted: Wanted) -> Report:
    task, data = digits()
    cases = grid()[:: len(grid()) // QUICK] if wanted.quick else grid()
    found: dict[Case, list[Both]] = {}
    for case in cases:
        warm_up(case, task, data)
        found[_in_steps(case, QUICK_FLOPS if wanted.quick else FLOPS)] = []
    for number in range(wanted.count(ROUNDS)):
        wanted.told(f"odd cases, round {number + 1}")
        for case, rounds in found.items():
            rounds.append(measure_both(case, task, data))
    ordered = sorted(found.items(), key=lambda item: statistics.median(one.ratio() for one in item[1]))
    rows = [_row(case, rounds) for case, rounds in ordered]
    slower = sum(statistics.median(one.ratio() for one in rounds) < 1 for rounds in found.values())
    note = (
        "The engine against the plain loop in this process, sgd, every: 10, probe 512, by the processor's clock, the "
        f"lowest ratio first; {slower} of {len(rows)} cases are slower."
    )
    headers = ("trials", "width", "depth", "batch", "plain us", "gradlab us", "ratio", "lowest", "highest")
    measured = [{"case": asdict(case), "rounds": [asdict(one) for one in rounds]} for case, rounds in ordered]
    return Report("Odd cases", note, headers, rows, measured)


def _in_steps(case: Case, flops: float) -> Case:
    """With so many steps that the last is a record of every: 10."""
    a_step = 6 * case.batch_size * case.width * (case.depth * case.width + 64)
    return replace(case, steps=1 + 10 * max(1, min(10, int(flops / a_step / 10))))


def _row(case: Case, rounds: Sequence[Both]) -> list[str]:
    shape = [str(value) for value in (case.trials, case.width, case.depth, case.batch_size)]
    plain, engine = (statistics.median(getattr(one, side) for one in rounds) for side in ("plain", "engine"))
    return [*shape, micro(plain), micro(engine), *spread([one.ratio() for one in rounds])]


def _whole(wanted: Wanted) -> Report:
    cases = [replace(case, steps=case.steps // 10) for case in WHOLE[1:2]] if wanted.quick else WHOLE
    runs = WholeRuns({case: case.trials for case in cases})
    for number in range(wanted.count(ROUNDS)):
        wanted.told(f"whole runs of few trials, round {number + 1}")
        runs.start()
        for case in cases:
            runs.run(case)
    found = {case: runs.pairs(case) for case in cases}
    note = "`gradlab run --workers 2` and two processes of the plain loop, by the wall's clock, start-up apart."
    headers = ("trials", "width", "steps", "plain s", "gradlab s", "ratio", "lowest", "highest")
    measured = [{"case": asdict(case), "rounds": [asdict(one) for one in pairs]} for case, pairs in found.items()]
    return Report("Whole runs of few trials", note, headers, _whole_rows(found), measured)


def _whole_rows(found: Mapping[Case, Sequence[Pair]]) -> list[list[str]]:
    rows = []
    for case, pairs in found.items():
        walls = [
            statistics.median(side.wall() * case.trials * case.steps for side in sides)
            for sides in ([one.plain for one in pairs], [one.gradlab for one in pairs])
        ]
        cells = [f"{seconds:.2f}" for seconds in walls]
        shape = [str(case.trials), str(case.width), str(case.steps)]
        rows.append([*shape, *cells, *spread([one.ratio() for one in pairs])])
    return rows
