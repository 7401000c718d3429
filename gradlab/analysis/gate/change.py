"""One statistic of a check, before and now, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradlab.store.measurement import Key, is_logarithmic

REGRESSION, INCONCLUSIVE, SAME = "regression", "inconclusive", "pass"
"""Verdicts: large and significant; large, but perhaps chance; neither."""

MISSING, NOT_A_NUMBER = "missing", "not a number"
"""Reasons for a regression that needs no test."""


@dataclass(frozen=True)
class Change:
    """A statistic of one layer of one network at a named step, over the seeds.

    Norms and losses are log10 of geometric means over the seeds in which they are neither 0 nor infinite, `-inf` where
    they are 0 in all; shares are arithmetic means.

    Attributes:
        network: the swept settings of its network.
        key: the named step, the statistic, and the layer's number (0: the whole network).
        name: of the layer, as it is called now.
        step: the number of the step; None for what belongs to no step.
        baseline, now: None where there is none.
        low, high: the 95 % interval of `now` less `baseline`.
        p: the family-wise adjusted p-value; None where no test was needed or none was possible.
        threshold: how far `now` must be from `baseline` to matter (of a logarithm: log10 of the ratio).
        verdict: regression, inconclusive or pass.
        reason: why it is a regression without a test; empty otherwise.
        zeros: how many seeds had an exact 0 in the baseline, and have now.
        seeds_needed: about how many seeds would settle it, where it is inconclusive.
    """

    network: Mapping[str, Any]
    key: Key
    name: str
    step: int | None
    baseline: float | None
    now: float | None
    low: float | None
    high: float | None
    p: float | None
    threshold: float
    verdict: str
    reason: str = ""
    zeros: tuple[int, int] = (0, 0)
    seeds_needed: int | None = None

    @property
    def logarithmic(self) -> bool:
        """Whether it is compared by ratios, not by differences."""
        return is_logarithmic(self.key.statistic)

    @property
    def shift(self) -> float:
        """`now` less `baseline`: the log10 of their ratio, or the difference of shares; inf from 0 to another value."""
        if self.baseline is None or self.now is None:
            return math.nan
        return 0.0 if self.baseline == self.now else self.now - self.baseline

    @property
    def severity(self) -> float:
        """How many times its threshold it changed; inf for what is missing or no number."""
        return math.inf if self.reason or math.isnan(self.shift) else abs(self.shift) / self.threshold
