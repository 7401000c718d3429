"""How often 95 % intervals at five seeds hold the truth, by simulation."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import beta

from gradlab.analysis.contrasts import Cells, Design
from gradlab.analysis.estimates import geometric_means, means
from gradlab.analysis.factors import Grouping
from gradlab.analysis.measures import Measure
from gradlab.analysis.pooled import pooled

SEEDS = 5

GRID = np.array(list(itertools.product(range(3), range(4))))
"""Three levels by four: the cells of a sweep."""

HOLES = GRID[[0, 1, 2, 3, 5, 6, 8, 9, 11]]
"""The same with three of its cells missing."""

Draw = Callable[[np.random.Generator, int], np.ndarray]


def correlated(share: float) -> Draw:
    """`[cell, seed]` normal noise; of its variance so much is a seed's own, the same in every cell."""

    def draw(random: np.random.Generator, cells: int) -> np.ndarray:
        own = random.normal(size=(cells, SEEDS))
        return np.sqrt(share) * random.normal(size=SEEDS) + np.sqrt(1 - share) * own

    return draw


INDEPENDENT = correlated(0.0)


def skewed(random: np.random.Generator, cells: int) -> np.ndarray:
    """`[cell, seed]` noise with a long tail to the right, of mean 0 and variance 1."""
    return random.exponential(size=(cells, SEEDS)) - 1


def group_means(repeats: int, random: np.random.Generator) -> float:
    """Coverage of the arithmetic means of groups with different spreads."""
    spread = 10.0 ** random.uniform(-1, 1, repeats)
    values = 3 + spread[:, None] * random.normal(size=(repeats, SEEDS))
    found = means(np.repeat(np.arange(repeats), SEEDS), repeats, values.ravel())
    return float(((found.low <= 3) & (found.high >= 3)).mean())


def group_geometric_means(repeats: int, random: np.random.Generator) -> float:
    """Coverage of geometric means of log-normal values far below the range of a float."""
    logs = -400 + random.normal(size=(repeats, SEEDS))
    nothing = np.zeros(logs.size, np.bool_)
    found = geometric_means(np.repeat(np.arange(repeats), SEEDS), repeats, logs.ravel(), nothing, nothing)
    return float(((found.log10_low <= -400) & (found.log10_high >= -400)).mean())


def contrasts(
    repeats: int,
    random: np.random.Generator,
    grid: np.ndarray = GRID,
    draw: Draw = INDEPENDENT,
    own_seeds: bool = False,
    missing: float = 0.0,
    interaction: bool = False,
) -> float:
    """Coverage of a difference between two levels of a factor, in cells whose deviations differ 25-fold.

    Args:
        grid: `[cell, factor]`, the levels of each cell.
        draw: the noise.
        own_seeds: whether every cell has seeds of its own.
        missing: the share of trials without a value; each cell keeps two.
        interaction: take a difference of differences instead.
    """
    cells = len(grid)
    design = Design.of(grid, grid.max(axis=0) + 1)
    if interaction:
        crossed = design.crossed(0, 1)
        weights = crossed.solve(crossed.products[2, 3])
    else:
        weights = design.weights(1, 3, 0) if grid.shape[1] > 1 else design.weights(0, 1, 0)
    truth, deviation = random.normal(size=cells), 10.0 ** random.uniform(-0.7, 0.7, cells)
    cell = np.repeat(np.arange(cells), SEEDS).reshape(cells, SEEDS)
    seed = np.arange(cells * SEEDS).reshape(cells, SEEDS) if own_seeds else np.tile(np.arange(SEEDS), (cells, 1))
    expected, held = float(weights @ truth), 0
    for _ in range(repeats):
        values = truth[:, None] + deviation[:, None] * draw(random, cells)
        kept = random.random((cells, SEEDS)) >= missing
        kept[:, :2] = True
        found = Cells(cell[kept], seed[kept], values[kept], cells).difference(weights)
        held += found.low <= expected <= found.high
    return held / repeats


def pooled_groups(repeats: int, random: np.random.Generator, draw: Draw) -> float:
    """Coverage of the mean of a group of six unlike networks, as `--by` makes them, of seeds that all of them share."""
    networks, truth = np.repeat(np.arange(6), SEEDS), random.normal(size=6)
    together = Grouping(np.zeros(6 * SEEDS, np.int64), ({},), ())
    apart = Grouping(networks, tuple({"network": number} for number in range(6)), ("network",))
    seeds, held = np.tile(np.arange(SEEDS), 6), 0
    for _ in range(repeats):
        measure = Measure("made up", (truth[:, None] + draw(random, 6)).ravel())
        (found,) = pooled(measure, together, apart, seeds)
        held += found.low <= truth.mean() <= found.high
    return held / repeats


PAIR = np.array([[0], [1]])

CASES: dict[str, Callable[[int, np.random.Generator], float]] = {
    "mean of a group": group_means,
    "geometric mean of a group": group_geometric_means,
    "mean of a group of networks, seeds that agree by 90 %": lambda n, random: pooled_groups(
        n, random, correlated(0.9)
    ),
    "effect, shared seeds": contrasts,
    "effect, shared seeds that agree by 90 %": lambda n, random: contrasts(n, random, draw=correlated(0.9)),
    "effect, seeds of their own": lambda n, random: contrasts(n, random, own_seeds=True),
    "effect, a grid with holes": lambda n, random: contrasts(n, random, HOLES, correlated(0.5)),
    "effect, a fifth of the trials missing": lambda n, random: contrasts(n, random, draw=correlated(0.5), missing=0.2),
    "interaction": lambda n, random: contrasts(n, random, draw=correlated(0.5), interaction=True),
    "beside a reference, the same seeds": lambda n, random: contrasts(n, random, PAIR, correlated(0.9)),
    "beside a reference, other seeds": lambda n, random: contrasts(n, random, PAIR, own_seeds=True),
}
"""What must hold the truth in 93 to 97 % of the cases."""

SKEWED: dict[str, Callable[[int, np.random.Generator], float]] = {
    "effect, exponential noise": lambda n, random: contrasts(n, random, draw=skewed),
    "beside a reference, exponential noise": lambda n, random: contrasts(n, random, PAIR, skewed, own_seeds=True),
}
"""What a t interval promises nothing about."""


def measured(repeats: int) -> Iterator[tuple[str, float, float, float]]:
    """Case, coverage, and the coverage's own 95 % interval (Clopper & Pearson 1934)."""
    for number, (name, case) in enumerate((CASES | SKEWED).items()):
        share = case(repeats, np.random.default_rng(number))
        held = round(share * repeats)
        low, high = beta.ppf(0.025, held, repeats - held + 1), beta.ppf(0.975, held + 1, repeats - held)
        yield name, share, float(low), float(high)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20_000)
    for name, share, low, high in measured(parser.parse_args().repeats):
        print(f"{name:54} {100 * share:.1f} %  ({100 * low:.1f} to {100 * high:.1f})")


if __name__ == "__main__":
    main()
