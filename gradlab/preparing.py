"""Everything that trials need, loaded once; what the user's own code does wrong is found here, before any training."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from gradlab.config.own_code import own_code
from gradlab.config.sweep import Trial
from gradlab.engine.activations import load_activation
from gradlab.engine.tasks import Task, make_task
from gradlab.engine.user_code import contained
from gradlab.engine.work import Workshop, data_key, with_factories
from gradlab.errors import SettingError
from gradlab.execution import can_work_apart
from gradlab.executors import Done, run_in_workers

Item = TypeVar("Item")


def prepare(trials: Sequence[Trial], directory: Path, device: torch.device) -> Workshop:
    """Load what `trials` need, and call the factories of their models.

    Code of the user's own first runs in a process beside this one, where one can be had: it may end its process.
    What a model's factory ends so is left to training, where it costs its own trials.

    Args:
        directory: the config's folder.

    Raises:
        SettingError: data, a function or a factory that cannot be used.
    """
    if not can_work_apart(device) or not any(own_code(trials)):
        shop = Workshop.prepare(trials, directory, device)
        for trial in with_factories(trials):
            shop.check_factory(trial)
        return shop
    made = _own_tasks(trials, directory)
    _try_activations(trials, directory)
    shop = Workshop.prepare(trials, directory, device, made)
    for _ in _apart(with_factories(trials), shop.check_factory):
        pass
    return shop


def _own_tasks(trials: Sequence[Trial], directory: Path) -> dict[str, Task]:
    """The tasks that the user's own data factories make, by their `data_key`."""
    own = {data_key(trial): trial for trial in trials if trial.data.factory is not None}

    def made(trial: Trial) -> bytes:
        # As bytes: torch would send tensors by way of files that end with their process.
        return pickle.dumps(make_task(trial.data, directory, trial.model))

    tasks = {}
    for done in _apart(list(own.values()), made):
        if done.result is None:
            raise SettingError("data.factory", f"no data was made: {done.reason}", done.item.data.factory)
        tasks[data_key(done.item)] = pickle.loads(done.result)  # noqa: S301 - made a moment ago, by this program
    return tasks


def _try_activations(trials: Sequence[Trial], directory: Path) -> None:
    own = {t.model.activation.label: t.model.activation for t in trials if t.model.activation.is_function}
    for done in _apart(list(own.values()), lambda choice: load_activation(choice, directory).label):
        if done.result is None:
            raise SettingError("model.activation", f"it could not be called: {done.reason}", done.item.name)


def _apart(items: Sequence[Item], work: Callable[[Item], Any]) -> Iterator[Done[Item, Any]]:
    """What `work` makes of the items in a process beside this one; what it raises about settings is raised here."""

    def tried(item: Item, _report: Callable[[float], None]) -> Any:
        with contained():
            try:
                return work(item)
            except SettingError as error:
                return error

    for done in run_in_workers(items, tried, 1, lambda shares: None):
        if isinstance(done.result, SettingError):
            raise done.result
        yield done
