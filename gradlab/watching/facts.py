"""What the trials table says of a watched training beside its numbers: the optimizer, and what its user tells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gradlab.config.sweep import TRIAL_COLUMNS
from gradlab.errors import UsageError
from gradlab.store.tables import TRIALS, column_type

FACTORS = tuple(TRIAL_COLUMNS.values())
"""Columns of the trials table that hold settings."""


def optimizer_facts(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's name, as a config has it, and the learning rate of its first group."""
    group = optimizer.param_groups[0]
    name = type(optimizer).__name__.lower()
    lr = group.get("lr")
    return {
        "optimizer": "momentum" if name == "sgd" and group.get("momentum") else name,
        "lr": None if lr is None else float(lr),
    }


def checked_settings(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings that a user tells, by column.

    Raises:
        UsageError: the name of a column that is measured, or a value that no cell holds.
    """
    if not isinstance(settings, Mapping | None):
        raise UsageError(f"settings must be a mapping of names to values, not {type(settings).__name__}")
    told = dict(settings or {})
    for name, value in told.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"settings: {name!r} is no name of a column")
        if name in TRIALS and name not in FACTORS:
            raise UsageError(f"settings: '{name}' is a column that gradlab fills itself; choose another name")
        if value is not None and not isinstance(value, bool | int | float | str):
            raise UsageError(f"settings: {name} must be a number, a text or True or False, not {type(value).__name__}")
        if name in FACTORS and value is not None and not _fits(name, value):
            raise UsageError(f"settings: {name} must be {_WORDS[str(TRIALS[name])]}, not {value!r}")
    return told


_WORDS = {"int64": "a whole number", "double": "a number", "bool": "True or False", "string": "a text"}


def _fits(name: str, value: Any) -> bool:
    kind = column_type([value])
    return kind == TRIALS[name] or (str(kind), str(TRIALS[name])) == ("int64", "double")


def trial_identity(model: nn.Module, facts: Mapping[str, Any]) -> str:
    """16 hex digits from a training's own settings: the model's parameters by name and shape, and the facts."""
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    text = json.dumps([shapes, {key: facts[key] for key in sorted(facts)}])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
