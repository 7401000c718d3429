"""Sequences [example, time, feature]: generated ones, in which something early matters late, and other data as such."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.errors import SettingError

Array = NDArray[Any]

LENGTH = "model.sequence_length"

DISTRACTORS = 2
"""Symbols that stand between the one to be recalled and the cue."""


def adding(count: int, steps: int, seed: int) -> tuple[Array, Array]:
    """The adding problem (Hochreiter & Schmidhuber 1997, experiment 4, with the values that later work takes).

    Each time step has a value, uniform in [0, 1), and a marker: 1 at one time step in each half of the sequence, else
    0. The target is the sum of the two marked values; always saying 1 has a mean squared error of 1/6.

    Returns:
        Features [example, time, 2] and targets [example].

    Raises:
        SettingError: fewer than 2 time steps.
    """
    _at_least(2, steps, "adding")
    random = np.random.default_rng(seed)
    values = random.random((count, steps))
    halves = random.integers(0, steps // 2, count), random.integers(steps // 2, steps, count)
    markers = np.zeros_like(values)
    for half in halves:
        markers[np.arange(count), half] = 1.0
    return np.stack([values, markers], axis=2), (values * markers).sum(axis=1)


def delayed_recall(count: int, symbols: int, steps: int, seed: int) -> tuple[Array, Array]:
    """A symbol at the first time step, random distractors after it, and a cue at the last: which symbol was it?

    Returns:
        One-hot features [example, time, symbols + distractors + cue] and classes [example], as many of each.

    Raises:
        SettingError: fewer than 2 time steps.
    """
    _at_least(2, steps, "delayed_recall")
    random = np.random.default_rng(seed)
    y = np.arange(count) % symbols
    shown = symbols + random.integers(0, DISTRACTORS, (count, steps))
    shown[:, 0], shown[:, -1] = y, symbols + DISTRACTORS
    return np.eye(symbols + DISTRACTORS + 1)[shown], y


def as_sequences(x: Array, steps: int | None, data: str) -> Array:
    """Examples of any shape as sequences, [example, time, feature].

    Images [example, channel, height, width] are read row by row: a time step is a row of all channels, one after the
    other. Flat features [example, feature] make one time step each. With `steps`, all that is read is cut into that
    many time steps.

    Raises:
        SettingError: `steps` doesn't divide the features of an example; `data` is what its message calls them.
    """
    rows = x.transpose(0, 2, 1, 3).reshape(len(x), x.shape[2], -1) if x.ndim == 4 else x[:, :, None]
    if steps is None:
        return rows
    features = rows[0].size
    if features % steps:
        message = f"must divide the {features} features of an example of {data}, which it cuts into time steps"
        raise SettingError(LENGTH, f"{message} (it is {steps})", steps)
    return rows.reshape(len(x), steps, -1)


def _at_least(least: int, steps: int, data: str) -> None:
    if steps < least:
        raise SettingError(LENGTH, f"must be at least {least} where data.name is '{data}' (it is {steps})", steps)
