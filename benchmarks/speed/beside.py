"""Both sides in this process, in turn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from benchmarks.speed.cases import Case, as_plain
from benchmarks.speed.in_process import first_stack, run_engine, run_loop
from benchmarks.speed.plain.networks import Digits
from gradlab.engine.tasks import Task

AGREEMENT = 1e-3
"""How far apart, relative, the final losses of both sides may lie after two steps."""


@dataclass(frozen=True)
class Both:
    """Processor seconds per trial and step, of all but step 0."""

    plain: float
    engine: float

    def ratio(self) -> float:
        """How many times faster the engine is."""
        return self.plain / self.engine


def measure_both(case: Case, task: Task, data: Digits) -> Both:
    """The plain loop on one trial of a sweep, the engine on its first stack."""
    stack = first_stack(case.expanded(), task)
    looped, _ = run_loop(as_plain(stack.trials[0]), data)
    stacked, _ = run_engine(stack, task)
    return Both(looped.whole().processor, stacked.whole().processor)


def warm_up(case: Case, task: Task, data: Digits) -> None:
    """Two steps of both.

    Raises:
        RuntimeError: the two sides don't do the same work.
    """
    stack = first_stack(replace(case, steps=2).expanded(), task)
    _, histories = run_engine(stack, task)
    _, history = run_loop(as_plain(stack.trials[0]), data)
    losses = history.finals[0].item(), histories[0].finals["final_train_loss"]
    if not math.isclose(*losses, rel_tol=AGREEMENT):
        raise RuntimeError(f"plain loop and engine end at different losses, {losses[0]} and {losses[1]}: {case}")
