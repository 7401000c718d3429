"""torch.optim over a stack's flat parameter buffer, one parameter group per setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from gradlab.config.schema import Train

GroupKey: TypeAlias = tuple[float, float, float]
"""Learning rate, weight decay and momentum."""


def make_optimizer(
    settings: Sequence[Train], segments: Mapping[GroupKey, Sequence[tuple[int, int]]], flat: Tensor, gradient: Tensor
) -> torch.optim.Optimizer:
    """An optimizer that updates `flat` in place from `gradient`, a buffer laid out alike.

    Args:
        settings: each trial's; all name the same optimizer, learning rates and the like may differ.
        segments: pieces of the buffer for each distinct `group_key(setting)`.
    """
    by_key = {group_key(setting): setting for setting in settings}
    groups = []
    for key, pieces in segments.items():
        parameters = [nn.Parameter(flat[start:stop]) for start, stop in pieces]
        for parameter, (start, stop) in zip(parameters, pieces, strict=True):
            parameter.grad = gradient[start:stop]
        setting = by_key[key]
        groups.append({"params": parameters, **shared_settings(setting)})
    return build(settings[0].optimizer, groups, fused=True)


def group_key(setting: Train) -> GroupKey:
    """What sets one parameter group apart from another."""
    return (setting.lr, setting.weight_decay, setting.momentum if setting.optimizer == "momentum" else 0.0)


def build(name: str, groups: list[dict[str, object]], fused: bool) -> torch.optim.Optimizer:
    """The optimizer of the config's `name` over torch.optim parameter groups; other settings are torch's defaults."""
    quick = True if fused else None
    match name:
        case "sgd" | "momentum":
            return torch.optim.SGD(groups, fused=quick)
        case "adam":
            return torch.optim.Adam(groups, fused=quick)
        case "adamw":
            return torch.optim.AdamW(groups, fused=quick)
        case "rmsprop":
            return torch.optim.RMSprop(groups)
    raise ValueError(f"no optimizer '{name}'")


def shared_settings(setting: Train) -> dict[str, object]:
    """The options of a parameter group."""
    options: dict[str, object] = {"lr": setting.lr, "weight_decay": setting.weight_decay}
    return options | {"momentum": setting.momentum} if setting.optimizer == "momentum" else options
