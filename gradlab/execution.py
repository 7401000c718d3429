"""The parts of a sweep at work: in this process or in workers beside it, and what happens when one of these dies."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Protocol, TypeVar

import torch

from gradlab.config.own_code import own_code
from gradlab.engine.history import TrialHistory
from gradlab.engine.memory import available
from gradlab.engine.stacks import Part
from gradlab.engine.work import Workshop
from gradlab.executors import can_fork, run_here, run_in_workers

Finished = TypeVar("Finished")


class Listener(Protocol):
    """Who wants to know how a run is getting on."""

    def begin(self, trials: int, finished: int, parts: int) -> None:
        """So many trials, so many of them finished before; the rest makes so many parts."""

    def progress(self, share: float) -> None:
        """The share of the work at hand that is done."""

    def stored(self, statuses: Sequence[str]) -> None:
        """Trials that ended so have just been written."""


def worker_count(wanted: int | None, device: torch.device, parts: int) -> int:
    """How many processes work: as many as wanted, or as there are cores, but no more than there are parts."""
    if not can_work_apart(device):
        return 1
    return max(1, min(cores() if wanted is None else wanted, parts))


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def can_work_apart(device: torch.device) -> bool:
    """Whether processes beside this one can train on a device: a GPU's state doesn't survive a fork."""
    return device.type == "cpu" and can_fork()


def execute(
    parts: Sequence[Part],
    shop: Workshop,
    device: torch.device,
    workers: int,
    listener: Listener,
    finish: Callable[[Part, list[TrialHistory]], Finished],
    pause: Callable[[], None] = lambda: None,
) -> Generator[tuple[Part, Finished]]:
    """What came of the parts, as they come; a part whose worker process dies is taken apart, trial by trial.

    Code of the user's own never runs in this process, where another one can be had: whatever becomes of that, what is
    finished is kept and the rest goes on.

    Args:
        device: what is trained on.
        finish: makes of a part's histories what is wanted of them, in the worker process: it is sent from there.
        pause: is called many times a second; what it raises ends the work.

    Raises:
        MachineError: a trial that is too large for the memory there is, before any training.
    """
    shop, workers = shop.sharing_memory(parts, workers, available(device))
    done, total = 0.0, sum(part.cost for part in parts) or 1.0
    mean = total / max(len(parts), 1)

    def progress(shares: float) -> None:
        pause()
        listener.progress(min(1.0, (done + shares * mean) / total))

    def work(part: Part, report: Callable[[float], None]) -> Finished:
        return finish(part, shop.run(part, report))

    apart = workers > 1 or (can_work_apart(device) and any(own_code(t for part in parts for t in part.trials)))
    results = run_in_workers(parts, work, workers, progress, pause) if apart else run_here(parts, work, progress)
    with closing(results):
        for result in results:
            part, finished = result.item, result.result
            if finished is None:
                finished = finish(part, _one_by_one(part, shop, str(result.reason), pause))
            done += part.cost
            listener.progress(min(1.0, done / total))
            yield part, finished


def _one_by_one(part: Part, shop: Workshop, reason: str, pause: Callable[[], None]) -> list[TrialHistory]:
    """The histories of a part whose worker process died: its trials run apart, those at fault failed."""
    alone = trial_by_trial(part)
    found: dict[str, list[TrialHistory]] = {}
    if len(alone) > 1:
        for result in run_in_workers(alone, shop.run, 1, lambda shares: None, pause):
            trial_id = result.item.trials[0].trial_id
            found[trial_id] = result.result or [TrialHistory(trial_id, error=str(result.reason))]
    return [h for t in part.trials for h in found.get(t.trial_id, [TrialHistory(t.trial_id, error=reason)])]


def trial_by_trial(part: Part) -> list[Part]:
    """A part taken apart: each of its trials as a part of its own, to find those at fault."""
    return [replace(part, stacks=(replace(stack, trials=(trial,)),)) for stack in part.stacks for trial in stack.trials]
