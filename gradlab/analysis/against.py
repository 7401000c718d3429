"""A run beside a reference: which networks stand in both, and what is different there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.analysis.contrasts import Cells, Difference
from gradlab.analysis.estimates import GeometricMean, Mean
from gradlab.analysis.factors import Grouping, factor_columns, group_trials, plain_cell
from gradlab.analysis.measures import Measure
from gradlab.analysis.telling import is_unread, telling
from gradlab.store.reading import Trials

SIGNIFICANT = 0.05
"""The family-wise error: all measures of all networks are judged together (Holm 1979)."""


@dataclass(frozen=True)
class Change:
    """One measure of one network, beside the reference's.

    Attributes:
        measure: its name.
        reference: the mean over the reference's seeds; `candidate` over the other's.
        difference: the second less the first, of log10 where means are geometric; its p is not corrected.
        p: the p-value corrected for all changes; None where there is none.
        verdict: `differs`, `alike` (no difference is shown), `identical` (seed by seed), or `unknown`.
    """

    measure: str
    reference: Mean | GeometricMean
    candidate: Mean | GeometricMean
    difference: Difference
    p: float | None
    verdict: str

    @property
    def geometric(self) -> bool:
        """Whether the means are geometric."""
        return isinstance(self.reference, GeometricMean)

    @property
    def is_one_seed(self) -> bool:
        """Whether a side has one seed only, which can't tell a difference from chance."""
        return self.difference.value is not None and min(self.reference.count, self.candidate.count) == 1


@dataclass(frozen=True)
class Against:
    """Two sets of trials side by side.

    Attributes:
        reference: what the one is called; `candidate` the other.
        keys: the factors that name a network.
        changed: factors that have one value throughout on either side, and another on the other.
        networks: the settings of those that stand on both sides.
        changes: `[network][measure]`.
        only_reference: the settings of networks that only the reference has; `only_candidate` likewise.
    """

    reference: str
    candidate: str
    keys: tuple[str, ...]
    changed: Mapping[str, tuple[Any, Any]]
    networks: tuple[Mapping[str, Any], ...]
    changes: tuple[tuple[Change, ...], ...]
    only_reference: tuple[Mapping[str, Any], ...]
    only_candidate: tuple[Mapping[str, Any], ...]

    @property
    def differing(self) -> list[int]:
        """The networks of which some measure differs."""
        return [place for place, row in enumerate(self.changes) if any(c.verdict == "differs" for c in row)]

    @property
    def identical(self) -> list[int]:
        """The networks of which every measure is the same seed by seed."""
        return [place for place, row in enumerate(self.changes) if all(c.verdict == "identical" for c in row)]

    @property
    def unknown(self) -> list[int]:
        """The networks of which nothing that isn't identical can be judged."""
        verdicts = [{change.verdict for change in row} - {"identical"} for row in self.changes]
        return [place for place, found in enumerate(verdicts) if found == {"unknown"}]

    @property
    def one_seed(self) -> list[int]:
        """Of the unknown networks those with a difference that a second seed on either side could judge."""
        return [
            place
            for place in self.unknown
            if any(c.verdict == "unknown" and c.is_one_seed for c in self.changes[place])
        ]


def beside(
    trials: Trials, measures: Sequence[Measure], is_reference: Any, reference: str, candidate: str,
    by: Sequence[str] | None = None,
) -> Against:  # fmt: skip
    """Compare trials with reference trials network by network.

    A network is known by the factors that vary on either side; a factor that has one value on each side may differ
    between them: that is what is compared. Seeds that stand on both sides are compared with themselves.

    Args:
        trials: of both sides.
        measures: of these trials.
        is_reference: `[trial]`, whether it is the reference's.
        reference: what to call it; `candidate` likewise.
        by: the factors that name a network; those that vary if None.
    """
    frame = trials.frame
    changed: dict[str, tuple[Any, Any]] = {}
    keys: list[str] = []
    common: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for name in factor_columns(frame):
        here, there = (
            {plain_cell(cell, name) for cell in frame[name][mask].tolist()} for mask in (is_reference, ~is_reference)
        )
        for side, values in zip(common, (here, there), strict=True):
            side |= {name: next(iter(values))} if len(values) == 1 else {}
        if len(here) > 1 or len(there) > 1:
            keys.append(name)
        elif here != there:
            changed[name] = (here.pop(), there.pop())
    changed = _said(changed, common)
    keys = list(telling(keys, group_trials(frame).settings)) if by is None else list(by)
    grouping = group_trials(frame, keys)
    in_reference, in_candidate = grouping.count(is_reference), grouping.count(~is_reference)
    both = np.flatnonzero((in_reference > 0) & (in_candidate > 0)).tolist()
    sides = [_side(measures, grouping, mask) for mask in (is_reference, ~is_reference)]
    rows = [
        [
            (
                measure,
                sides[0][m][group],
                sides[1][m][group],
                _difference(measure, grouping, group, trials.seeds, is_reference),
            )
            for m, measure in enumerate(measures)
        ]
        for group in both
    ]
    return Against(
        reference,
        candidate,
        tuple(keys),
        changed,
        tuple(grouping.settings[group] for group in both),
        _judged(rows),
        *(
            tuple(grouping.settings[group] for group in np.flatnonzero((here > 0) & (there == 0)))
            for here, there in ((in_reference, in_candidate), (in_candidate, in_reference))
        ),
    )


def _said(
    changed: Mapping[str, tuple[Any, Any]], common: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> dict[str, tuple[Any, Any]]:
    """What differs, without what one side has not because it doesn't read it, where something else differs too.

    Args:
        common: the settings that are one throughout on each side.
    """
    plain = {name: pair for name, pair in changed.items() if not any(is_unread(side, name) for side in common)}
    return plain or dict(changed)


_Row = tuple[Measure, Mean | GeometricMean, Mean | GeometricMean, tuple[Difference, bool]]


def _side(measures: Sequence[Measure], grouping: Grouping, mask: Any) -> list[Any]:
    chosen = Grouping(grouping.codes[mask], grouping.settings, grouping.varying)
    return [measure.take(mask).over_seeds(chosen) for measure in measures]


def _difference(
    measure: Measure, grouping: Grouping, group: int, seeds: Any, is_reference: Any
) -> tuple[Difference, bool]:
    """The difference of a group's candidates from its references, and whether all are equal seed by seed."""
    members = grouping.members[group]
    identical = _pairs(measure, members[is_reference[members]], seeds) == _pairs(
        measure, members[~is_reference[members]], seeds
    )
    members = members[np.isfinite(measure.numbers[members])]
    cell = (~is_reference[members]).astype(np.int64)
    if len(np.unique(cell)) < 2:
        return Difference(None), identical
    compact = np.unique(seeds[members], return_inverse=True)[1].reshape(-1)
    cells = Cells(cell, compact, measure.numbers[members], 2)
    found = cells.difference(np.array([-1.0, 1.0]))
    return (found if cells.count.min() > 1 else Difference(found.value)), identical


def _pairs(measure: Measure, members: Any, seeds: Any) -> list[tuple[int, float]]:
    """Seeds and what they have; nothing can be said of what was never measured."""
    values = measure.exact[members]
    return sorted(zip(seeds[members].tolist(), np.nan_to_num(values, nan=np.inf).tolist(), strict=True))


def _judged(rows: Sequence[Sequence[_Row]]) -> tuple[tuple[Change, ...], ...]:
    flat = [row for network in rows for row in network]
    known = sorted((row[3][0].p, place) for place, row in enumerate(flat) if row[3][0].p is not None and not row[3][1])
    corrected: dict[int, float] = {}
    largest = 0.0
    for done, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - done)))
        corrected[place] = largest
    changes = [
        Change(
            measure.name, one, other, difference, corrected.get(place), _verdict(one, other, same, corrected.get(place))
        )
        for place, (measure, one, other, (difference, same)) in enumerate(flat)
    ]
    width = len(rows[0]) if rows else 0
    return tuple(tuple(changes[start : start + width]) for start in range(0, len(changes), width or 1))


def _verdict(one: Mean | GeometricMean, other: Mean | GeometricMean, identical: bool, p: float | None) -> str:
    if isinstance(one, GeometricMean) and isinstance(other, GeometricMean):
        zero = one.log10 == -np.inf, other.log10 == -np.inf
        if zero[0] != zero[1] and None not in (one.log10, other.log10):
            return "differs"
        unknown = (one.log10 is None and other.log10 is None) or (one.zeros != other.zeros and not _small(p))
    else:
        unknown = one.count == 0 and other.count == 0
    if unknown:
        return "unknown"
    if identical:
        return "identical"
    return "unknown" if p is None else "differs" if _small(p) else "alike"


def _small(p: float | None) -> bool:
    return p is not None and p < SIGNIFICANT
