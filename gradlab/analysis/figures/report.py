"""All that there is to show of some runs: the summary, what its groups are called, and the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradlab.analysis.figures.axes import axes
from gradlab.analysis.figures.distributions import distributions, read_quantiles
from gradlab.analysis.figures.excerpt import excerpt
from gradlab.analysis.figures.figure import Figure
from gradlab.analysis.figures.gradients import gradient_figures
from gradlab.analysis.figures.heat_maps import STATISTICS, heat_maps
from gradlab.analysis.figures.planes import planes
from gradlab.analysis.figures.regions import decision_regions
from gradlab.analysis.figures.series import read_series
from gradlab.analysis.summary import Summary, summarise
from gradlab.analysis.wording import network_line, settings_line
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
    factors = axes(summary.grouping.telling, settings)
    names = [axis.name for axis in factors]
    keys = names or summary.keys
    labels = tuple(
        network_line(keys, known) or settings_line({name: known.get(name) for name in keys}) for known in settings
    )
    shown = excerpt(summary)
    series, quantiles = read_series(summary, shown, STATISTICS), read_quantiles(summary, shown)
    regions, unread = decision_regions(summary, labels, shown)
    figures = [
        *gradient_figures(summary, labels, series),
        *planes(summary, labels, factors),
        *heat_maps(labels, series),
        *distributions(labels, quantiles),
        *regions,
    ]
    missed = tuple(dict.fromkeys([*summary.trials.skipped, *series.skipped, *quantiles.skipped, *unread]))
    return Report(
        replace(summary, trials=replace(summary.trials, skipped=missed)),
        labels,
        tuple({name: known.get(name) for name in names} for known in settings),
        tuple(_named_apart(figures)),
    )


def _named_apart(figures: Sequence[Figure]) -> Iterator[Figure]:
    """The figures, those of a name that stands before numbered on: names are names of files."""
    names: Counter[str] = Counter()
    for figure in figures:
        names[figure.name] += 1
        count = names[figure.name]
        yield figure if count == 1 else replace(figure, name=f"{figure.name}-{count}")
