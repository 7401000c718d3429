"""How deep theory lets a network be, over whatever else was varied (Schoenholz et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlab.theory.depth_scale import TRAINABLE_DEPTH_SCALES, depth_scale

CURVE_LABEL = f"{TRAINABLE_DEPTH_SCALES:g} depth scales (mean-field theory)"

_POINTS = 400
"""Points of a curve over an axis of numbers: enough for its peak at the critical point to stand out."""


def deepest_trainable(log10_decay: float) -> float:
    """The depth at which the squared gradient has changed by e^6 between the last hidden layer and the first.

    Args:
        log10_decay: of the predicted factor by which the gradient changes per layer.

    Returns:
        1 + 6 xi; inf at the critical point, NaN where nothing is predicted.
    """
    if math.isnan(log10_decay):
        return math.nan
    return 1 + TRAINABLE_DEPTH_SCALES * depth_scale(float(np.power(10.0, min(2 * log10_decay, 300.0))))


def limit_curve(x: Sequence[float | str], log10_decay: Sequence[float], numeric: bool) -> pd.DataFrame:
    """The curve of `deepest_trainable`, columns `x` and `y`, without points where it is infinite or unknown.

    Between numbers the logarithm of the predicted decay is interpolated linearly: it passes 0, where any depth can be
    trained, between an x at which gradients vanish and one at which they explode.

    Args:
        x: rising, or names.
        log10_decay: predicted at each.
    """
    places: npt.NDArray[np.float64] | Sequence[float | str] = x
    decays = np.asarray(log10_decay, np.float64)
    if numeric and np.isfinite(decays).sum() > 1:
        known = np.isfinite(decays)
        at = np.asarray(x, np.float64)[known]
        places = np.unique(np.concatenate([at, np.linspace(at[0], at[-1], _POINTS)]))
        decays = np.interp(places, at, decays[known])
    depths = np.array([deepest_trainable(float(decay)) for decay in decays])
    finite = np.isfinite(depths)
    return pd.DataFrame({"x": pd.Series(places)[finite], "y": depths[finite]}).reset_index(drop=True)
