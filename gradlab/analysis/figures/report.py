"""All that there is to show of some runs: the summary, what its groups are called, and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradlab.analysis.figures.figure import Figure
from gradlab.analysis.figures.gradients import gradient_by_layer
from gradlab.analysis.summary import Summary, summarise
from gradlab.analysis.wording import network_line
from gradlab.store.finding import find_runs
from gradlab.store.reading import readable_trials


@dataclass(frozen=True, eq=False)
class Report:
    """Some runs, aggregated over seeds, with figures.

    Attributes:
        summary: the table, its groups, factors, advice, and what could not be read.
        labels: a short name for each group, by the factors that vary.
        factors: for each group the factors that vary and their values.
        figures: those that these runs have numbers for.
    """

    summary: Summary
    labels: tuple[str, ...]
    factors: tuple[Mapping[str, Any], ...]
    figures: tuple[Figure, ...]


def make_report(paths: Sequence[Path]) -> Report:
    """Read the runs at `paths`, run directories or folders of them, and find what there is to show.

    Raises:
        UsageError: there is no run, or none whose trials can be read.
    """
    runs, skipped = find_runs(paths)
    trials = readable_trials(runs)
    summary = summarise(replace(trials, skipped=(*skipped, *trials.skipped)))
    settings = summary.grouping.settings
    keys = summary.grouping.telling or summary.keys
    return Report(
        summary,
        tuple(network_line(keys, known) for known in settings),
        tuple({name: known.get(name) for name in summary.varying} for known in settings),
        tuple(figure for figure in (gradient_by_layer(summary),) if figure is not None),
    )
