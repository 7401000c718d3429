"""Null checks: the same code on both sides, every check with seeds of its own, half for the baseline.

The project's networks are taken as gradlab builds them itself, which trains many seeds at once; `tests/benchmarks`
holds that these are the same networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.gate.checks import SEEDS, as_baseline, measured
from benchmarks.gate.variants import NETWORKS, PROJECT
from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION
from gradlab.analysis.gate.judge import Verdict, judge
from gradlab.config.load import load
from gradlab.gate import thresholds
from gradlab.store.measurement import Measurement

FIRST_SEED = 10_000
"""Far from the seeds of anything else here."""

BLOCK = 12
"""Checks whose trials are trained together."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Judged:
    """The outcome of one null check, judged one way.

    Attributes:
        p: the smallest p-value of any statistic, adjusted for their number, whatever the size of the change.
        blamed: the statistics called a regression, the worst first.
    """

    verdict: str
    p: float
    blamed: tuple[str, ...]


@dataclass(frozen=True)
class NullCheck:
    """One null check.

    Attributes:
        fresh: as `gradlab check --seeds-from` judges it: other seeds, other initial weights.
        paired: the same numbers as if the seeds were the same on both sides: a null check of the test for pairs.
    """

    network: str
    first_seed: int
    fresh: Judged
    paired: Judged


@dataclass(frozen=True)
class Block:
    """Null checks whose trials are trained together; no two blocks share a seed."""

    network: str
    first_seed: int
    checks: int


@dataclass(frozen=True)
class Summary:
    """Null checks counted.

    Attributes:
        low, high: the 95 % interval (Clopper & Pearson 1934) of the rate of false alarms.
    """

    checks: int
    alarms: int
    low: float
    high: float
    inconclusive: int
    smallest: tuple[float, ...]

    def share_below(self, level: float) -> float:
        """The share of checks with any p-value at or below `level`, which a right test keeps at or below `level`."""
        return sum(p <= level for p in self.smallest) / self.checks


def blocks(checks: int) -> list[Block]:
    """`checks` null checks of every network, in blocks."""
    found = []
    seed = FIRST_SEED
    for network in NETWORKS:
        for start in range(0, checks, BLOCK):
            found.append(Block(network, seed, min(BLOCK, checks - start)))
            seed += 2 * SEEDS * found[-1].checks
    return found


def run(block: Block) -> list[NullCheck]:
    """Train and judge the null checks of a block."""
    path = PROJECT / f"built_in_{block.network}.yaml"
    limits = thresholds(load(path).experiment.check)
    everything = measured(path, block.first_seed, 2 * SEEDS * block.checks)
    found = []
    for start in range(0, len(everything.seeds), 2 * SEEDS):
        baseline = as_baseline(part(everything, start, start + SEEDS))
        now = part(everything, start + SEEDS, start + 2 * SEEDS)
        fresh, paired = judge(baseline, now, limits), judge(baseline, _disguised(now, baseline), limits)
        if fresh.paired or not paired.paired:
            raise RuntimeError("seeds are paired where they are not the same, or not where they are")
        found.append(NullCheck(block.network, baseline.seeds[0], _judged(fresh), _judged(paired)))
    return found


def part(measurement: Measurement, start: int, stop: int) -> Measurement:
    """What was measured with some of the seeds."""
    networks = tuple(
        replace(
            network,
            values={key: values[start:stop] for key, values in network.values.items()},
            weight_prints=network.weight_prints[:, start:stop],
            diverged=network.diverged[start:stop],
        )
        for network in measurement.networks
    )
    return replace(measurement, seeds=measurement.seeds[start:stop], networks=networks)


def summary(found: Sequence[Judged]) -> Summary:
    """Null checks that were judged one way, counted."""
    from scipy.special import betaincinv

    checks, alarms = len(found), sum(one.verdict == REGRESSION for one in found)
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(alarms, checks - alarms + 1, tail)) if alarms else 0.0
    high = float(betaincinv(alarms + 1, checks - alarms, 1 - tail)) if alarms < checks else 1.0
    inconclusive = sum(one.verdict == INCONCLUSIVE for one in found)
    return Summary(checks, alarms, low, high, inconclusive, tuple(one.p for one in found))


def _disguised(now: Measurement, baseline: Measurement) -> Measurement:
    """`now` with the seeds and the prints of the baseline: pairs whose members could as well change places."""
    networks = tuple(
        replace(network, weight_prints=np.copy(other.weight_prints))
        for network, other in zip(now.networks, baseline.networks, strict=True)
    )
    return replace(now, seeds=baseline.seeds, networks=networks)


def _judged(verdict: Verdict) -> Judged:
    p = min(change.p for change in verdict.changes if change.p is not None)
    blamed = dict.fromkeys(f"{change.key.statistic} ({change.key.step})" for change in verdict.of(REGRESSION))
    return Judged(verdict.verdict, p, tuple(blamed))
