"""Everything there is to say about a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION
from gradlab.analysis.gate.judge import Verdict
from gradlab.analysis.gate.story import sentences
from gradlab.store.measurement import Measurement

FAILED = "failed"
"""The verdict where trials failed with an error."""


@dataclass(frozen=True)
class Outcome:
    """A finished check.

    Attributes:
        judged: the verdict on every statistic.
        source: what the baseline is: a file, or a revision.
        failures: what failed now, one line each.
    """

    judged: Verdict
    baseline: Measurement
    now: Measurement
    source: str
    failures: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """failed, regression, inconclusive or pass."""
        return FAILED if self.failures else self.judged.verdict

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        regressed, open_ = len(self.judged.of(REGRESSION)), len(self.judged.of(INCONCLUSIVE))
        found = f"{regressed or 'none'} of {_counted(len(self.judged.changes), 'statistic')} regressed"
        if open_:
            found += f", {open_} may have"
        if self.failures:
            found = f"{_counted(len(self.failures), 'trial')} failed; {found}"
        networks = _counted(len(self.baseline.networks), "network")
        return f"{self.verdict}: {found} ({networks}, against {self.source}; {self.how})"

    @property
    def how(self) -> str:
        """How seeds were compared."""
        seeds = _counted(len(self.now.seeds), "seed")
        if self.judged.paired:
            return f"{seeds}, each with itself"
        networks = (*self.baseline.networks, *self.now.networks)
        unknown = any(network.weight_prints.shape[1] == 0 for network in networks)
        weights = "initial weights that nobody took prints of" if unknown else "other initial weights"
        other = "other seeds" if self.baseline.seeds != self.now.seeds else weights
        return f"{seeds}, as distributions: {other}"

    @property
    def story(self) -> Mapping[str, list[str]]:
        """What regressed in each network, in sentences."""
        return sentences(self.judged.changes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the verdict doesn't say: another environment, new layers, statistics that are no longer measured."""
        old, new = self.baseline.made_by, self.now.made_by
        moved = [f"{name} {new.get(name)}, was {old.get(name)}" for name in new if new.get(name) != old.get(name)]
        environment = (f"another environment than the baseline's: {'; '.join(moved)}",) if moved else ()
        return (*environment, *self.judged.notes)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
