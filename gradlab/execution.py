"""The parts of a sweep at work: in this process or in workers beside it, and what happens when one of these dies."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing, nullcontext, redirect_stderr
from dataclasses import replace
from typing import Protocol, TypeVar

import torch

from gradlab.config.own_code import own_code
from gradlab.config.sweep import Trial
from gradlab.engine.bundles import Bundle, bundled
from gradlab.engine.history import TrialHistory
from gradlab.engine.memory import available
from gradlab.engine.stacks import Part
from gradlab.engine.work import Workshop
from gradlab.executors import Report, can_fork, run_here, run_in_workers
from gradlab.sighting import Sighting, Throttle

Finished = TypeVar("Finished")


class Listener(Protocol):
    """Who wants to know how a run is getting on."""

    def begin(self, trials: Sequence[Trial], finished: Collection[str], parts: int) -> None:
        """The trials, and the ids of those of them that were finished before; the rest makes so many parts."""

    def progress(self, share: float) -> None:
        """The share of the work at hand that is done."""

    def stored(self, statuses: Mapping[str, str]) -> None:
        """Trials have just been written that ended so: id -> status."""

    @property
    def sighted(self) -> Callable[[Sighting], None] | None:
        """Hears now and then what records look like while training goes on; None: nobody watches, nothing is said."""


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
    bundles = bundled(parts, workers, shop.positions, shop.has_room)
    done, total = 0.0, sum(part.cost for part in parts) or 1.0
    mean = total / max(len(bundles), 1)
    share = 0.0

    def look_up() -> None:
        pause()
        listener.progress(share)

    def progress(bundles_worth: float) -> None:
        nonlocal share
        share = max(share, min(1.0, (done + bundles_worth * mean) / total))
        look_up()

    def train(part: Part, report: Report) -> list[TrialHistory]:
        def worth(share: float) -> None:
            report(share * part.cost / mean)

        if listener.sighted is None:
            return shop.run(part, worth)
        with redirect_stderr(_Printing(report.tell)) if apart else nullcontext():
            return shop.run(part, worth, Throttle(report.tell))

    def each(bundle: Bundle, histories: Sequence[TrialHistory]) -> list[Finished]:
        found = {history.trial_id: history for history in histories}
        return [finish(part, [found[trial.trial_id] for trial in part.trials]) for part in bundle.parts]

    def work(bundle: Bundle, report: Report) -> list[Finished]:
        return each(bundle, train(bundle.whole, report))

    def hear(message: Sighting | str) -> None:
        if isinstance(message, str):
            sys.stderr.write(message)
        elif listener.sighted is not None:
            listener.sighted(message)

    apart = workers > 1 or (can_work_apart(device) and any(own_code(t for part in parts for t in part.trials)))
    if apart:
        results = run_in_workers(bundles, work, workers, progress, look_up, hear)
    else:
        results = run_here(bundles, work, progress, hear)
    with closing(results):
        for result in results:
            bundle, finished = result.item, result.result
            if finished is None:
                finished = each(bundle, _one_by_one(bundle.whole, train, str(result.reason), look_up, hear))
            done += bundle.whole.cost
            share = max(share, min(1.0, done / total))
            listener.progress(share)
            yield from zip(bundle.parts, finished, strict=True)


class _Printing(io.TextIOBase):
    """What code in a worker prints, told to the process that draws: two can't draw on one terminal."""

    encoding = "utf-8"

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._stderr = tell, sys.stderr

    def fileno(self) -> int:
        return self._stderr.fileno()

    def isatty(self) -> bool:
        return self._stderr.isatty()

    def write(self, text: str) -> int:
        self._tell(text)
        return len(text)


def _one_by_one(
    part: Part,
    train: Callable[[Part, Report], list[TrialHistory]],
    reason: str,
    pause: Callable[[], None],
    hear: Callable[[Sighting | str], None],
) -> list[TrialHistory]:
    """The histories of a part whose worker process died: its trials run apart, those at fault failed."""
    alone = trial_by_trial(part)
    found: dict[str, list[TrialHistory]] = {}
    if len(alone) > 1:
        for result in run_in_workers(alone, train, 1, lambda shares: None, pause, hear):
            trial_id = result.item.trials[0].trial_id
            found[trial_id] = result.result or [TrialHistory(trial_id, error=str(result.reason))]
    return [h for t in part.trials for h in found.get(t.trial_id, [TrialHistory(t.trial_id, error=reason)])]


def trial_by_trial(part: Part) -> list[Part]:
    """A part taken apart: each of its trials as a part of its own, to find those at fault."""
    return [replace(part, stacks=(replace(stack, trials=(trial,)),)) for stack in part.stacks for trial in stack.trials]
