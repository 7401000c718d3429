"""The outcome of a check as JSON: everything, at full precision."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gradlab.analysis.estimates import power_of_ten
from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION, SAME, Change
from gradlab.analysis.gate.names import network_name
from gradlab.analysis.gate.outcome import Outcome
from gradlab.report.numbers import count_of
from gradlab.store.measurement import Measurement


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """`verdict`, the sentences of each network under `story`, and `rows`, the worst first."""
    return {
        "verdict": outcome.verdict,
        "headline": outcome.headline,
        "baseline": outcome.source,
        "paired": outcome.judged.paired,
        "exact": outcome.judged.exact,
        "seeds": {"baseline": list(outcome.baseline.seeds), "now": list(outcome.now.seeds)},
        "made_by": {"baseline": dict(outcome.baseline.made_by), "now": dict(outcome.now.made_by)},
        "story": [{"network": name, "sentences": told} for name, told in outcome.story.items()],
        "failures": list(outcome.failures),
        "notes": list(outcome.notes),
        "counts": {word: len(outcome.judged.of(word)) for word in (REGRESSION, INCONCLUSIVE, SAME)},
        "rows": [_row(change) for change in outcome.judged.changes],
    }


def update_json(path: Path, measured: Measurement) -> dict[str, Any]:
    """What was written as a baseline."""
    networks, seeds = len(measured.networks), len(measured.seeds)
    diverged = [
        f"{sum(step is not None for step in network.diverged)} of {count_of(seeds, 'seed')} diverge "
        f"({network_name(network.settings)}); checks take that as it is"
        for network in measured.networks
        if any(step is not None for step in network.diverged)
    ]
    headline = f"written: {path} ({count_of(networks, 'network')}, {count_of(seeds, 'seed')})"
    return {
        "verdict": "updated",
        "headline": "\n".join([headline, *(f"note: {note}" for note in diverged)]),
        "baseline": str(path),
        "seeds": list(measured.seeds),
        "notes": diverged,
        "rows": [],
    }


def _row(change: Change) -> dict[str, Any]:
    """A change; of norms and losses, the numbers themselves, and under `log10` what a float cannot hold either."""
    levels = {
        "baseline": change.baseline,
        "now": change.now,
        "ratio" if change.logarithmic else "difference": None if math.isnan(change.shift) else change.shift,
        "low": change.low,
        "high": change.high,
        "threshold": change.threshold if math.isfinite(change.threshold) else None,
    }
    return {
        "network": dict(change.network),
        "layer": change.key.layer or None,
        "name": change.name or None,
        "step": change.step,
        "step_name": change.key.step,
        "statistic": change.key.statistic,
        "ratio": None,
        "difference": None,
        **({name: power_of_ten(value) for name, value in levels.items()} if change.logarithmic else levels),
        "log10": levels if change.logarithmic else None,
        "p": change.p,
        "verdict": change.verdict,
        "reason": change.reason or None,
        "zeros": dict(zip(("baseline", "now"), change.zeros, strict=True)),
        "seeds_needed": change.seeds_needed,
    }
