"""Step-down max-statistic tests as the book has them, in plain loops over all arrangements and exact fractions.

Westfall & Young (1993), "Resampling-based multiple testing", section 2.6 (free step-down, max-T). Statistics are
squared, which changes no order and keeps them rational.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

Table = Sequence[Sequence[float]]
"""`[seed][statistic]`"""


def sign_flip_p(differences: Table, slack: Sequence[float]) -> list[Fraction]:
    """Adjusted p-values of paired differences, over all 2^n patterns of signs."""
    patterns = itertools.product((1, -1), repeat=len(differences))
    columns = [[Fraction(value) for value in column] for column in zip(*differences, strict=True)]
    return _step_down(
        [
            [
                _one_sample([sign * value for sign, value in zip(signs, column, strict=True)], Fraction(least))
                for column, least in zip(columns, slack, strict=True)
            ]
            for signs in patterns
        ]
    )


def permutation_p(baseline: Table, now: Table, slack: Sequence[float]) -> list[Fraction]:
    """Adjusted p-values of two samples, over all ways to choose which members are the second one."""
    both = [*baseline, *now]
    first = tuple(range(len(baseline), len(both)))
    choices = [first, *(places for places in itertools.combinations(range(len(both)), len(now)) if places != first)]
    columns = [[Fraction(value) for value in column] for column in zip(*both, strict=True)]
    return _step_down(
        [
            [
                _two_sample(
                    [value for place, value in enumerate(column) if place not in places],
                    [value for place, value in enumerate(column) if place in places],
                    Fraction(least),
                )
                for column, least in zip(columns, slack, strict=True)
            ]
            for places in choices
        ]
    )


def _step_down(table: list[list[Fraction]]) -> list[Fraction]:
    """Adjusted p-values from statistics `[arrangement][statistic]`, the first arrangement being the one observed."""
    observed = table[0]

    def alone(size: Fraction) -> Fraction:
        """The share of arrangements in which some statistic, of those observed no larger than `size`, reaches it."""
        rivals = [number for number, found in enumerate(observed) if found <= size]
        return Fraction(sum(max(row[number] for number in rivals) >= size for row in table), len(table))

    return [max(alone(larger) for larger in observed if larger >= size) for size in observed]


def _one_sample(values: list[Fraction], slack: Fraction) -> Fraction:
    """t^2 of the mean against 0, with slack^2 added to the variance."""
    count = len(values)
    center = sum(values, Fraction(0)) / count
    return center**2 / ((_squares(values) / max(count - 1, 1) + slack**2) / count)


def _two_sample(old: list[Fraction], new: list[Fraction], slack: Fraction) -> Fraction:
    """t^2 of the difference of means, with slack^2 added to the pooled variance."""
    gap = sum(new, Fraction(0)) / len(new) - sum(old, Fraction(0)) / len(old)
    variance = (_squares(old) + _squares(new)) / max(len(old) + len(new) - 2, 1)
    return gap**2 / ((variance + slack**2) * (Fraction(1, len(old)) + Fraction(1, len(new))))


def _squares(values: list[Fraction]) -> Fraction:
    """The sum of squared deviations from the mean."""
    center = sum(values, Fraction(0)) / len(values)
    return sum(((value - center) ** 2 for value in values), Fraction(0))
