"""Does theory agree with what was measured?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.analysis.estimates import GeometricMeans
from gradlab.analysis.summary import Summary

CLOSE = 0.05
"""Measured and predicted decay within so much of each other are called close; finite width alone makes per cents."""


@dataclass(frozen=True)
class Agreement:
    """Measured gradient decay beside mean-field theory's.

    Attributes:
        groups: those for which both are known.
        close: of these, those within `CLOSE`.
        furthest: the group where they are furthest apart; None where there is none.
        log10_ratio: of measured to predicted decay there.
    """

    groups: int
    close: int
    furthest: int | None = None
    log10_ratio: float | None = None


def agreement_of(summary: Summary) -> Agreement:
    """Compare the decays of a summary's groups; theory speaks of single networks at step 0 only."""
    if summary.by is not None or summary.when not in (None, "first", 0):
        return Agreement(0, 0)
    return agreement(*decays(summary), summary.places)


def decays(summary: Summary) -> tuple[GeometricMeans, GeometricMeans]:
    """`[group]` each, the measured gradient decay and the predicted one."""
    codes, size, measured = summary.grouping.codes, summary.grouping.size, summary.measured
    return measured.decay.means(codes, size), measured.predicted_decay.means(codes, size)


def agreement(measured: GeometricMeans, predicted: GeometricMeans, places: Sequence[int]) -> Agreement:
    """Compare decays, group by group.

    Args:
        places: the groups to look at.
    """
    chosen = np.asarray(places, np.int64)
    with np.errstate(invalid="ignore"):
        apart = measured.log10[chosen] - predicted.log10[chosen]
    known = np.isfinite(apart)
    if not known.any():
        return Agreement(0, 0)
    furthest = int(np.argmax(np.where(known, np.abs(apart), -1.0)))
    close = int((np.abs(apart[known]) <= np.log10(1 + CLOSE)).sum())
    return Agreement(int(known.sum()), close, int(chosen[furthest]), float(apart[furthest]))
