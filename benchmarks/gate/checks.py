"""Checks of changed projects against the clean one, with the gate as a library."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gate.variants import PROJECT, Variant
from gradlab import gate
from gradlab.analysis.gate.change import REGRESSION
from gradlab.analysis.gate.judge import judge
from gradlab.config.load import load
from gradlab.config.sweep import Trial
from gradlab.errors import EXIT_REGRESSION, EXIT_TRIALS_FAILED
from gradlab.runner import Options
from gradlab.store.baseline_reading import from_text
from gradlab.store.baseline_text import to_text
from gradlab.store.measurement import Measurement

SEEDS = 12
"""Seeds of a baseline and of a check."""

HERE_ALONE = Options(workers=1, device="cpu")
"""In this process: the benchmark itself keeps the cores busy."""


class Silent:
    """Nobody wants to know how a measurement is getting on."""

    sighted = None

    def begin(self, trials: Sequence[Trial], finished: Collection[str], parts: int) -> None:
        """Say nothing."""

    def progress(self, share: float) -> None:
        """Say nothing."""

    def stored(self, statuses: Mapping[str, str]) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Finding:
    """What the gate says about a variant.

    Attributes:
        verdict, exit_code: as `gradlab check` has them, seeds paired where their initial weights are the same.
        fresh: the verdict against a baseline of other seeds, compared as distributions.
        regressed: the statistics that regressed, each once, the worst first.
        sentence: the first that the gate says about it.
        largest_ratio: the largest change of a norm or loss.
        largest_step: the largest change of a share.
    """

    variant: Variant
    verdict: str
    exit_code: int
    paired: bool
    fresh: str
    regressed: tuple[str, ...]
    sentence: str
    largest_ratio: float
    largest_step: float


def clean(network: str, start: int) -> Measurement:
    """The baseline of the clean project, as its file has it.

    Args:
        start: the first of its consecutive seeds.
    """
    return as_baseline(measured(PROJECT / f"{network}.yaml", start, SEEDS))


def measured(config: Path, start: int, count: int) -> Measurement:
    """What the gate measures of a config with `count` consecutive seeds.

    Raises:
        RuntimeError: a trial failed.
    """
    found = gate.measure(load(config), range(start, start + count), HERE_ALONE, Silent())
    if found.failures:
        raise RuntimeError(str(found.failures[0]))
    return found.measurement


def as_baseline(measurement: Measurement) -> Measurement:
    """A measurement as it comes back from a baseline file, which has six digits."""
    return from_text(to_text(measurement), "the baseline", "")


def check(variant: Variant, baselines: Mapping[tuple[str, int], Measurement], start: int = 0) -> Finding:
    """Check a variant as `gradlab check` does, with seeds `start`, `start + 1`, ....

    Args:
        baselines: (network, first seed) -> the baseline; besides that of the same seeds, another is needed.
    """
    same = baselines[variant.network, start]
    other = next(one for (network, first), one in baselines.items() if network == variant.network and first != start)
    with TemporaryDirectory() as folder:
        config = load(variant.write(Path(folder)))
        outcome = gate.check(config, same, "the baseline", None, HERE_ALONE, Silent(), "")
    fresh = judge(other, outcome.now, gate.thresholds(config.experiment.check))
    changes = [change for change in outcome.judged.changes if not change.reason]
    regressed = outcome.judged.of(REGRESSION)
    exits = {REGRESSION: EXIT_REGRESSION, "failed": EXIT_TRIALS_FAILED}
    return Finding(
        variant,
        outcome.verdict,
        exits.get(outcome.verdict, 0),
        outcome.judged.paired,
        fresh.verdict,
        tuple(dict.fromkeys(change.key.statistic for change in regressed)),
        next((sentences[0] for sentences in outcome.story.values()), ""),
        10 ** max(abs(change.shift) for change in changes if change.logarithmic),
        max(abs(change.shift) for change in changes if not change.logarithmic),
    )
