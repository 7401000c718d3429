"""torch.optim over a stack's flat parameter buffer, one group of trials per setting.

A stack calls torch.optim's functional forms, which its classes call in turn: making an object of these classes imports
torch's compiler, which takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from gradlab.config.schema import Train
from gradlab.engine.alignment import Call
from gradlab.engine.layout import Piece, joined

GroupKey: TypeAlias = tuple[float, float, float]
"""Learning rate, weight decay and momentum."""

_BETA1, _BETA2, _ALPHA, _EPS = 0.9, 0.999, 0.99, 1e-8
"""torch.optim's defaults of Adam, AdamW and RMSprop."""


def group_key(setting: Train) -> GroupKey:
    """What sets one group of trials apart from another."""
    return (setting.lr, setting.weight_decay, setting.momentum if setting.optimizer == "momentum" else 0.0)


@dataclass
class _Group:
    """Pieces of the buffer that share their settings, and what the optimizer remembers of each."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    lr: float
    weight_decay: float
    momentum: float
    velocities: list[Tensor | None] = field(init=False)
    averages: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)
    steps: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.velocities = [None] * len(self.parameters)

    def remember_moments(self) -> None:
        """Make room for what adaptive optimizers keep."""
        self.averages = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]


class StackOptimizer:
    """Updates a flat parameter buffer in place from a gradient buffer laid out alike.

    Args:
        settings: each trial's; all name the same optimizer, learning rates and the like may differ.
        segments: for each layer, pieces of the buffer for each distinct `group_key(setting)`.
    """

    def __init__(
        self,
        settings: Sequence[Train],
        segments: Sequence[Mapping[GroupKey, Sequence[Piece]]],
        flat: Tensor,
        gradient: Tensor,
    ) -> None:
        self._name = settings[0].optimizer
        self._layers: list[list[Call]] = []
        self._groups: list[_Group] = []
        if self.by_layer:
            self._layers = [
                [
                    call
                    for (lr, weight_decay, _), own in layer.items()
                    for start, stop in own
                    for call in _descent(flat[start:stop], gradient[start:stop], lr, weight_decay)
                ]
                for layer in segments
            ]
        else:
            self._groups = [
                _Group([flat[start:stop] for start, stop in own], [gradient[start:stop] for start, stop in own], *key)
                for key, own in _of_all_layers(segments).items()
            ]
        if self._name not in {"sgd", "momentum"}:
            for group in self._groups:
                group.remember_moments()

    @property
    def by_layer(self) -> bool:
        """Whether layers may be updated one by one, while the caches still hold their weights and gradients."""
        return self._name == "sgd"

    def step(self) -> None:
        """One update of all trials."""
        for layer in range(len(self._layers)):
            self.step_layer(layer)
        for group in self._groups:
            self._update(group)

    def step_layer(self, layer: int) -> None:
        """Update one layer, where layers are updated one by one; its gradient is used up."""
        for call in self._layers[layer]:
            call()

    def _update(self, group: _Group) -> None:
        match self._name:
            case "momentum":
                sgd(
                    group.parameters,
                    group.gradients,
                    group.velocities,
                    fused=True,
                    weight_decay=group.weight_decay,
                    momentum=group.momentum,
                    lr=group.lr,
                    dampening=0.0,
                    nesterov=False,
                    maximize=False,
                )
            case "adam" | "adamw":
                update = adam if self._name == "adam" else adamw
                update(
                    group.parameters,
                    group.gradients,
                    group.averages,
                    group.squares,
                    [],
                    group.steps,
                    fused=True,
                    amsgrad=False,
                    beta1=_BETA1,
                    beta2=_BETA2,
                    lr=group.lr,
                    weight_decay=group.weight_decay,
                    eps=_EPS,
                    maximize=False,
                )
            case "rmsprop":
                rmsprop(
                    group.parameters,
                    group.gradients,
                    group.squares,
                    [],
                    [],
                    group.steps,
                    foreach=False,
                    lr=group.lr,
                    alpha=_ALPHA,
                    eps=_EPS,
                    weight_decay=group.weight_decay,
                    momentum=0.0,
                    centered=False,
                )


def _descent(parameters: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> list[Call]:
    decay: list[Call] = [partial(gradient.add_, parameters, alpha=weight_decay)] if weight_decay else []
    return [*decay, partial(parameters.add_, gradient, alpha=-lr)]


def _of_all_layers(segments: Sequence[Mapping[GroupKey, Sequence[Piece]]]) -> dict[GroupKey, list[Piece]]:
    pieces: dict[GroupKey, list[Piece]] = {}
    for layer in segments:
        for key, own in layer.items():
            pieces.setdefault(key, []).extend(own)
    return {key: joined(own) for key, own in pieces.items()}


def module_optimizer(setting: Train, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """torch.optim's own optimizer for the parameters of a module; other settings are torch's defaults."""
    common: dict[str, Any] = {"lr": setting.lr, "weight_decay": setting.weight_decay}
    match setting.optimizer:
        case "sgd":
            return torch.optim.SGD(parameters, **common)
        case "momentum":
            return torch.optim.SGD(parameters, momentum=setting.momentum, **common)
        case "adam":
            return torch.optim.Adam(parameters, **common)
        case "adamw":
            return torch.optim.AdamW(parameters, **common)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, **common)
