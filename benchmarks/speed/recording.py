"""What records cost beyond the matrix products that forward passes on the probe and the evaluation data need."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import torch

from benchmarks.speed.cases import Case, digits
from benchmarks.speed.in_process import first_stack, run_engine
from benchmarks.speed.report import Report, Wanted
from benchmarks.yardstick import now
from gradlab.engine.stacks import Stack
from gradlab.engine.tasks import Task

ROUNDS = 5
WIDTHS, BATCHES = (64, 128, 256), (128, 256)
TRIALS = 256
STEPS = {1000: 32, 10: 42, 1: 12}
"""Steps between records -> steps: those after step 0 and before the last hold records as often as `every` says."""

GOALS = {10: "3 %", 1: "15 %"}


@dataclass(frozen=True)
class Round:
    """Processor seconds per trial and step, by steps between records, and of the products per trial and record.

    Attributes:
        stated: what the engine itself says of recording, as a share of training, likewise.
    """

    spent: dict[int, float]
    stated: dict[int, float]
    products: float

    def added(self, every: int) -> float:
        """What records add to a step, as a share of the step without."""
        return self.spent[every] / self.spent[1000] - 1

    def beyond(self, every: int) -> float:
        """The same beyond the products."""
        return self.added(every) - self.products / every / self.spent[1000]


def measure(wanted: Wanted) -> list[Report]:
    """Every width and batch in every round."""
    task, _ = digits()
    cases = [Case(TRIALS, width, batch_size=batch) for width in WIDTHS for batch in BATCHES]
    found: dict[Case, list[Round]] = {case: [] for case in (cases[:1] if wanted.quick else cases)}
    for case in found:
        run_engine(first_stack(replace(case, steps=3).expanded(), task), task)
    for number in range(wanted.count(ROUNDS, 2)):
        for case, rounds in found.items():
            wanted.told(f"recording, round {number + 1}: width {case.width}, batch {case.batch_size}")
            rounds.append(_round(case, task))
    rows = [
        [
            str(case.width),
            str(case.batch_size),
            str(every),
            _share(rounds, lambda one, every=every: one.added(every)),  # type: ignore[misc]
            _share(rounds, lambda one, every=every: one.products / every / one.spent[1000]),  # type: ignore[misc]
            *_spread([one.beyond(every) for one in rounds]),
            goal,
            _share(rounds, lambda one, every=every: one.stated[every]),  # type: ignore[misc]
        ]
        for case, rounds in found.items()
        for every, goal in GOALS.items()
    ]
    note = (
        "sgd, depth 10, probe 512, 360 evaluation examples, one stack on one thread, by the processor's clock; all as "
        "shares of the time of a step without a record. Products: `torch.bmm` in float32 on the shapes of the probe's "
        "and the evaluation's forward passes. Stated: what `run.json` says, from the engine's own clock."
    )
    headers = ("width", "batch", "every", "adds", "products", "beyond", "lowest", "highest", "goal", "stated")
    measured = [{"case": asdict(case), "rounds": [asdict(one) for one in rounds]} for case, rounds in found.items()]
    return [Report("What recording costs", note, headers, rows, measured)]


def _round(case: Case, task: Task) -> Round:
    spent, stated = {}, {}
    for every, steps in STEPS.items():
        stack = first_stack(replace(case, every=every, steps=steps).expanded(), task)
        laps, histories = run_engine(stack, task)
        spent[every] = laps.between(0, steps - 2).processor
        stated[every] = histories[0].recording_seconds / (histories[0].seconds - histories[0].recording_seconds)
    return Round(spent, stated, _products(stack, task))


def _products(stack: Stack, task: Task) -> float:
    """Processor seconds per trial of the products of one forward pass on the probe and one on the evaluation data."""
    trials, model = len(stack.trials), stack.trials[0].model
    sizes = [task.in_features, *[model.width] * model.depth, task.out_features]
    tries = []
    for _ in range(3):
        spent = 0.0
        for examples in (len(task.x_eval), min(stack.trials[0].record.probe, len(task.x_train))):
            for fan_in, fan_out in pairwise(sizes):
                h, weight = torch.randn(trials, examples, fan_in), torch.randn(trials, fan_in, fan_out)
                z = torch.empty(trials, examples, fan_out)
                start = now()
                torch.bmm(h, weight, out=z)
                spent += (now() - start).processor
        tries.append(spent / trials)
    return statistics.median(tries)


def _share(rounds: Sequence[Round], value: Callable[[Round], float]) -> str:
    return f"{statistics.median(map(value, rounds)):.1%}"


def _spread(shares: Sequence[float]) -> list[str]:
    return [f"{share:.1%}" for share in (statistics.median(shares), min(shares), max(shares))]
