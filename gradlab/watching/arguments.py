"""Arguments of `gradlab.watch` and its recorder, checked: each mistake is one UsageError that says what was meant."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any, SupportsFloat

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from gradlab.engine.modules.layers import layers_of
from gradlab.errors import UsageError


def folder(out: Any) -> Path:
    """`out` as a path."""
    try:
        return Path(out)
    except TypeError:
        raise UsageError(f"watch: out must be the path of a folder, not {out!r}") from None


def whole(name: str, value: Any, at_least: int = 0) -> int:
    """A whole number."""
    try:
        number = None if isinstance(value, bool | Tensor) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not at_least <= number < 2**63:
        raise UsageError(f"watch: {name} must be a whole number, {at_least} at least, not {value!r}")
    return number


def check(model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None) -> None:
    """Refuse what can't be recorded at all."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"watch: the model must be a torch.nn.Module, not {type(model).__name__}")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(f"watch: the optimizer must be a torch.optim.Optimizer, not {type(optimizer).__name__}")
    if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
        raise UsageError(f"watch: the scaler must be a torch.amp.GradScaler, not {type(scaler).__name__}")
    lazy = [name for name, parameter in model.named_parameters() if isinstance(parameter, UninitializedParameter)]
    if lazy:
        raise UsageError(f"watch: lazy layers have no weights yet ({', '.join(lazy[:3])}); run a forward pass before")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("watch: the model has no trainable parameters")
    if not layers_of(getattr(model, "_orig_mod", model)):
        raise UsageError("watch: the model has no module with a weight of two or more dimensions")
    if any(parameter.device.type == "mps" for parameter in model.parameters()):
        raise UsageError("watch: the model is on an mps device, which has no float64, in which norms are added up")
    own, stepped = _parameters(model), {id(p) for group in optimizer.param_groups for p in group["params"]}
    if own and own.isdisjoint(stepped):
        raise UsageError("watch: the optimizer holds none of the model's parameters; give the one that updates them")


def _parameters(model: nn.Module) -> set[int]:
    return {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def scalar(name: str, value: Any) -> float | Tensor:
    """A number, or a tensor of one, which isn't read yet."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach()
    if isinstance(value, Tensor) or not isinstance(value, SupportsFloat):
        shape = f" of shape {list(value.shape)}" if isinstance(value, Tensor) else ""
        raise UsageError(f"log: {name} must be a single number, not a {type(value).__name__}{shape}")
    return float(value)
