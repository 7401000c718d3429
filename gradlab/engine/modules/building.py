"""Models that are `nn.Module`s: made by their factory, looked over before any training."""

from __future__ import annotations

import inspect
import reprlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from gradlab.config.sweep import Trial
from gradlab.engine.families.making import make_network
from gradlab.engine.modules.layers import as_outputs, copied, watched
from gradlab.engine.tasks import Task
from gradlab.engine.user_code import RAISED, defined_at, describe, load_function
from gradlab.errors import SettingError

_SETTING = "model.factory"


def build_model(trial: Trial, task: Task, directory: Path) -> nn.Module:
    """The trial's model, made by its factory, or its built-in family, right after `torch.manual_seed(seed)`.

    Raises:
        SettingError: the factory is missing, raises, returns no module, or one whose output does not fit the task.
    """
    if trial.model.family != "custom":
        return make_network(trial, task, directory)
    reference = str(trial.model.factory)
    factory = load_function(_SETTING, reference, directory)
    arguments = dict(trial.model.kwargs)
    try:
        known = inspect.signature(factory).parameters
    except ValueError:
        known = {}  # type: ignore[assignment]
    for name in ("in_features", "out_features"):
        if name in known:
            arguments.setdefault(name, getattr(task, name))
    here = defined_at(factory)
    torch.manual_seed(trial.seed)
    try:
        model = factory(**arguments)
    except RAISED as error:
        raise SettingError(_SETTING, f"{_call(trial)} raised {describe(error, here)}", reference) from error
    told = f"{_call(trial)} ({here})" if here else _call(trial)
    if not isinstance(model, nn.Module):
        raise SettingError(_SETTING, f"must return a torch.nn.Module, not {type(model).__name__}: {told}", reference)
    lazy = [name for name, parameter in model.named_parameters() if isinstance(parameter, UninitializedParameter)]
    if lazy:
        fault = f"lazy layers have no weights yet ({', '.join(lazy[:3])}); give them their sizes"
        raise SettingError(_SETTING, f"{fault}: {told}", reference)
    try:
        _check(model, task)
    except _UnfitError as error:
        raise SettingError(_SETTING, f"{error}: {told}", reference) from error
    except RAISED as error:
        fault = f"its model failed on examples of shape {list(task.x_train.shape[1:])}: {describe(error, here)}"
        raise SettingError(_SETTING, fault, reference) from error
    return model.to(task.x_train.device)


def factory_place(trial: Trial, directory: Path) -> str:
    """`file:line` of the factory of a trial's model; empty where there is none."""
    if trial.model.factory is None:
        return ""
    return defined_at(load_function(_SETTING, trial.model.factory, directory))


class _UnfitError(Exception):
    """A model that doesn't go with the task, or can't be trained."""


def _call(trial: Trial) -> str:
    """The call of the factory as the config has it, such as `build(depth=3)`."""
    arguments = (f"{name}={reprlib.repr(value)}" for name, value in trial.model.kwargs.items())
    return f"{str(trial.model.factory).rpartition(':')[2]}({', '.join(arguments)})"


def _check(model: nn.Module, task: Task) -> None:
    """Run a copy on two examples, so that the model and the random stream stay as they are."""
    examples = task.x_train[:2].clone()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        trial_run = copied(model).to(examples.device).eval()
        with watched(trial_run) as uses:
            output = as_outputs(trial_run(examples))
    if fault := misfit(output, task, len(examples)):
        raise _UnfitError(fault)
    if not uses:
        raise _UnfitError("its model uses no module with a weight of two or more dimensions")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise _UnfitError("its model has no trainable parameters")


def misfit(output: Tensor, task: Task, examples: int) -> str | None:
    """What is wrong with the shape of a model's outputs [example, output], if something is."""
    wanted = (examples, task.out_features)
    if output.shape == wanted:
        return None
    return f"its model returns {list(output.shape)} for {examples} examples; the {task.kind} task needs {list(wanted)}"
