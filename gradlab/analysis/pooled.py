"""Means of groups that hold several networks: their intervals are over seeds, which the networks share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradlab.analysis.contrasts import Cells
from gradlab.analysis.estimates import Codes, GeometricMeans, Means
from gradlab.analysis.factors import Grouping
from gradlab.analysis.measures import Measure


def pooled(measure: Measure, groups: Grouping, networks: Grouping, seeds: Codes) -> Means | GeometricMeans:
    """The mean of each group over all its trials, its interval over seeds.

    A group's mean is a weighted sum of its networks' means, so its interval is that of any such sum: trials of a seed
    are not taken for independent, nor are differences between networks for chance.

    Args:
        groups: several networks each.
        networks: of the same trials, by all factors.
        seeds: `[trial]`, a number for each seed.
    """
    found, numbers = measure.over_seeds(groups), measure.numbers
    half = np.full(groups.size, np.nan)
    for group, members in enumerate(groups.members):
        members = members[np.isfinite(numbers[members])]
        if len(members):
            cell = np.unique(networks.codes[members], return_inverse=True)[1].reshape(-1)
            seed = np.unique(seeds[members], return_inverse=True)[1].reshape(-1)
            cells = Cells(cell, seed, numbers[members], int(cell.max()) + 1)
            interval = cells.difference(cells.count / len(members))
            if interval.high is not None and interval.value is not None:
                half[group] = interval.high - interval.value
    if isinstance(found, GeometricMeans):
        return replace(found, log10_low=found.log10 - half, log10_high=found.log10 + half)
    return replace(found, low=found.value - half, high=found.value + half)
