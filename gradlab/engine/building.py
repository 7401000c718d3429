"""Models that are `nn.Module`s: made by their factory, looked over before any training."""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from gradlab.config.sweep import Trial
from gradlab.engine.families.making import make_network
from gradlab.engine.modules import as_outputs, copied, watched
from gradlab.engine.tasks import Task
from gradlab.engine.user_code import RAISED, describe, load_function
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
    torch.manual_seed(trial.seed)
    try:
        model = factory(**arguments)
    except RAISED as error:
        raise SettingError(_SETTING, f"it raised {describe(error)}") from error
    if not isinstance(model, nn.Module):
        raise SettingError(_SETTING, f"must return a torch.nn.Module, not {type(model).__name__}")
    lazy = [name for name, parameter in model.named_parameters() if isinstance(parameter, UninitializedParameter)]
    if lazy:
        raise SettingError(_SETTING, f"lazy layers have no weights yet ({', '.join(lazy[:3])}); give them their sizes")
    _check(model, task)
    return model.to(task.x_train.device)


def _check(model: nn.Module, task: Task) -> None:
    """Run a copy on two examples, so that the model and the random stream stay as they are."""
    examples = task.x_train[:2].clone()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial_run = copied(model).to(examples.device).eval()
            with watched(trial_run) as uses:
                output = as_outputs(trial_run(examples))
    except RAISED as error:
        shape = list(examples.shape[1:])
        raise SettingError(_SETTING, f"its model failed on examples of shape {shape}: {describe(error)}") from error
    wanted = (len(examples), task.out_features)
    if output.shape != wanted:
        raise SettingError(
            _SETTING,
            f"its model returns {list(output.shape)} for two examples; the {task.kind} task needs {list(wanted)}",
        )
    if not uses:
        raise SettingError(_SETTING, "its model uses no module with a weight of two or more dimensions")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise SettingError(_SETTING, "its model has no trainable parameters")
