"""The data sets: arrays by name, generated or shipped with scikit-learn, from an .npz or the user's own factory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.config.schema import DEFAULT_SEQUENCE_LENGTH, Data
from gradlab.engine import sequences, shipped
from gradlab.engine.archives import CONVERTED, read_npz
from gradlab.engine.memory import available, require
from gradlab.engine.splits import split_indices
from gradlab.engine.user_code import RAISED, describe, load_function
from gradlab.errors import SettingError

ARRAYS = ("x_train", "y_train", "x_eval", "y_eval")
TASKS = ("multiclass", "binary", "multilabel", "regression")

Array = NDArray[Any]


@dataclass(frozen=True)
class Arrays:
    """A data set, split: features [example, feature...] and targets [example] or [example, output].

    Generated sequences are [example, time, feature]; other examples of two dimensions are images of one channel.
    """

    x_train: Array
    y_train: Array
    x_eval: Array
    y_eval: Array
    task: str


def load_arrays(data: Data, directory: Path, sequence_length: int | None = None) -> Arrays:
    """The data set that `data` names. Paths are relative to `directory`.

    Args:
        sequence_length: time steps of generated sequences.

    Raises:
        SettingError: a file, array or label that cannot be used, named with its remedy.
    """
    try:
        return _load(data, directory, sequence_length or DEFAULT_SEQUENCE_LENGTH)
    except SettingError as error:
        if error.setting in {"data.path", "data.factory"}:
            error.value = data.path or data.factory
        raise


def _load(data: Data, directory: Path, steps: int) -> Arrays:
    if data.name == "npz":
        return checked(read_npz(directory / str(data.path), ARRAYS), str(data.task), "data.path")
    if data.name == "custom":
        return _from_factory(data, directory)
    _require_room(data, steps)
    if data.name in _SEQUENCES:
        return _split(data, *_SEQUENCES[data.name](data, steps))
    x, y, task = _GENERATORS[data.name](data)
    if data.name == "diabetes":
        return _standardised_targets(_split(data, x, y, task))
    return _split(data, x, y, task)


def _require_room(data: Data, steps: int) -> None:
    """Refuse to generate more than there is memory for.

    Raises:
        MachineError: with the numbers.
    """
    features = {
        "gaussian": int(data.n_features or 0),
        "multilabel": int(data.n_features or 0) + 3 * int(data.n_labels or 0),
        "adding": 2 * steps,
        "delayed_recall": steps * (int(data.n_symbols or 0) + sequences.DISTRACTORS + 1),
    }.get(data.name, 2)
    count = int(data.n_samples or 0)
    told = f"data set '{data.name}' of {count:,} examples with {features:,} numbers each"
    remedy = "make data.n_samples or the size of an example smaller"
    require(count * features * (8 + CONVERTED), told, remedy, available())


def _digits(_data: Data) -> tuple[Array, Array, str]:
    return *shipped.digits(), "multiclass"


def _breast_cancer(_data: Data) -> tuple[Array, Array, str]:
    return *shipped.breast_cancer(), "binary"


def _diabetes(_data: Data) -> tuple[Array, Array, str]:
    return *shipped.diabetes(), "regression"


def _moons(data: Data) -> tuple[Array, Array, str]:
    """Two interleaving half circles, those of scikit-learn's `make_moons`."""
    random = np.random.RandomState(data.split_seed)
    count = int(data.n_samples or 0)
    outer, inner = (np.linspace(0, math.pi, size) for size in (count // 2, count - count // 2))
    # Features stand one after the other in memory, as in the original: sums over examples round by that.
    x = np.stack([np.append(np.cos(outer), 1 - np.cos(inner)), np.append(np.sin(outer), 1 - np.sin(inner) - 0.5)]).T
    y = np.repeat([0, 1], [len(outer), len(inner)])
    order = np.arange(count)
    random.shuffle(order)
    x, y = x[order], y[order]
    return x + random.normal(scale=float(data.noise or 0), size=x.shape), y, "binary"


def _spirals(data: Data) -> tuple[Array, Array, str]:
    random = np.random.default_rng(data.split_seed)
    count = int(data.n_samples or 0)
    y = np.arange(count) % 2
    radius = np.sqrt(random.uniform(0.02, 1, count))
    angle = 2 * math.pi * float(data.turns or 0) * radius + math.pi * y
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x + float(data.noise or 0) * random.standard_normal(x.shape), y, "binary"


def _gaussian(data: Data) -> tuple[Array, Array, str]:
    random = np.random.default_rng(data.split_seed)
    y = np.arange(int(data.n_samples or 0)) % 2
    direction = random.standard_normal(int(data.n_features or 0))
    direction *= float(data.separation or 0) / (2 * np.linalg.norm(direction))
    x = random.standard_normal((len(y), len(direction))) + np.where(y[:, None] == 1, direction, -direction)
    return x, y, "binary"


def _multilabel(data: Data) -> tuple[Array, Array, str]:
    random = np.random.default_rng(data.split_seed)
    features, labels = int(data.n_features or 0), int(data.n_labels or 0)
    x = random.standard_normal((int(data.n_samples or 0), features))
    scores = np.tanh(x @ random.standard_normal((features, 2 * labels)) / math.sqrt(features))
    scores = scores @ random.standard_normal((2 * labels, labels))
    return x, (scores > np.median(scores, axis=0)).astype(np.int64), "multilabel"


def _adding(data: Data, steps: int) -> tuple[Array, Array, str]:
    return *sequences.adding(int(data.n_samples or 0), steps, int(data.split_seed or 0)), "regression"


def _delayed_recall(data: Data, steps: int) -> tuple[Array, Array, str]:
    count, symbols = int(data.n_samples or 0), int(data.n_symbols or 0)
    return *sequences.delayed_recall(count, symbols, steps, int(data.split_seed or 0)), "multiclass"


_GENERATORS = {
    "digits": _digits,
    "breast_cancer": _breast_cancer,
    "diabetes": _diabetes,
    "moons": _moons,
    "spirals": _spirals,
    "gaussian": _gaussian,
    "multilabel": _multilabel,
}

_SEQUENCES = {"adding": _adding, "delayed_recall": _delayed_recall}


def _split(data: Data, x: Array, y: Array, task: str) -> Arrays:
    classes = y if task in {"multiclass", "binary"} else None
    try:
        train, held_out = split_indices(len(x), float(data.eval_fraction or 0), int(data.split_seed or 0), classes)
    except ValueError as error:
        raise SettingError("data.eval_fraction", str(error)) from error
    return Arrays(x[train], y[train], x[held_out], y[held_out], task)


def _standardised_targets(arrays: Arrays) -> Arrays:
    mean, deviation = arrays.y_train.mean(), arrays.y_train.std()
    scaled = {name: (getattr(arrays, name) - mean) / deviation for name in ("y_train", "y_eval")}
    return replace(arrays, **scaled)


def _from_factory(data: Data, directory: Path) -> Arrays:
    factory = load_function("data.factory", str(data.factory), directory)
    try:
        made = factory(**(data.kwargs or {}))
    except RAISED as error:
        raise SettingError("data.factory", f"it raised {describe(error)}") from error
    if not isinstance(made, Mapping) or set(made) != {*ARRAYS, "task"}:
        raise SettingError("data.factory", f"must return a dict with the keys {', '.join(ARRAYS)} and task")
    try:
        arrays = {name: np.asarray(made[name]) for name in ARRAYS}
    except ValueError as error:
        raise SettingError("data.factory", f"must return arrays: {error}") from error
    elements = sum(array.size for array in arrays.values())
    require(CONVERTED * elements, f"data.factory: what it made, {elements:,} numbers,", "make less", available())
    return checked(arrays, str(made["task"]), "data.factory")


def checked(arrays: Mapping[str, Array], task: str, setting: str) -> Arrays:
    """`arrays` as a data set, once they are sure to make sense for `task`; the error names `setting`.

    Raises:
        SettingError: wrong types or shapes, no examples, NaN or inf, labels that are none of the classes.
    """
    if task not in TASKS:
        raise SettingError(setting, f"task must be one of {', '.join(TASKS)}, not '{task}'")
    for name in ARRAYS:
        array = arrays[name]
        if array.dtype.kind not in "fiub":
            raise SettingError(setting, f"{name} must hold numbers, not {array.dtype}")
        if array.size == 0 or array.ndim == 0:
            raise SettingError(setting, f"{name} is empty")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise SettingError(setting, f"{name} holds NaN or inf")
    for split in ("train", "eval"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if len(x) != len(y):
            raise SettingError(setting, f"x_{split} has {len(x)} examples, y_{split} has {len(y)}")
        if x.ndim not in {2, 3, 4}:
            raise SettingError(
                setting,
                f"x_{split} must be [example, feature], [example, height, width] or "
                f"[example, channel, height, width], not {x.ndim}-dimensional",
            )
    if arrays["x_train"].shape[1:] != arrays["x_eval"].shape[1:]:
        raise SettingError(setting, "examples of x_train and x_eval differ in shape")
    targets = {name: _checked_targets(arrays[name], task, setting, name) for name in ("y_train", "y_eval")}
    if task == "multiclass":
        _check_classes(targets["y_train"], targets["y_eval"], setting)
    if targets["y_train"].shape[1:] != targets["y_eval"].shape[1:]:
        raise SettingError(setting, "y_train and y_eval differ in their number of outputs")
    return Arrays(arrays["x_train"], targets["y_train"], arrays["x_eval"], targets["y_eval"], task)


def _check_classes(y_train: Array, y_eval: Array, setting: str) -> None:
    """Classes are 0 to the largest label of both splits, and the network has an output for each of them.

    More of them than training examples are labels of another kind, such as years or numbers of articles.
    """
    largest = max((int(y.max()), name) for y, name in ((y_train, "y_train"), (y_eval, "y_eval")))
    if largest[0] >= len(y_train):
        told = f"{largest[1]} holds class {largest[0]:,}, and there are {len(y_train):,} training examples"
        raise SettingError(setting, f"{told}, fewer than classes; number the classes 0, 1, 2, ...")


def _checked_targets(y: Array, task: str, setting: str, name: str) -> Array:
    if y.ndim > 2 or (y.ndim == 2 and y.shape[1] > 1 and task in {"multiclass", "binary"}):
        raise SettingError(setting, f"{name} has shape {list(y.shape)}, which does not fit a {task} task")
    if task == "multiclass":
        y = y.reshape(-1)
        if not np.array_equal(y, np.floor(y)) or y.min() < 0 or y.max() >= 10**6:
            raise SettingError(setting, f"{name} must hold classes 0, 1, 2, ...")
        return y.astype(np.int64)
    if task in {"binary", "multilabel"} and not np.isin(y, (0, 1)).all():
        raise SettingError(setting, f"{name} must hold 0 and 1 only")
    return y
