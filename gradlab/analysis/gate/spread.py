"""The 95 % interval of a change."""

from __future__ import annotations

import math

import numpy as np

from gradlab.analysis.estimates import CONFIDENCE
from gradlab.analysis.gate.samples import Reals, known


def interval(old: Reals, new: Reals, paired: bool) -> tuple[float | None, float | None]:
    """The 95 % t interval of mean(new) - mean(old) over finite values, paired or Welch's; None where there is none.

    Args:
        old, new: `[seed]`.
    """
    from scipy.special import stdtrit  # here, because `gradlab --help` has no use for it

    if paired:
        both = np.isfinite(old) & np.isfinite(new)
        gaps = new[both] - old[both]
        if len(gaps) < 2:
            return None, None
        center, error, freedom = gaps.mean(), gaps.std(ddof=1) / math.sqrt(len(gaps)), len(gaps) - 1.0
    else:
        old, new = known(old), known(new)
        if min(len(old), len(new)) < 2:
            return None, None
        parts = [old.var(ddof=1) / len(old), new.var(ddof=1) / len(new)]
        center, error = new.mean() - old.mean(), math.sqrt(sum(parts))
        weights = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (old, new), strict=True))
        freedom = sum(parts) ** 2 / weights if weights > 0 else len(old) + len(new) - 2.0
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    return float(center - half), float(center + half)
