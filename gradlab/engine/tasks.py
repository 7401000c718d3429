"""From a data set to a task: tensors, the loss and the metric that go with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gradlab.config.schema import SEQUENCES, Data, Model
from gradlab.engine.alignment import aligned, aligned_into
from gradlab.engine.datasets import load_arrays
from gradlab.engine.sequences import as_sequences
from gradlab.errors import SettingError

Values: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """What a network is trained on.

    Attributes:
        kind: multiclass, binary, multilabel or regression.
        x_train, x_eval: features [example, feature], [example, channel, height, width] or, as sequences, [example,
            time, feature], float32.
        y_train, y_eval: classes [example] (int64) for multiclass, else targets [example, output] (float32).
        out_features: outputs of the network: classes, labels, targets, or 1 logit.
        input_second_moment: mean of x^2 over training examples and features.
        input_variance: mean over features of the variance over training examples.
    """

    kind: str
    x_train: Tensor
    y_train: Tensor
    x_eval: Tensor
    y_eval: Tensor
    out_features: int
    input_second_moment: float
    input_variance: float

    @property
    def in_features(self) -> int:
        """Features of one example, all dimensions together; of a sequence those of one time step."""
        return self.x_train.shape[-1] if self.x_train.ndim == 3 else self.x_train[0].numel()

    @property
    def metric(self) -> str:
        """The name of the evaluation metric."""
        return "R^2" if self.kind == "regression" else "accuracy"

    def to(self, device: torch.device) -> Task:
        """The same task with its tensors on `device`."""
        moved = {name: getattr(self, name).to(device) for name in ("x_train", "y_train", "x_eval", "y_eval")}
        return Task(**{**vars(self), **moved})


SEQUENCE_FAMILIES = ("rnn", "transformer")
"""Families that read any data as sequences."""


def reading(model: Model) -> tuple[bool, int | None]:
    """How a model reads examples: whether as sequences, and of how many time steps where it says so."""
    return model.family in SEQUENCE_FAMILIES, model.sequence_length


def make_task(data: Data, directory: Path, model: Model | None = None) -> Task:
    """Load, check, standardise and convert the data set; `directory` is the config's folder.

    Generated sequences are standardised by feature, over all time steps; other data by every one of its features,
    before they are read as sequences.

    Args:
        model: what reads the data (see `reading`); an mlp if it doesn't matter.

    Raises:
        SettingError: data that cannot be used, or not in as many time steps.
    """
    as_sequence, steps = (False, None) if model is None else reading(model)
    generated = data.name in SEQUENCES
    arrays = load_arrays(data, directory, steps)
    x_train, x_eval = np.asarray(arrays.x_train, np.float64), np.asarray(arrays.x_eval, np.float64)
    if x_train.ndim == 3 and not generated:
        x_train, x_eval = x_train[:, None], x_eval[:, None]
    if data.standardize:
        over = (0, 1) if generated else (0,)
        mean, deviation = x_train.mean(axis=over), x_train.std(axis=over)
        constant = (x_train == x_train[(slice(1),) * len(over)]).all(axis=over)
        scale = np.where(constant | (deviation == 0), 1.0, deviation)
        x_train, x_eval = ((np.where(constant, 0.0, (x - mean) / scale)) for x in (x_train, x_eval))
    if as_sequence and not generated:
        x_train, x_eval = (as_sequences(x, steps, f"'{data.name}'") for x in (x_train, x_eval))
    flat = x_train.reshape(len(x_train), -1)
    classes = int(max(arrays.y_train.max(), arrays.y_eval.max())) + 1 if arrays.task == "multiclass" else 0
    y_train, y_eval = _targets(arrays.y_train, arrays.task), _targets(arrays.y_eval, arrays.task)
    setting = "data.factory" if data.name == "custom" else "data.path" if data.name == "npz" else "data.name"
    return Task(
        kind=arrays.task,
        x_train=_float32(x_train, setting, "x_train"),
        y_train=y_train if classes else _float32(y_train, setting, "y_train"),
        x_eval=_float32(x_eval, setting, "x_eval"),
        y_eval=y_eval if classes else _float32(y_eval, setting, "y_eval"),
        out_features=max(classes, 2) if classes else y_train.shape[1],
        input_second_moment=float(np.square(flat).mean()),
        input_variance=float(flat.var(axis=0).mean()),
    )


def _targets(y: Values, kind: str) -> Tensor:
    return torch.from_numpy(y.astype(np.int64) if kind == "multiclass" else y.astype(np.float64).reshape(len(y), -1))


def _float32(values: Values | Tensor, setting: str, name: str) -> Tensor:
    """What the networks see.

    Raises:
        SettingError: numbers that float32 doesn't hold.
    """
    tensor = torch.as_tensor(values).float()
    if not torch.isfinite(tensor).all():
        raise SettingError(setting, f"{name} holds numbers beyond float32's range, about 3.4e38; scale the data down")
    return tensor


def example_losses(kind: str, output: Tensor, target: Tensor) -> Tensor:
    """The loss of every example, [trial, example], from outputs [trial, example, output] and their targets.

    Cross-entropy, binary cross-entropy with logits (mean over labels) or squared error (mean over outputs); the
    mean over the batch is the trial's loss, as torch's losses have it.
    """
    if kind == "multiclass":
        return -torch.log_softmax(output.mT, 1).gather(1, target[:, None]).squeeze(1)
    target = target.to(output.dtype)
    if kind == "regression":
        return (output - target).square().mean(-1)
    losses = aligned(lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none"), output, target)
    return losses.mean(-1)


def training_signal(kind: str, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The trials' losses, [trial], and their derivative by the outputs, [trial, example, output], as autograd's."""
    examples = output.shape[1]
    if kind == "multiclass":
        by_class, own = torch.log_softmax(output.mT, 1), target[:, None]
        losses = -by_class.gather(1, own).squeeze(1)
        aligned_into(lambda z, out: torch.exp(z, out=out), by_class, by_class)
        by_class.mul_(1 / examples)
        by_class.scatter_add_(1, own, torch.full_like(own, -1 / examples, dtype=by_class.dtype))
        signal = by_class.mT
    elif kind == "regression":
        error = output - target
        losses = error.square().mean(-1)
        signal = error.mul_(2 / output.shape[-1]).div_(examples)
    else:
        losses = example_losses(kind, output, target)
        signal = aligned(torch.sigmoid, output).sub_(target).div_(output.shape[-1]).div_(examples)
    return losses.mean(1), signal


def loss_signal(kind: str, output: Tensor, target: Tensor) -> Tensor:
    """The derivative of every example's loss by its outputs, [trial, example, output], in the outputs' precision.

    Written out, so that an example that is classified well has a small signal, where autograd's p - 1 would be 0.
    """
    if kind == "regression":
        return 2 * (output - target) / output.shape[-1]
    if kind == "multiclass":
        own = target[:, None]
        rivals = torch.softmax(output.mT, 1).scatter(1, own, 0.0)
        return rivals.scatter(1, own, -rivals.sum(1, keepdim=True)).mT
    wrong = aligned(lambda z, y: torch.where(y > 0.5, -torch.sigmoid(-z), torch.sigmoid(z)), output, target)
    return wrong / output.shape[-1]


def metric(kind: str, output: Tensor, target: Tensor) -> Tensor:
    """Accuracy (over all labels for multilabel) or R^2 (mean over outputs) of each trial, [trial], float64.

    NaN where an output is; an output whose targets are constant has R^2 1 if it is met exactly and 0 otherwise.
    """
    if kind != "regression":
        right = _chosen(output) == target if kind == "multiclass" else (output > 0) == (target > 0.5)
        unknown = output.amax((1, 2)).isnan()
        return right.double().flatten(1).mean(-1).masked_fill_(unknown, math.nan)
    output, target = output.double(), target.double()
    residual = (output - target).square().sum(1)
    total = (target - target.mean(1, keepdim=True)).square().sum(1)
    constant = torch.where(residual == 0, 1.0, 0.0).to(residual)
    return torch.where(total == 0, constant, 1 - residual / total).mean(-1)


def _chosen(output: Tensor) -> Tensor:
    """`output.argmax(-1)`, the first of equal ones, [trial, example]: many times as fast where examples stand last."""
    by_class = output.mT
    classes = by_class.shape[1]
    from_last = torch.arange(classes, 0, -1, device=output.device).to(output.dtype)[:, None]
    greatest = torch.eq(by_class, by_class.amax(1, keepdim=True), out=torch.empty_like(by_class))
    return classes - greatest.mul_(from_last).amax(1).long()
