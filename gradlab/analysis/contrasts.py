"""Differences between settings, adjusted for all other factors, with intervals that hold whatever seeds share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gradlab.analysis.estimates import CONFIDENCE, Codes, Reals

_SOLVABLE = 1e-8
"""Error up to which a contrast counts as made of the columns of the design."""

_ROUNDING = 1e-12
"""Share of the numbers that a difference is made of up to which it is their rounding."""


_FEW_SEEDS = 50
"""Seeds up to which matrices over seeds are quicker full than sparse."""


@dataclass(frozen=True)
class Difference:
    """A difference between means.

    Attributes:
        value: None where it can't be told from the trials that there are.
        low: lower end of the 95 % interval; None where too few seeds tell how much they differ.
        high: its upper end.
        p: two-sided p-value of no difference; None where there is no interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Cells:
    """One response of all trials, by cell: a combination of settings.

    Attributes:
        cell: `[trial]`, the cell of each trial, from 0.
        seed: `[trial]`, a number for the seed of each trial, from 0.
        response: `[trial]`; finite.
        size: how many cells there are.
    """

    cell: Codes
    seed: Codes
    response: Reals
    size: int

    @cached_property
    def count(self) -> Codes:
        """`[cell]`, trials."""
        return np.bincount(self.cell, minlength=self.size)

    @cached_property
    def means(self) -> Reals:
        """`[cell]`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.bincount(self.cell, self.response, self.size) / self.count

    def difference(self, weights: Reals) -> Difference:
        """The sum of the cells' means, each times its weight, and its interval over seeds.

        Trials of one seed share their minibatches, and often their weights, in every cell, so seeds are what varies
        independently: the residuals of one seed are added up before they are squared (a cluster-robust variance,
        Liang & Zeger 1986), each residual corrected for its cell's own mean. The degrees of freedom are Bell &
        McCaffrey's (2002), each cell with its own variance. With every seed in every cell this is the t interval of
        the differences seed by seed, with seeds of their own in two cells it is Welch's (1947). A cell of one trial
        gets the mean variance of the others.

        Args:
            weights: `[cell]`.
        """
        count = self.count
        weights = np.where(np.abs(weights) < _ROUNDING * np.abs(weights).max(initial=0.0), 0.0, weights)
        nothing = _ROUNDING * float(np.abs(weights) @ np.abs(self.means))
        value = _or_nothing(float(weights @ self.means), nothing)
        repeated = count > 1
        if not (repeated & (weights != 0)).any():
            return Difference(value)
        scale = np.where(repeated, weights / np.sqrt(np.maximum(count * (count - 1), 1)), 0.0)
        of_seed = np.bincount(self.seed, scale[self.cell] * self._residual)
        variance, spread = float(of_seed @ of_seed), self._variances
        if not repeated.all():
            pooled = (spread * (count - 1))[repeated].sum() / (count[repeated] - 1).sum()
            variance += pooled * float(np.square(weights[~repeated]).sum())
        error = _or_nothing(math.sqrt(variance), nothing)
        return _interval(value, error, self._freedom(np.square(scale) * spread) if error > 0 else 1.0)

    @cached_property
    def _residual(self) -> Reals:
        """`[trial]`, from its cell's mean."""
        return self.response - self.means[self.cell]

    @cached_property
    def scaled_residuals(self) -> Reals:
        """`[cell, column]`: the sum of squares of a weighted sum over cells, over columns, estimates its variance.

        A column is a seed; where there are many, seeds of a cell are taken for independent of other cells', a column
        for each place in a cell.
        """
        column = self.seed
        if column.max(initial=-1) >= _FEW_SEEDS:
            order = np.argsort(self.cell, kind="stable")
            starts = np.concatenate([[0], np.cumsum(self.count)[:-1]])
            column = np.empty_like(order)
            column[order] = (np.arange(len(order)) - starts[self.cell[order]]) % _FEW_SEEDS
        found = np.zeros((self.size, int(column.max(initial=-1)) + 1))
        scale = np.sqrt(np.maximum(self.count * (self.count - 1), 1))
        np.add.at(found, (self.cell, column), self._residual / scale[self.cell])
        return found

    @cached_property
    def _variances(self) -> Reals:
        """`[cell]`, between the trials of each; 0 for a single one."""
        squares = np.bincount(self.cell, np.square(self._residual), self.size)
        return np.asarray(squares / np.maximum(self.count - 1, 1), np.float64)

    @cached_property
    def _by_seed(self) -> Any:
        """`[cell, seed]`, how many trials; sparse where there are many seeds."""
        shape = self.size, int(self.seed.max(initial=-1)) + 1
        if shape[1] <= _FEW_SEEDS:
            counts = np.zeros(shape)
            np.add.at(counts, (self.cell, self.seed), 1)
            return counts
        from scipy.sparse import coo_array

        return coo_array((np.ones(len(self.cell)), (self.cell, self.seed)), shape=shape).tocsr()

    def _freedom(self, weight: Reals) -> float:
        """Degrees of freedom: (tr A)^2 / tr A^2, A the covariance of the seeds' sums were trials independent.

        A = diag(d) - T' K T, with T the trials of each cell and seed, d = T' weight, K = diag(weight / count). Its
        square is had over seeds or over cells, whichever are fewer.
        """
        counts = self._by_seed
        if isinstance(counts, np.ndarray):
            covariance = np.diag(counts.T @ weight) - counts.T @ (
                (weight / np.maximum(self.count, 1))[:, None] * counts
            )
            square = float(np.square(covariance).sum())
            return float(np.trace(covariance) ** 2 / square) if square > 0 else 1.0
        d = counts.T @ weight
        scaled = counts.multiply(np.sqrt(weight / np.maximum(self.count, 1))[:, None]).tocsr()
        diagonal = scaled.power(2).sum(axis=0)
        inner = scaled.T @ scaled if counts.shape[1] <= counts.shape[0] else scaled @ scaled.T
        trace = float(d.sum() - diagonal.sum())
        square = float(d @ d - 2 * d @ diagonal + inner.power(2).sum())
        return trace**2 / square if square > 0 else 1.0


def _or_nothing(value: float, nothing: float) -> float:
    return 0.0 if abs(value) <= nothing else value


def _interval(value: float, error: float, freedom: float) -> Difference:
    from scipy.special import stdtr, stdtrit

    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    p = float(2 * stdtr(freedom, -abs(value) / error)) if error > 0 else float(value == 0)
    return Difference(value, value - half, value + half, p)


@dataclass(frozen=True)
class Design:
    """Cells described by factors, as least squares sees them: a column for each level but a factor's first.

    Attributes:
        matrix: `[cell, column]`, an intercept first.
        columns: `[factor][level]` -> its column; None for the first level.
        products: levels of two crossed factors -> the column of their product.
    """

    matrix: Reals
    columns: tuple[tuple[int | None, ...], ...]
    products: Mapping[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, levels: Codes, sizes: Sequence[int]) -> Design:
        """Main effects of every factor.

        Args:
            levels: `[cell, factor]`, the level of each.
            sizes: `[factor]`, how many levels it has.
        """
        width = 1
        columns: list[tuple[int | None, ...]] = []
        for size in sizes:
            columns.append((None, *range(width, width + size - 1)))
            width += size - 1
        matrix = np.zeros((len(levels), width))
        matrix[:, 0] = 1
        for factor, of_factor in enumerate(columns):
            for level, column in enumerate(of_factor):
                if column is not None:
                    matrix[levels[:, factor] == level, column] = 1
        return cls(matrix, tuple(columns))

    def crossed(self, one: int, other: int) -> Design:
        """The same with the products of two factors' columns."""
        products: dict[tuple[int, int], int] = {}
        made: list[Reals] = []
        for first, column in enumerate(self.columns[one]):
            for second, its_column in enumerate(self.columns[other]):
                if column is not None and its_column is not None:
                    product = self.matrix[:, column] * self.matrix[:, its_column]
                    if product.any():
                        products[first, second] = self.matrix.shape[1] + len(made)
                        made.append(product)
        matrix = np.concatenate([self.matrix, np.stack(made, axis=1)], axis=1) if made else self.matrix
        return Design(matrix, self.columns, products)

    def weights(self, factor: int, level: int, reference: int) -> Reals | None:
        """`[cell]`, what each cell's mean counts in the difference of two levels; None where it can't be told.

        In a full grid this is the difference of the plain means over the cells of both levels; in one with holes, or
        of several sweeps, the other factors are held equal by least squares. It can't be told apart where levels
        always come together with those of another factor.
        """
        contrast = np.zeros(self.matrix.shape[1])
        for column, sign in ((self.columns[factor][level], 1.0), (self.columns[factor][reference], -1.0)):
            if column is not None:
                contrast[column] += sign
        return self._solve(contrast)

    def solve(self, column: int) -> Reals | None:
        """`[cell]`, what each cell's mean counts in one coefficient; None where it can't be told."""
        contrast = np.zeros(self.matrix.shape[1])
        contrast[column] = 1
        return self._solve(contrast)

    @cached_property
    def gram(self) -> Reals:
        """`[column, column]`, the matrix times itself."""
        return self.matrix.T @ self.matrix

    @cached_property
    def _inverse(self) -> Reals:
        return np.asarray(np.linalg.pinv(self.gram, hermitian=True), np.float64)

    def _solve(self, contrast: Reals) -> Reals | None:
        solved = self._inverse @ contrast
        if np.abs(self.gram @ solved - contrast).max(initial=0.0) > _SOLVABLE:
            return None
        return np.asarray(self.matrix @ solved, np.float64)
