"""`gradlab run --workers 2` against the plain loop in two processes, start-up apart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from benchmarks.speed.cases import Case
from benchmarks.speed.processes import Used, gradlab_run, plain_loops
from benchmarks.speed.report import Report, Wanted, micro, spread, times

ROUNDS = 3
GOALS = {16: 20, 32: 11, 64: 5.5, 128: 2.5, 256: 1.8}
TRIALS = {16: 512, 32: 256, 64: 96, 128: 32, 256: 16}
LOOPED = {16: 8, 32: 8, 64: 6, 128: 4, 256: 2}
"""Width -> trials of the plain loop, an even number; a trial's time doesn't depend on how many there are."""

STEPS = {10: 200, 1: 60}
"""Steps between records -> steps of a trial."""

OPTIMIZERS = ("sgd", "adam")
QUICK = {16: 64, 64: 16}


@dataclass(frozen=True)
class Side:
    """One side of one round: a whole run of so many trials and steps, and a run of next to no training."""

    run: Used
    start: Used
    trials: int
    steps: int

    def wall(self) -> float:
        """Seconds per trial and step, start-up apart."""
        return (self.run.wall - self.start.wall) / (self.trials * self.steps)

    def processor(self) -> float:
        """The same by the processor's clock."""
        return (self.run.processor - self.start.processor) / (self.trials * self.steps)


@dataclass(frozen=True)
class Pair:
    """Both sides of one round."""

    plain: Side
    gradlab: Side

    def ratio(self) -> float:
        """How many times faster gradlab is, start-up apart."""
        return self.plain.wall() / self.gradlab.wall()

    def processor_ratio(self) -> float:
        """The same by the processor's clock."""
        return self.plain.processor() / self.gradlab.processor()

    def end_to_end(self) -> float:
        """The ratio with start-up, where both sides train the same trials."""
        return self.plain.run.wall / self.gradlab.run.wall


def start_ups(case: Case, device: str) -> tuple[Used, Used]:
    """What both sides take for one step of two trials: plain loop, gradlab."""
    least = replace(case, trials=2, steps=1, grid=())
    return plain_loops(least.plain(), device=device), gradlab_run(least.config(), device=device)


def pair(case: Case, looped: int, starts: tuple[Used, Used], device: str = "cpu") -> Pair:
    """One whole run on either side; the plain loop trains the first `looped` trials."""
    trials = case.plain()
    plain = plain_loops(trials[:looped], device=device)
    gradlab = gradlab_run(case.config(), device=device)
    return Pair(
        Side(plain, starts[0], min(looped, len(trials)), case.steps), Side(gradlab, starts[1], len(trials), case.steps)
    )


def measure(wanted: Wanted) -> list[Report]:
    """Every width, optimizer and recording in every round."""
    trials = QUICK if wanted.quick else TRIALS
    cases = {
        (width, optimizer, every): Case(count, width, optimizer=optimizer, every=every, steps=steps)
        for width, count in trials.items()
        for optimizer in (OPTIMIZERS[:1] if wanted.quick else OPTIMIZERS)
        for every, steps in STEPS.items()
    }
    found: dict[tuple[int, str, int], list[Pair]] = {key: [] for key in cases}
    start_ups(next(iter(cases.values())), wanted.device)
    for number in range(wanted.count(ROUNDS)):
        starts = start_ups(next(iter(cases.values())), wanted.device)
        for (width, optimizer, every), case in cases.items():
            wanted.told(f"whole runs, round {number + 1}: width {width}, {optimizer}, every: {every}")
            found[width, optimizer, every].append(pair(case, LOOPED[width], starts, wanted.device))
    return [_report(found, trials)]


def _report(found: Mapping[tuple[int, str, int], list[Pair]], trials: Mapping[int, int]) -> Report:
    rows = []
    for (width, optimizer, every), pairs in found.items():
        rows.append(
            [
                str(width),
                optimizer,
                str(every),
                str(trials[width]),
                *(micro(statistics.median(side.wall() for side in sides)) for sides in _sides(pairs)),
                *spread([one.ratio() for one in pairs]),
                times(statistics.median(one.processor_ratio() for one in pairs)),
                f"{GOALS[width]}x",
            ]
        )
    plain, gradlab = _sides([one for pairs in found.values() for one in pairs])
    starts = [f"{statistics.median(side.start.wall for side in sides):.2f} s" for sides in (plain, gradlab)]
    return Report(
        "Whole runs",
        "`gradlab run --workers 2` against two processes of the plain loop, depth 10, batch 64, relu, probe 512, all "
        f"columns. Time per trial and step on both cores together, by the wall's clock, start-up ({starts[0]} plain, "
        f"{starts[1]} gradlab) taken off on both sides; steps: {STEPS[10]}, with every: 1 {STEPS[1]}.",
        (
            "width",
            "optimizer",
            "every",
            "trials",
            "plain us",
            "gradlab us",
            "ratio",
            "lowest",
            "highest",
            "processor time",
            "goal",
        ),
        rows,
        [
            {"width": width, "optimizer": optimizer, "every": every, "rounds": [asdict(one) for one in pairs]}
            for (width, optimizer, every), pairs in found.items()
        ],
    )


def _sides(pairs: list[Pair]) -> tuple[list[Side], list[Side]]:
    return [one.plain for one in pairs], [one.gradlab for one in pairs]
