"""The parts of a sweep as tasks of a Ray cluster: as `execution.execute` on many machines.

Ray places tasks and tells of machines that die; what becomes of a part then is decided here, as on one machine.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from gradlab.cluster.connection import connected, memory_per_slot, slots
from gradlab.cluster.settings import LOCAL, ClusterSettings
from gradlab.cluster.work import Answer, Job, versions, work
from gradlab.config.own_code import own_code
from gradlab.engine.footprint import PROCESS, least_and_most
from gradlab.engine.history import TrialHistory
from gradlab.engine.memory import in_gib
from gradlab.engine.stacks import Part
from gradlab.engine.work import Workshop, data_key
from gradlab.errors import MachineError
from gradlab.execution import Listener, trial_by_trial
from gradlab.executors import ATTEMPTS, LOOK_EVERY

if TYPE_CHECKING:
    import ray

Finished = TypeVar("Finished")

QUEUED = 2
"""Tasks that wait at the cluster beside those that are worked on, so that no worker waits for the driver."""

COUNT_EVERY = 10.0
"""Seconds after which the cluster's machines are counted again."""

LOSSES = 20
"""How often a task is tried again whose machine went away, which says nothing about its trials."""


@dataclass
class _Broken:
    """A part whose worker died again and again: its trials run apart, and those at fault fail."""

    part: Part
    found: dict[str, TrialHistory] = field(default_factory=dict)

    @property
    def histories(self) -> list[TrialHistory]:
        """Of all its trials, once all are found."""
        return [self.found[trial.trial_id] for trial in self.part.trials]


@dataclass
class _Task:
    """A part, or one trial of a broken one, and what happened to it so far."""

    part: Part
    broken: _Broken | None = None
    deaths: int = 0
    losses: int = 0


def execute(
    parts: Sequence[Part],
    shop: Workshop,
    device: str,
    settings: ClusterSettings,
    workers: int,
    listener: Listener,
    finish: Callable[[Part, list[TrialHistory]], Finished],
    pause: Callable[[], None],
    note: Callable[[str], object],
) -> Generator[tuple[Part, Finished]]:
    """What came of the parts, as they come.

    Args:
        device: what workers train on, cpu or cuda.
        workers: tasks at the same time, at most; 0 for as many as the cluster has room for.
        finish: makes of a part's histories what is wanted of them, on the worker.
        pause: is called several times a second; what it raises ends the work.
        note: is told what is other on a worker than here.

    Raises:
        MachineError: no cluster, none with the resources that are asked for, or a trial too large for its machines.
        UsageError: another version of Ray or Python is at work there; too many files to send.
    """
    travels = settings.address != LOCAL and any(own_code(trial for part in parts for trial in part.trials))
    total = sum(part.cost for part in parts) or 1.0
    done = 0.0
    with connected(settings, workers, shop.directory if travels else None):
        crew = _Crew(settings, workers, Rooms.of(parts, shop, settings), _job(parts, shop, device, travels, finish))
        crew.waiting.extend(_Task(part) for part in parts)
        with closing(crew.results(pause, note)) as results:
            for task, result, reason in results:
                part, broken = task.part, task.broken
                lost = [TrialHistory(trial.trial_id, error=reason) for trial in part.trials]
                if broken is not None:
                    broken.found[part.trials[0].trial_id] = lost[0] if reason else result[0]
                    if len(broken.found) < len(broken.part.trials):
                        continue
                    part, result = broken.part, finish(broken.part, broken.histories)
                elif reason and len(lost) > 1:
                    broken = _Broken(part)
                    crew.waiting.extendleft(_Task(one, broken) for one in trial_by_trial(part))
                    continue
                elif reason:
                    result = finish(part, lost)
                done += part.cost
                listener.progress(min(1.0, done / total))
                yield part, result


class _Crew:
    """Tasks that wait, those at the cluster, and what comes back."""

    def __init__(self, settings: ClusterSettings, workers: int, rooms: Rooms, job: Job) -> None:
        import ray

        self.waiting: deque[_Task] = deque()
        self._running: dict[ray.ObjectRef[Answer], _Task] = {}
        self._settings, self._workers, self._rooms = settings, workers, rooms
        self._shared = [ray.put(job)]
        self._counted, self._slots = -COUNT_EVERY, 0

    def results(
        self, pause: Callable[[], None], note: Callable[[str], object]
    ) -> Generator[tuple[_Task, Any, str | None]]:
        """Tasks with what came of each, or with the reason why their worker died each time.

        More of them may be put to those that wait meanwhile.
        """
        import ray

        told: set[str] = set()
        try:
            while self.waiting or self._running:
                pause()
                while self.waiting and len(self._running) < self._most():
                    self._submit(self.waiting.popleft())
                ready, _ = ray.wait(list(self._running), num_returns=1, timeout=LOOK_EVERY)
                for reference in ready:
                    task = self._running.pop(reference)
                    answer, reason = self._answer(reference, task)
                    if answer is None and reason is None:
                        self.waiting.appendleft(task)
                        continue
                    if answer is not None and answer.error is not None:
                        raise answer.error
                    for other in () if answer is None else answer.others:
                        if other not in told:
                            told.add(other)
                            note(other)
                    yield task, None if answer is None else answer.result, reason
        finally:
            for reference in self._running:
                ray.cancel(reference, force=True)

    def _most(self) -> int:
        """Tasks at the cluster, at most: results that wait for the driver are among them."""
        if self._workers and self._settings.address != LOCAL:
            return self._workers
        if time.monotonic() - self._counted >= COUNT_EVERY:
            self._counted, self._slots = time.monotonic(), slots(self._settings)
            if not self._slots and not self._running:
                wanted = ", ".join(f"{name}={amount:g}" for name, amount in self._settings.resources.items())
                told = f"no machine of the cluster has {wanted}, which each task was to have"
                raise MachineError(
                    f"{told}; change --resources-per-stack, or say --workers N where machines are yet to come"
                )
        return self._slots + QUEUED

    def _submit(self, task: _Task) -> None:
        import ray

        room = self._rooms.room(task.part)
        resources = dict(self._settings.resources)
        remote = ray.remote(work).options(
            num_cpus=resources.pop("CPU"),
            num_gpus=resources.pop("GPU", 0),
            resources=resources,
            memory=room + PROCESS,
            max_retries=0,  # what becomes of a task whose worker dies is decided here
            name=f"gradlab {task.part.part_id}",
        )
        self._running[remote.remote(self._shared, task.part, room, task.broken is None)] = task

    def _answer(self, reference: Any, task: _Task) -> tuple[Answer | None, str | None]:
        """What a task answered; or why its worker died each time; neither where it is to be tried again."""
        import ray
        from ray import exceptions

        try:
            return ray.get(reference), None
        except (exceptions.NodeDiedError, exceptions.ObjectLostError, exceptions.LocalRayletDiedError) as error:
            task.losses += 1
            if task.losses > LOSSES:
                raise MachineError(f"machines of the cluster went away {task.losses} times: {_first(error)}") from error
            return None, None
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            task.deaths += 1
            if task.deaths < ATTEMPTS:
                return None, None
            short = isinstance(error, exceptions.OutOfMemoryError)
            told = (
                "its worker process was killed" if short else "its worker process died, of which Ray doesn't say more"
            )
            return None, f"{told}, as memory ran out on its machine" if short else told
        except exceptions.RayError as error:
            told = "the cluster can't work at it"
            if "No module named" in str(error):
                told = f"gradlab-runner {versions()['gradlab']} and what it needs must be installed on all its machines"
            raise MachineError(f"--ray-address {self._settings.address}: {told} ({_first(error)})") from error


@dataclass(frozen=True)
class Rooms:
    """The memory that tasks ask for, so that Ray puts no more of them on a machine than it can hold.

    Attributes:
        shop: knows the data.
        usual: bytes for each task that can be worked on at the same time.
    """

    shop: Workshop
    usual: float

    @classmethod
    def of(cls, parts: Sequence[Part], shop: Workshop, settings: ClusterSettings) -> Rooms:
        """As the cluster is now.

        Raises:
            MachineError: a trial that fits on no machine even alone.
        """
        usual, most = memory_per_slot(settings)
        rooms = cls(shop, usual)
        for part in parts:
            if (needed := rooms.room(part) + PROCESS) > most:
                told = f"trials of a part need about {in_gib(needed)}, and no machine of the cluster has more than"
                raise MachineError(f"{told} {in_gib(most)}; make models or parts of their records smaller")
        return rooms

    def room(self, part: Part) -> int:
        """Bytes for the work on a part: what its stacks take, or less where there is less, but what a trial takes."""
        least, most = least_and_most(part, self.shop.task)
        return int(max(least, min(most, self.usual - PROCESS)))


def _job(
    parts: Sequence[Part], shop: Workshop, device: str, travels: bool, finish: Callable[[Part, list[TrialHistory]], Any]
) -> Job:
    trials = [trial for part in parts for trial in part.trials]
    examples = {(data_key(trial), trial.model.activation.label, trial.model.family): trial for trial in trials}
    return Job(tuple(examples.values()), shop.tasks, shop.directory, travels, device, finish, versions())


def _first(error: BaseException) -> str:
    """The last line of what Ray says that says anything: it ends with what was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
