"""What a task does on a worker of the cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from gradlab import __version__
from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.engine.memory import available
from gradlab.engine.stacks import Part
from gradlab.engine.tasks import Task
from gradlab.engine.work import Workshop
from gradlab.errors import MachineError
from gradlab.executors import sendable


@dataclass(frozen=True)
class Job:
    """What all tasks of a run share; it is sent to each machine once.

    Attributes:
        examples: a trial for every data set and activation, with all of which a worker's workshop can do.
        tasks: the data, by their `data_key`.
        directory: the config's folder, where the driver runs.
        travels: whether the user's files were sent, and lie in the worker's working directory.
        device: cpu or cuda.
        finish: makes of a part's histories what is wanted of them.
        versions: of gradlab and torch, the driver's.
    """

    examples: tuple[Trial, ...]
    tasks: Mapping[str, Task]
    directory: Path
    travels: bool
    device: str
    finish: Callable[[Part, list[TrialHistory]], Any]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What came of a task.

    Attributes:
        result: of a whole part what `finish` makes of it, else its histories.
        error: what was raised: something that ends the run.
        others: versions at work there that are not the driver's.
    """

    result: Any = None
    error: Exception | None = None
    others: tuple[str, ...] = ()


def versions() -> dict[str, str]:
    """What numbers depend on beside the settings and the processor."""
    return {"gradlab": __version__, "torch": torch.__version__}


def work(shared: Sequence[Any], part: Part, room: int, whole: bool) -> Answer:
    """Train a part; never raises.

    Args:
        shared: the reference of the `Job`, in a list, in which Ray leaves it a reference.
        room: bytes that the work may take.
        whole: whether the part is to be finished; else its histories are wanted.
    """
    try:
        job, shop = _opened(shared[0])
        others = _others(job)
        free = available(torch.device(job.device)) if job.device == "cuda" else None
        histories = replace(shop, room=room if free is None else min(room, free)).run(part)
        if job.travels:
            histories = [_as_at_home(history, job.directory) for history in histories]
        return Answer(job.finish(part, histories) if whole else histories, others=others)
    except Exception as error:  # it is raised again where it is seen
        return Answer(error=sendable(error))


@lru_cache(maxsize=1)
def _opened(reference: Any) -> tuple[Job, Workshop]:
    """The job and its workshop, which a worker process keeps from task to task."""
    import ray

    job: Job = ray.get(reference)
    if job.versions["gradlab"] != __version__:
        told = f"gradlab {__version__} is installed on {os.uname().nodename}, and {job.versions['gradlab']} here"
        raise MachineError(f"{told}: install the same version on all machines of the cluster")
    folder = Path.cwd() if job.travels else job.directory
    return job, Workshop.prepare(job.examples, folder, torch.device(job.device), job.tasks)


def _others(job: Job) -> tuple[str, ...]:
    there = versions()
    return tuple(
        f"{name} is {there[name]} on {os.uname().nodename} and {version} here: last digits may differ"
        for name, version in job.versions.items()
        if there[name] != version
    )


def _as_at_home(history: TrialHistory, directory: Path) -> TrialHistory:
    """An error names the user's files by their places where they came from."""
    if history.error is None:
        return history
    return replace(history, error=history.error.replace(str(Path.cwd()), str(directory.resolve())))
