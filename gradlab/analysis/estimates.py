"""Means over seeds with 95 % intervals, for all groups at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradlab.analysis.student import quantiles

Reals = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """An arithmetic mean over the seeds of a group.

    Attributes:
        value: None where no seed has a finite value.
        low: lower end of the 95 % t interval; None below two values.
        high: its upper end.
        count: finite values behind it.
        left_out: seeds whose value is unknown, NaN or infinite.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int
    left_out: int = 0


@dataclass(frozen=True)
class GeometricMean:
    """A geometric mean over the seeds of a group, kept as log10 so that nothing underflows.

    Attributes:
        log10: of the mean over the values that are neither 0 nor infinite; -inf where all values are 0, None where
            there are none.
        log10_low: lower end of the 95 % t interval of the logarithms; None below two values.
        log10_high: its upper end.
        count: values behind it.
        zeros: values that are exactly 0, left out of the mean.
        not_finite: values that are infinite or not numbers, left out.
        unknown: seeds of which no value is known, left out.
    """

    log10: float | None
    log10_low: float | None
    log10_high: float | None
    count: int
    zeros: int = 0
    not_finite: int = 0
    unknown: int = 0

    @property
    def value(self) -> float | None:
        """The mean itself; 0 or inf where a float cannot hold it."""
        return power_of_ten(self.log10)

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return power_of_ten(self.log10_low)

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return power_of_ten(self.log10_high)


def power_of_ten(exponent: float | None) -> float | None:
    """10^exponent, inf where that overflows."""
    if exponent is None:
        return None
    return math.inf if exponent > 308.25 else 10.0**exponent


@dataclass(frozen=True, eq=False)
class Means:
    """The arithmetic means of all groups, as arrays; NaN for what is None in one `Mean`.

    Attributes: `[group]` each, named as in `Mean`.
    """

    value: Reals
    low: Reals
    high: Reals
    count: Codes
    left_out: Codes

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Mean]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, group: int) -> Mean:
        value, low, high = (_known(column[group]) for column in (self.value, self.low, self.high))
        return Mean(value, low, high, int(self.count[group]), int(self.left_out[group]))


@dataclass(frozen=True, eq=False)
class GeometricMeans:
    """The geometric means of all groups, as arrays; NaN for what is None in one `GeometricMean`.

    Attributes: `[group]` each, named as in `GeometricMean`.
    """

    log10: Reals
    log10_low: Reals
    log10_high: Reals
    count: Codes
    zeros: Codes
    not_finite: Codes
    unknown: Codes

    def __len__(self) -> int:
        return len(self.log10)

    def __iter__(self) -> Iterator[GeometricMean]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, group: int) -> GeometricMean:
        log10, low, high = (_known(column[group]) for column in (self.log10, self.log10_low, self.log10_high))
        counts = (int(column[group]) for column in (self.count, self.zeros, self.not_finite, self.unknown))
        return GeometricMean(log10, low, high, *counts)


def means(codes: Codes, groups: int, values: Reals) -> Means:
    """The mean of each group of `values`.

    Args:
        codes: `[value]`, the group that each value belongs to, from 0.
        groups: how many groups there are.
        values: `[value]`; what isn't finite is counted and left out.
    """
    finite = np.isfinite(values)
    center, half, count = _t_intervals(codes[finite], groups, values[finite])
    left_out = np.bincount(codes[~finite], minlength=groups)
    with np.errstate(invalid="ignore"):
        return Means(center, center - half, center + half, count, left_out)


def geometric_means(
    codes: Codes, groups: int, logs: Reals, zero: npt.NDArray[np.bool_], not_finite: npt.NDArray[np.bool_]
) -> GeometricMeans:
    """The geometric mean of each group of values, from their logarithms; every value is counted somewhere.

    Args:
        codes: `[value]`, the group that each value belongs to, from 0.
        groups: how many groups there are.
        logs: `[value]`, log10 of the values; NaN where there is none.
        zero: `[value]`, whether the value is exactly 0.
        not_finite: `[value]`, whether the value is infinite or not a number.
    """
    zero = zero & ~not_finite
    used = np.isfinite(logs) & ~zero & ~not_finite
    center, half, count = _t_intervals(codes[used], groups, logs[used])
    zeros, infinite, unknown = (
        np.bincount(codes[rows], minlength=groups) for rows in (zero, not_finite, ~(used | zero | not_finite))
    )
    log10 = np.where((count == 0) & (zeros > 0), -np.inf, center)
    with np.errstate(invalid="ignore"):
        return GeometricMeans(log10, center - half, center + half, count, zeros, infinite, unknown)


def _t_intervals(codes: Codes, groups: int, values: Reals) -> tuple[Reals, Reals, Codes]:
    """Mean, half width of its interval (Student 1908; NaN below two values) and count of each group."""
    count = np.bincount(codes, minlength=groups)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        center = np.bincount(codes, values, groups) / count
        if np.isinf(center).any():  # a sum beyond float64 whose mean need not be
            center = np.where(count > 0, np.bincount(codes, values / count[codes], groups), center)
        squares = np.bincount(codes, np.square(values - center[codes]), groups)
        deviation = np.sqrt(squares / (count - 1))
        quantile = quantiles(np.maximum(count - 1, 1), CONFIDENCE)
        half = np.where(count > 1, quantile * deviation / np.sqrt(count), np.nan)
    return center, half, count


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
