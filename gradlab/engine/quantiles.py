"""Quantiles of activations, before training and at its end: how a layer's units are spread (Glorot & Bengio 2010)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = {f"activation_q{percent:02d}": percent / 100 for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99)}
"""Column of the layers table -> the share of activations that lies below it."""

VALUES = 1 << 13
"""Activations of a layer that are put in order, at most: the first examples of the probe that make so many."""


def examples_for(values: int) -> int:
    """How many examples are looked at, where each makes so many values."""
    return max(1, VALUES // values)


def quantiles(values: Tensor) -> Tensor:
    """The quantiles of each row, [level, row], float64, of values [row, value]; linear between neighbours.

    As `numpy.quantile` has them; NaN in a row with a NaN.
    """
    if values.device.type == "cpu":
        ordered = torch.from_numpy(np.sort(values.numpy(), axis=1))  # ten times as fast as torch's
    else:
        ordered = torch.sort(values, dim=1).values
    places = torch.tensor(list(LEVELS.values()), dtype=torch.float64, device=values.device) * (values.shape[1] - 1)
    below = places.floor().long()
    above = places.ceil().long()
    lower, upper = ordered[:, below].double(), ordered[:, above].double()
    between = torch.where(lower == upper, 0.0, (upper - lower) * (places - below))
    spread = (lower + between) + 0.0  # no -0.0, which stands anywhere among zeros
    return torch.where(ordered[:, -1:].isnan(), torch.nan, spread).mT  # a NaN stands last
