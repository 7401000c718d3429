"""What made the difference: how much each factor moves a measure, and which two depend on each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradlab.analysis.contrasts import Cells, Design, Difference
from gradlab.analysis.estimates import Reals
from gradlab.analysis.factors import Grouping
from gradlab.analysis.levels import Factor, factors_of
from gradlab.analysis.measures import Measure
from gradlab.store.reading import Trials

SIGNIFICANT = 0.05
"""Where a p-value, times the number of differences looked at, is below this, an effect is called clear."""

MOST_PRODUCTS = 400
"""Two factors with more pairs of levels than this are not asked for an interaction: it would be one of thousands."""

MEASURES = ("decay", "dead_fraction", "metric")
"""The measures whose effects are shown unless others are asked for."""


@dataclass(frozen=True)
class LevelEffect:
    """What a level does to a measure, the other factors held equal.

    Attributes:
        level: the setting.
        difference: of the measure's mean from that at the factor's first level, in log10 where means are geometric.
    """

    level: Any
    difference: Difference


@dataclass(frozen=True)
class FactorEffect:
    """What a factor does to a measure.

    Attributes:
        factor: its name.
        reference: its first level.
        levels: the others.
        share: of the variance between the cells' means, without what chance between seeds would make of it.
    """

    factor: str
    reference: Any
    levels: tuple[LevelEffect, ...]
    share: float

    @property
    def clear_levels(self) -> list[LevelEffect]:
        """The levels that make a difference that is more than chance."""
        judged = [(level, level.difference.p) for level in self.levels if level.difference.p is not None]
        return [level for level, p in judged if p * len(judged) < SIGNIFICANT]

    @property
    def clear(self) -> bool:
        """Whether some level makes a difference that is more than chance."""
        return bool(self.clear_levels)

    @property
    def largest(self) -> LevelEffect | None:
        """The level that differs the most, of those that clearly do if any does."""
        known = [level for level in self.levels if level.difference.value is not None]
        return max(self.clear_levels or known, key=lambda level: abs(level.difference.value or 0.0), default=None)

    @property
    def judged(self) -> bool:
        """Whether some level's difference has an interval."""
        return any(level.difference.p is not None for level in self.levels)

    @property
    def known(self) -> bool:
        """Whether some level can be told apart from those of other factors."""
        return any(level.difference.value is not None for level in self.levels)


@dataclass(frozen=True)
class Interaction:
    """Two factors of which one moves the measure otherwise at another level of the other.

    Attributes:
        mover: the one; it goes from level `start` to `end`.
        other: the other, at level `here` and at `there`.
        effect_here: what the move does to the measure where `other` is `here`; `effect_there` likewise.
        difference: the second less the first.
        p: of no difference, times the number of such differences between any two factors; None without an interval.
        share: of the variance between the cells' means that both factors have beyond their own effects.
    """

    mover: str
    start: Any
    end: Any
    other: str
    here: Any
    there: Any
    effect_here: float
    effect_there: float
    difference: Difference
    p: float | None
    share: float

    @property
    def clear(self) -> bool:
        """Whether it is more than chance."""
        return self.p is not None and self.p < SIGNIFICANT


@dataclass(frozen=True)
class MeasureEffects:
    """What every factor does to one measure.

    Attributes:
        measure: its name.
        geometric: whether differences are those of log10.
        factors: those with the largest share first.
        interaction: the strongest; None where no two factors are crossed, or have too many levels.
        left_out: trials whose value is unknown, 0 (of a geometric mean) or infinite.
        trials: all of them.
        notes: on factors without effects.
    """

    measure: str
    geometric: bool
    factors: tuple[FactorEffect, ...]
    interaction: Interaction | None
    left_out: int
    trials: int
    notes: tuple[str, ...] = ()


def effects(
    trials: Trials, grouping: Grouping, measures: Sequence[Measure], by: Sequence[str] | None = None
) -> tuple[MeasureEffects, ...]:
    """The effects on each measure; none where nothing varies.

    A cell is a combination of all factors, its mean that over its seeds. Main effects are differences between levels in
    the additive least-squares fit of the cells' means, every cell counting the same.

    Args:
        grouping: of the trials by all factors.
        by: the factors to tell of; all that vary if None. The others are held equal all the same.
    """
    layouts: dict[bytes, _Layout] = {}
    found = []
    for measure in measures:
        known = np.isfinite(measure.numbers)
        used, cell = np.unique(grouping.codes[known], return_inverse=True)
        if used.tobytes() not in layouts:
            layouts[used.tobytes()] = _Layout.of(grouping, used, by or ())
        layout = layouts[used.tobytes()]
        if layout.factors:
            cells = Cells(cell.reshape(-1), trials.seeds[known], measure.numbers[known], len(used))
            found.append(_effects_on(measure, layout, cells, by))
    return tuple(found)


@dataclass(frozen=True)
class _Layout:
    """Cells described by their factors."""

    factors: list[Factor]
    notes: tuple[str, ...]
    design: Design

    @classmethod
    def of(cls, grouping: Grouping, groups: Any, asked: Sequence[str]) -> _Layout:
        # Runs of the same settings are further trials of the same cell, unless nothing else varies.
        told = [name for name in grouping.varying if name in {*grouping.telling, *asked}]
        names = [name for name in told if name != "run"] or grouping.varying
        factors, notes = factors_of([grouping.settings[group] for group in groups], names)
        levels = np.stack([f.codes for f in factors], axis=1) if factors else np.zeros((len(groups), 0), np.int64)
        return cls(factors, tuple(notes), Design.of(levels, [len(f.levels) for f in factors]))

    @cached_property
    def crossed(self) -> dict[tuple[int, int], Design]:
        """The design with the products of each pair of factors."""
        pairs = itertools.combinations(range(len(self.factors)), 2)
        sizes = [len(factor.levels) - 1 for factor in self.factors]
        few = [(one, other) for one, other in pairs if sizes[one] * sizes[other] <= MOST_PRODUCTS]
        return {pair: self.design.crossed(*pair) for pair in few}


def _effects_on(measure: Measure, layout: _Layout, cells: Cells, by: Sequence[str] | None) -> MeasureEffects:
    factors = layout.factors
    wanted = {f for f in range(len(factors)) if by is None or set(factors[f].name.split(" + ")) & set(by)}
    shares = _Shares(cells)
    told = [_factor_effect(f, factors, layout.design, cells, shares) for f in sorted(wanted)]
    told.sort(key=lambda effect: -effect.share)
    return MeasureEffects(
        measure.name,
        measure.logs is not None,
        tuple(told),
        _strongest({pair: both for pair, both in layout.crossed.items() if set(pair) & wanted}, factors, cells, shares),
        len(measure.numbers) - len(cells.cell),
        len(measure.numbers),
        layout.notes,
    )


class _Shares:
    """How much of the cells' means a design explains, beyond what chance between seeds would."""

    def __init__(self, cells: Cells) -> None:
        means = cells.means - cells.means.mean()
        self._total = float(means @ means)
        self._responses = np.column_stack([means, cells.scaled_residuals])

    def of(self, design: Design, columns: Sequence[int]) -> float:
        """The share that these columns add to the others of a design, between 0 and 1.

        What chance would explain is what they explain of each seed's residuals, as in a difference's variance.
        """
        if self._total == 0:
            return 0.0
        rest = np.setdiff1d(np.arange(design.matrix.shape[1]), columns)
        product = design.matrix.T @ self._responses
        more, fewer = _explained(design.gram, product), _explained(design.gram[np.ix_(rest, rest)], product[rest])
        added = more - fewer
        return min(1.0, max(0.0, float(added[0] - added[1:].sum()) / self._total))


def _explained(gram: Reals, product: Reals) -> Reals:
    """`[response]`, the sum of squares of a least-squares fit."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > values.max() * len(values) * 10 * np.finfo(np.float64).eps
    along = vectors[:, kept].T @ product
    return np.asarray((np.square(along) / values[kept][:, None]).sum(axis=0), np.float64)


def _factor_effect(f: int, factors: list[Factor], design: Design, cells: Cells, shares: _Shares) -> FactorEffect:
    levels = [
        LevelEffect(level, _unknown_if_none(cells, design.weights(f, number, 0)))
        for number, level in enumerate(factors[f].levels)
        if number > 0
    ]
    own = [column for column in design.columns[f] if column is not None]
    return FactorEffect(factors[f].name, factors[f].levels[0], tuple(levels), shares.of(design, own))


def _unknown_if_none(cells: Cells, weights: Reals | None) -> Difference:
    return Difference(None) if weights is None else cells.difference(weights)


def _strongest(
    crossed: dict[tuple[int, int], Design], factors: list[Factor], cells: Cells, shares: _Shares
) -> Interaction | None:
    shared = [(shares.of(both, list(both.products.values())), pair) for pair, both in crossed.items()]
    every = sum(len(both.products) for both in crossed.values())
    for share, pair in sorted(shared, key=lambda item: -item[0]):
        if found := _interaction(*pair, factors, crossed[pair], cells, share, every):
            return found
    return None


def _interaction(
    mover: int, other: int, factors: list[Factor], design: Design, cells: Cells, share: float, every: int
) -> Interaction | None:
    """The largest difference between two moves away from the first levels of both factors, a clear one if any is."""
    candidates = []
    for (end, there), column in design.products.items():
        weights = design.solve(column)
        here = design.weights(mover, end, 0)
        if weights is not None and here is not None:
            candidates.append((cells.difference(weights), cells.difference(here).value or 0.0, end, there))
    if not candidates:
        return None
    clear = [one for one in candidates if one[0].p is not None and one[0].p * every < SIGNIFICANT]
    difference, here_effect, end, there = max(clear or candidates, key=lambda one: abs(one[0].value or 0.0))
    return Interaction(
        mover=factors[mover].name,
        start=factors[mover].levels[0],
        end=factors[mover].levels[end],
        other=factors[other].name,
        here=factors[other].levels[0],
        there=factors[other].levels[there],
        effect_here=here_effect,
        effect_there=here_effect + (difference.value or 0.0),
        difference=difference,
        p=None if difference.p is None else min(1.0, difference.p * every),
        share=share,
    )
