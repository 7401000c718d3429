"""Baseline and new measurement in, a verdict for every statistic out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gradlab.analysis.gate.change import INCONCLUSIVE, NOT_A_NUMBER, REGRESSION, SAME, Change
from gradlab.analysis.gate.matching import matches, seeds_pair_up
from gradlab.analysis.gate.resampling import LEVEL, MaxTest
from gradlab.analysis.gate.samples import Column, Reals, Sample, known, samples, tested
from gradlab.analysis.gate.spread import interval
from gradlab.analysis.gate.structure import missing, notes
from gradlab.config.schema import Check
from gradlab.store.measurement import WHOLE_NETWORK, Measurement


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison.

    Attributes:
        changes: every statistic that was compared or is missing, the worst first.
        paired: whether seeds were compared one by one; otherwise their distributions were.
        exact: whether the test tried all arrangements of the seeds.
        notes: what the numbers don't say: new networks and layers, statistics that are no longer measured.
    """

    changes: tuple[Change, ...]
    paired: bool
    exact: bool
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """regression if any change is one, else inconclusive if any is, else pass."""
        found = {change.verdict for change in self.changes}
        return next((word for word in (REGRESSION, INCONCLUSIVE) if word in found), SAME)

    def of(self, verdict: str) -> list[Change]:
        """The changes of one verdict, the worst first."""
        return [change for change in self.changes if change.verdict == verdict]


def thresholds(settings: Check) -> dict[str, float]:
    """Statistic -> the change that matters."""
    return settings.model_dump(exclude={"seeds"})


def judge(baseline: Measurement, now: Measurement, thresholds: Mapping[str, float]) -> Verdict:
    """Compare two measurements.

    A statistic regresses where its change is significant, at a family-wise error below 1 % over everything that is
    compared, and large enough to matter; or where it is no number any more, or is not there.

    Args:
        thresholds: statistic -> the ratio of means, or the difference of shares, that matters.
    """
    both, gone, added = matches(baseline, now)
    paired = seeds_pair_up(baseline, now, both)
    changes = list(missing(both, gone))
    compared = [sample for match in both for sample in samples(match, thresholds)]
    exact = True
    if compared:
        columns = [sample.columns(paired) for sample in compared]
        test = tested([column for own in columns for column in own], paired)
        exact = test.exact
        starts = itertools.accumulate(map(len, columns), initial=0)
        for sample, own, start in zip(compared, columns, starts, strict=False):
            changes.append(_change(sample, dict(enumerate(own, start)), test, paired))
    return Verdict(tuple(sorted(changes, key=_worst_first)), paired, exact, tuple(notes(both, added)))


def _change(sample: Sample, columns: Mapping[int, Column], test: MaxTest, paired: bool) -> Change:
    """What became of a statistic, given its columns by their places in the test."""
    match, key = sample.match, sample.key
    old, new = sample.averaged(paired)
    low, high = interval(old, new, paired)
    if not (len(known(old)) and len(known(new))):
        old, new = sample.old, sample.new
    change = Change(
        network=match.baseline.settings,
        key=key,
        name="" if key.layer == WHOLE_NETWORK else match.now.layers[match.layers[key.layer] - 1],
        step=match.baseline.steps.get(key.step),
        baseline=_mean(old),
        now=_mean(new),
        low=low,
        high=high,
        p=float(test.p[min(columns)]),
        threshold=sample.threshold,
        verdict=SAME,
        zeros=sample.zeros,
    )
    if sample.lost_numbers(paired):
        return replace(change, verdict=REGRESSION, reason=NOT_A_NUMBER, p=None)
    large = [place for place, column in columns.items() if column.large]
    if not large:
        return change
    place = min(large, key=lambda place: float(test.p[place]))
    p = float(test.p[place])
    if p <= LEVEL:
        return replace(change, verdict=REGRESSION, p=p)
    return replace(change, verdict=INCONCLUSIVE, p=p, seeds_needed=_seeds_needed(test, place, len(sample.new)))


def _mean(values: Reals) -> float | None:
    """The mean over the seeds with a finite value; -inf where all that is known is 0."""
    finite = known(values)
    if len(finite):
        return float(finite.mean())
    return -math.inf if (values == -math.inf).any() else None


def _seeds_needed(test: MaxTest, place: int, seeds: int) -> int | None:
    """About how many seeds would make it significant, if the change is what it seems: the statistic grows as sqrt."""
    if test.observed[place] <= 0:
        return None
    return max(seeds + 2, math.ceil(seeds * (test.critical / float(test.observed[place])) ** 2))


def _worst_first(change: Change) -> tuple[int, float, float, int]:
    """What is equally bad but for rounding stands in the order of steps and layers."""
    rank = (REGRESSION, INCONCLUSIVE, SAME).index(change.verdict)
    step = math.inf if change.step is None else change.step
    return (rank, -round(change.severity, 3), step, change.key.layer)
