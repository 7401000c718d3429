"""What a network decides all over the plane, where its data have two features: before training and after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlab.engine.tasks import Task

RESOLUTION = 40
"""Cells along each side of the plane."""

EXAMPLES = 200
"""Training examples that are shown beside the decisions, at most."""

_MARGIN = 0.1
"""How far the plane goes beyond the data on each side, as a share of their range."""


@dataclass(frozen=True)
class Decisions:
    """A trial's decisions in the plane of its two features.

    Attributes:
        cells: the middles of the cells, [cell, 2], row by row from the lowest y on.
        decided: step -> class in each cell, [cell]; step 0 is the untrained network, step `steps` the trained one.
        examples: the first training examples, [example, 2]; `classes` their own classes, [example].
    """

    cells: NDArray[np.float32]
    decided: dict[int, NDArray[np.int64]]
    examples: NDArray[np.float32]
    classes: NDArray[np.int64]


def has_plane(task: Task) -> bool:
    """Whether the task is to tell classes apart by two features."""
    return task.kind in ("multiclass", "binary") and task.x_train.shape[1:] == (2,)


def cells_of(task: Task) -> Tensor:
    """The middles of the cells of a task's plane, [cell, 2], row by row from the lowest y on."""
    low, high = task.x_train.double().aminmax(dim=0)
    margin = _MARGIN * torch.where(high > low, high - low, 1.0)
    middles = (torch.arange(RESOLUTION, dtype=torch.float64, device=low.device) + 0.5) / RESOLUTION
    x, y = ((low - margin)[:, None] + (high - low + 2 * margin)[:, None] * middles).unbind()
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2).float()


def decided(kind: str, output: Tensor) -> NDArray[np.int64]:
    """The class that outputs [..., output] decide for, [...]; that of a logit of exactly 0 is 0."""
    classes = output.argmax(-1) if kind == "multiclass" else (output[..., 0] > 0).long()
    found: NDArray[np.int64] = classes.cpu().numpy()
    return found


def decisions(task: Task, cells: Tensor, by_step: dict[int, NDArray[np.int64]]) -> Decisions:
    """A trial's decisions, from the classes in `cells` by step."""
    classes = task.y_train[:EXAMPLES]
    own = classes if task.kind == "multiclass" else classes[:, 0].long()
    examples = task.x_train[:EXAMPLES]
    return Decisions(cells.cpu().numpy(), by_step, examples.cpu().numpy(), own.cpu().numpy())
