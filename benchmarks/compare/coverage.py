"""How often the 95 % intervals of `gradlab compare` hold the truth, counted over made-up experiments.

Every experiment has five seeds a network unless it says otherwise, networks whose deviations between seeds reach from
0.1 to 1, and seeds that move all networks that share them together.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlab.analysis.against import beside
from gradlab.analysis.contrasts import Cells, Design, Difference
from gradlab.analysis.effects import effects
from gradlab.analysis.estimates import GeometricMeans, Means, geometric_means, means
from gradlab.analysis.factors import group_trials
from gradlab.analysis.measures import Measure
from gradlab.store.reading import Trials

Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Covered = dict[str, Flags]
"""What an interval is about -> `[repetition]`, whether it held the truth."""

Law = Callable[[np.random.Generator, tuple[int, ...]], Reals]
"""Numbers of mean 0 and variance 1."""

DEPTH = {2: 0.0, 10: -0.3, 50: -1.0}
ACTIVATION = {"tanh": 0.0, "relu": 0.4, "gelu": 0.3}
NETWORKS = tuple(itertools.product(DEPTH, ACTIVATION))
HOLES = ((50, "tanh"), (10, "gelu"), (2, "relu"))
DEVIATION = dict(zip(NETWORKS, np.geomspace(0.1, 1, 9)[[4, 0, 7, 2, 8, 5, 1, 6, 3]].tolist(), strict=True))

SEEDS = 5
SHARED = 0.9
"""Correlation between networks of one seed."""

LOST = 0.2
"""Share of trials that diverge, whatever their numbers."""


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    """Bell-shaped."""
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    """Exponential, skewness 2."""
    return rng.standard_exponential(shape) - 1


@dataclass(frozen=True)
class Experiment:
    """Which trials there are.

    Attributes:
        frame: `depth`, `activation` and `seed` of each trial.
        shared: the correlation between networks of one seed.
    """

    frame: pd.DataFrame
    shared: float

    @classmethod
    def of(
        cls,
        networks: Sequence[tuple[int, str]] = NETWORKS,
        seeds: int = SEEDS,
        own_seeds: bool = False,
        shared: float = SHARED,
    ) -> Experiment:
        """Some networks, each with as many seeds: the same ones or its own."""
        rows = [
            (depth, activation, seed + own_seeds * seeds * number)
            for number, (depth, activation) in enumerate(networks)
            for seed in range(seeds)
        ]
        return cls(pd.DataFrame(rows, columns=["depth", "activation", "seed"]), shared)

    @property
    def trials(self) -> Trials:
        """As gradlab reads them."""
        return Trials(self.frame, np.zeros(len(self.frame), np.int64), ())

    def draw(self, rng: np.random.Generator, law: Law, repetitions: int, lost: float = 0.0) -> Reals:
        """`[repetition, trial]`, the responses; NaN for trials that are lost."""
        networks = list(zip(self.frame["depth"], self.frame["activation"], strict=True))
        truth = np.array([DEPTH[depth] + ACTIVATION[activation] for depth, activation in networks])
        deviation = np.array([DEVIATION[network] for network in networks])
        seed = self.frame["seed"].to_numpy()
        common = law(rng, (repetitions, seed.max() + 1))[:, seed]
        own = law(rng, (repetitions, len(seed)))
        values = truth + deviation * (np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * own)
        return np.where(rng.random(values.shape) < lost, np.nan, values)


def arithmetic_means(rng: np.random.Generator, law: Law, repetitions: int) -> Covered:
    """Means of groups."""
    values = law(rng, (repetitions * SEEDS,)) * 0.7 + 3
    return {"mean": _holds(means(_groups(repetitions), repetitions, values), 3.0)}


def geometric_means_of_logs(rng: np.random.Generator, law: Law, repetitions: int) -> Covered:
    """Geometric means of groups."""
    logs = law(rng, (repetitions * SEEDS,)) * 0.7 - 5
    nothing = np.zeros(len(logs), np.bool_)
    return {"geometric mean": _holds(geometric_means(_groups(repetitions), repetitions, logs, nothing, nothing), -5.0)}


def main_effects(experiment: Experiment, values: Reals) -> Covered:
    """Effects of depths and activations."""
    trials = experiment.trials
    grouping = group_trials(trials.frame)
    covered: dict[str, list[bool]] = {}
    truths: dict[str, Mapping[Any, float]] = {"depth": DEPTH, "activation": ACTIVATION}
    for found in effects(trials, grouping, [Measure("", one) for one in values]):
        for factor in found.factors:
            truth = truths[factor.factor]
            for level in factor.levels:
                expected = truth[level.level] - truth[factor.reference]
                held = _in_interval(expected, level.difference)
                covered.setdefault(f"{level.level} - {factor.reference}", []).append(held)
    return {name: np.array(held) for name, held in covered.items()}


def interactions(experiment: Experiment, values: Reals) -> Covered:
    """Differences of differences, which are 0; every one, as the strongest of several is not an unbiased choice."""
    depths, activations = list(DEPTH), list(ACTIVATION)
    levels = np.array(
        [
            (depths.index(depth), activations.index(activation))
            for depth, activation in zip(experiment.frame["depth"], experiment.frame["activation"], strict=True)
        ]
    )
    networks, cell = np.unique(levels, axis=0, return_inverse=True)
    design = Design.of(networks, (len(depths), len(activations))).crossed(0, 1)
    seed = experiment.frame["seed"].to_numpy()
    covered: Covered = {}
    for (depth, activation), column in design.products.items():
        weights = design.solve(column)
        if weights is not None:
            found = [Cells(cell.reshape(-1), seed, one, len(networks)).difference(weights) for one in values]
            covered[f"{depths[depth]} x {activations[activation]}"] = np.array([_in_interval(0, d) for d in found])
    return covered


def against(rng: np.random.Generator, law: Law, repetitions: int, own_seeds: bool, lost: float = 0.0) -> Covered:
    """A network of deviation 1 beside a reference of deviation 0.1."""
    networks = sorted(NETWORKS, key=lambda network: DEVIATION[network])
    pair = [networks[0], networks[-1]]
    experiment = Experiment.of(pair, own_seeds=own_seeds)
    values = experiment.draw(rng, law, repetitions, lost)
    one, other = (DEPTH[depth] + ACTIVATION[activation] for depth, activation in pair)
    trials = Trials(experiment.frame[["seed"]], np.zeros(len(experiment.frame), np.int64), ())
    first = np.arange(len(trials.frame)) < SEEDS
    (changes,) = beside(trials, [Measure("", one) for one in values], first, "reference", "candidate").changes
    known = [change.difference for change in changes if change.difference.low is not None]
    return {"candidate - reference": np.array([_in_interval(other - one, d) for d in known])}


def _in_interval(truth: float, difference: Difference) -> bool:
    low, high = difference.low, difference.high
    return low is not None and high is not None and low <= truth <= high


def _groups(repetitions: int) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(repetitions), SEEDS)


def _holds(found: Means | GeometricMeans, truth: float) -> Flags:
    low, high = (found.log10_low, found.log10_high) if isinstance(found, GeometricMeans) else (found.low, found.high)
    return np.asarray((low <= truth) & (truth <= high))


Case = Callable[[np.random.Generator, Law, int], Covered]


def _of(measure: Callable[[Experiment, Reals], Covered], experiment: Experiment, lost: float = 0.0) -> Case:
    return lambda rng, law, repetitions: measure(experiment, experiment.draw(rng, law, repetitions, lost))


CASES: Mapping[str, Case] = {
    "means": arithmetic_means,
    "geometric means": geometric_means_of_logs,
    "effects, full grid, seeds shared": _of(main_effects, Experiment.of()),
    "effects, each network its own seeds": _of(main_effects, Experiment.of(own_seeds=True)),
    "effects, incomplete grid": _of(main_effects, Experiment.of([n for n in NETWORKS if n not in HOLES])),
    "interactions, seeds shared": _of(interactions, Experiment.of()),
    "interactions, own seeds": _of(interactions, Experiment.of(own_seeds=True)),
    "against, same seeds": lambda rng, law, many: against(rng, law, many, own_seeds=False),
    "against, other seeds": lambda rng, law, many: against(rng, law, many, own_seeds=True),
}
"""Whose intervals are promised to hold the truth 95 times in 100, as long as the numbers are about normal."""

FURTHER: Mapping[str, Case] = {
    "effects, networks independent": _of(main_effects, Experiment.of(shared=0.0)),
    "effects, incomplete grid, own seeds": _of(
        main_effects, Experiment.of([n for n in NETWORKS if n not in HOLES], own_seeds=True)
    ),
    "effects, a fifth of the trials lost": _of(main_effects, Experiment.of(), LOST),
    "effects, own seeds, a fifth lost": _of(main_effects, Experiment.of(own_seeds=True), LOST),
    "against, same seeds, a fifth lost": lambda rng, law, many: against(rng, law, many, False, LOST),
}
"""What else there is to know; nothing is promised."""


def count(name: str, law: Law, repetitions: int) -> dict[str, tuple[int, int]]:
    """How many intervals of a case held the truth, and how many there were, by what they are about."""
    covered = {**CASES, **FURTHER}[name](np.random.default_rng(list(name.encode())), law, repetitions)
    return {about: (int(held.sum()), len(held)) for about, held in covered.items()}


def binomial_interval(held: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Clopper & Pearson 1934)."""
    from scipy.special import betaincinv

    low = betaincinv(held, of - held + 1, 0.025) if held > 0 else 0.0
    high = betaincinv(held + 1, of - held, 0.975) if held < of else 1.0
    return float(low), float(high)


def main() -> None:
    """Print the coverage of every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20_000)
    options = parser.parse_args()
    print(f"{'case':46}{'interval of':26}{'coverage':>10}   its 95 % interval")
    for law in (normal, skewed):
        for name in (*CASES, *FURTHER):
            for about, (held, of) in count(name, law, options.repetitions).items():
                low, high = binomial_interval(held, of)
                print(f"{f'{law.__name__}: {name}':46}{about:26}{held / of:>10.1%}   {low:.1%} to {high:.1%}")


if __name__ == "__main__":
    main()
