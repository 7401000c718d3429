"""What belongs together in two measurements: networks, layers, statistics; and whether their seeds pair up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.store.measurement import Key, Measurement, NetworkStatistics

SAME_DRAW = 0.02
"""Largest difference of two prints of the same weights: rounding them to bfloat16 moves a print by 0.005 at most."""


@dataclass(frozen=True)
class Match:
    """One network in both measurements.

    Attributes:
        layers: number of a layer in the baseline -> its number now; 0, the whole network, is itself.
    """

    baseline: NetworkStatistics
    now: NetworkStatistics
    layers: Mapping[int, int]

    def common(self) -> list[Key]:
        """The statistics that both have, by their key in the baseline."""
        return [key for key in self.baseline.values if self.key_now(key) in self.now.values]

    def key_now(self, key: Key) -> Key | None:
        """The key that a statistic of the baseline has now."""
        layer = self.layers.get(key.layer)
        return None if layer is None else key._replace(layer=layer)


def matches(
    baseline: Measurement, now: Measurement
) -> tuple[list[Match], list[NetworkStatistics], list[NetworkStatistics]]:
    """The networks in both, those only in the baseline, and those only in the new measurement."""
    old = {network.identity: network for network in baseline.networks}
    new = {network.identity: network for network in now.networks}
    both = [Match(old[key], new[key], _same_layers(old[key].layers, new[key].layers)) for key in old if key in new]
    gone = [network for key, network in old.items() if key not in new]
    return both, gone, [network for key, network in new.items() if key not in old]


def seeds_pair_up(baseline: Measurement, now: Measurement, both: Sequence[Match]) -> bool:
    """Whether both sides have the same seeds and drew their initial weights from the same random stream.

    Where an initialisation draws in another order, most layers start from other weights, and the two sides are
    independent samples. A gain, a scale or a changed block leaves most draws as they were. Where no prints were taken,
    nobody knows.
    """
    prints = (side.weight_prints for match in both for side in (match.baseline, match.now))
    if baseline.seeds != now.seeds or any(taken.shape[1] == 0 for taken in prints):
        return False
    same = [_same_draws(match, old, new) for match in both for old, new in match.layers.items() if old]
    known = [answer for answer in same if answer is not None]
    return not known or sum(known) * 2 >= len(known)


def _same_draws(match: Match, old: int, new: int) -> bool | None:
    """Whether a layer started from the same draws for all seeds; None where its prints don't tell."""
    before, after = match.baseline.weight_prints[old - 1], match.now.weight_prints[new - 1]
    if before.shape != after.shape or match.baseline.weight_counts[old - 1] != match.now.weight_counts[new - 1]:
        return False
    difference = np.abs(before - after)
    known = np.isfinite(difference)
    return bool((difference[known] <= SAME_DRAW).all()) if known.any() else None


def _same_layers(old: Sequence[str], new: Sequence[str]) -> dict[int, int]:
    """Which layer is which: by place where there are as many as before, whatever their names, else by name."""
    if len(old) == len(new):
        pairs = {number: number for number in range(1, len(old) + 1)}
    else:
        places = {name: number for number, name in enumerate(new, 1)}
        pairs = {number: places[name] for number, name in enumerate(old, 1) if name in places}
    return {0: 0} | pairs
