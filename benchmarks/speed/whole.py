"""`gradlab run --workers 2` against the plain loop in two processes, start-up apart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.speed.cases import Case
from benchmarks.speed.processes import Used, gradlab_run, plain_loops, typical
from benchmarks.speed.report import Report, Wanted, micro, spread, times

ROUNDS = 3
GOALS = {16: 20, 32: 11, 64: 5.5, 128: 2.5, 256: 1.8}
TRIALS = {16: 512, 32: 256, 64: 96, 128: 32, 256: 16}
LOOPED = {16: 32, 32: 32, 64: 24, 128: 16, 256: 6}
"""Width -> trials of the plain loop, an even number; a trial's time doesn't depend on how many there are. So many that
they take as long as start-up, ten seconds with torch.optim's compiler, whose noise would count for training else."""

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


class WholeRuns:
    """Whole runs of some cases on both sides in turn, and of next to no training.

    Args:
        looped: how many of a case's trials the plain loop trains, the first ones.
    """

    def __init__(self, looped: Mapping[Case, int], device: str = "cpu") -> None:
        self.looped, self.device = looped, device
        first = next(iter(looped))
        self.least = replace(first, trials=2, steps=1, grid=())
        self.runs: dict[Case, list[tuple[Used, Used]]] = {case: [] for case in looped}
        self.starts: list[tuple[Used, Used]] = []
        self._both(self.least, 2)

    def start(self) -> None:
        """Run both sides for one step of two trials."""
        self.starts.append(self._both(self.least, 2))

    def run(self, case: Case) -> None:
        """Run both sides."""
        self.runs[case].append(self._both(case, self.looped[case]))

    def _both(self, case: Case, looped: int) -> tuple[Used, Used]:
        plain = plain_loops(case.plain()[:looped], device=self.device)
        return plain, gradlab_run(case.config(), device=self.device)

    def pairs(self, case: Case) -> list[Pair]:
        """What was measured of a case; start-up is the median of all rounds."""
        plain_start, gradlab_start = (typical(side) for side in zip(*self.starts, strict=True))
        trials = len(case.plain())
        return [
            Pair(
                Side(plain, plain_start, self.looped[case], case.steps),
                Side(gradlab, gradlab_start, trials, case.steps),
            )
            for plain, gradlab in self.runs[case]
        ]


def measure(wanted: Wanted) -> list[Report]:
    """Every width, optimizer and recording in every round."""
    trials = QUICK if wanted.quick else TRIALS
    cases = [
        Case(count, width, optimizer=optimizer, every=every, steps=steps)
        for width, count in trials.items()
        for optimizer in (OPTIMIZERS[:1] if wanted.quick else OPTIMIZERS)
        for every, steps in STEPS.items()
    ]
    runs = WholeRuns({case: min(case.trials, LOOPED[case.width]) for case in cases}, wanted.device)
    for number in range(wanted.count(ROUNDS)):
        runs.start()
        for case in cases:
            wanted.told(f"whole runs, round {number + 1}: width {case.width}, {case.optimizer}, every: {case.every}")
            runs.run(case)
    return [_report({case: runs.pairs(case) for case in cases})]


def _report(found: Mapping[Case, Sequence[Pair]]) -> Report:
    rows = [
        [
            str(case.width),
            case.optimizer,
            str(case.every),
            str(case.trials),
            micro(statistics.median(one.plain.wall() for one in pairs)),
            micro(statistics.median(one.gradlab.wall() for one in pairs)),
            *spread([one.ratio() for one in pairs]),
            times(statistics.median(one.processor_ratio() for one in pairs)),
            f"{GOALS[case.width]}x",
        ]
        for case, pairs in found.items()
    ]
    some = next(iter(found.values()))[0]
    plain, gradlab = (f"{side.start.wall:.2f} s" for side in (some.plain, some.gradlab))
    note = (
        "`gradlab run --workers 2` against two processes of the plain loop, depth 10, batch 64, relu, probe 512, all "
        f"columns. Time per trial and step on both cores together, by the wall's clock, start-up ({plain} plain, "
        f"{gradlab} gradlab) taken off on both sides. {STEPS[10]} steps, {STEPS[1]} with every: 1."
    )
    headers = ("width", "optimizer", "every", "trials", "plain us", "gradlab us", "ratio", "lowest", "highest")
    measured = [{"case": asdict(case), "rounds": [asdict(one) for one in pairs]} for case, pairs in found.items()]
    return Report("Whole runs", note, (*headers, "processor time", "goal"), rows, measured)
