"""Baseline and new measurement in, a verdict for every statistic out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION, SAME, Change
from gradlab.analysis.gate.matching import Match, matches, seeds_pair_up
from gradlab.analysis.gate.names import layer_list, network_name
from gradlab.analysis.gate.resampling import LEVEL, MaxTest, permutation_test, sign_flip_test
from gradlab.analysis.gate.spread import interval
from gradlab.store.measurement import END, WHOLE_NETWORK, Key, Measurement, NetworkStatistics, is_logarithmic

Reals = NDArray[np.float64]

DIVERGED = "diverged"
"""The statistic that counts the seeds whose loss stopped being finite."""

ZERO_SHARE = 0.05
"""Share of the seeds in which a norm must become, or stop being, exactly 0 to matter."""

SLACK = 0.25
"""Deviation between seeds that counts as none, as a share of the change that matters."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    Attributes:
        changes: every statistic that was compared or is missing, the worst first.
        paired: whether seeds were compared one by one; otherwise their distributions were.
        exact: whether the test tried all arrangements of the seeds.
        notes: what the numbers don't say: new networks and layers, statistics that are no longer measured.
    """

    changes: tuple[Change, ...]
    paired: bool
    exact: bool
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """regression if any change is one, else inconclusive if any is, else pass."""
        found = {change.verdict for change in self.changes}
        return next((word for word in (REGRESSION, INCONCLUSIVE) if word in found), SAME)

    def of(self, verdict: str) -> list[Change]:
        """The changes of one verdict, the worst first."""
        return [change for change in self.changes if change.verdict == verdict]


@dataclass(frozen=True)
class _Item:
    """One statistic with its values on both sides, `[seed]` each."""

    match: Match
    key: Key
    old: Reals
    new: Reals
    threshold: float


def judge(baseline: Measurement, now: Measurement, thresholds: Mapping[str, float]) -> Verdict:
    """Compare two measurements.

    A statistic regresses where its change is significant, at a family-wise error of 1 % over everything that is
    compared, and large enough to matter; or where it is no number any more, or is not there.

    Args:
        thresholds: statistic -> the ratio of means, or the difference of shares, that matters.
    """
    both, gone, added = matches(baseline, now)
    items = [item for match in both for item in _items(match, thresholds)]
    paired = seeds_pair_up(baseline, now, both)
    exact, tested = _tested(items, paired) if items else (True, [])
    missing = [_missing_network(network) for network in gone]
    missing += [_missing_layer(match, layer) for match in both for layer in _lost_layers(match)]
    changes = sorted([*missing, *tested], key=_worst_first)
    notes = [f"new, not in the baseline: {network_name(network.settings) or 'the network'}" for network in added]
    notes += [note for match in both for note in _notes(match)]
    return Verdict(tuple(changes), paired, exact, tuple(notes))


def _items(match: Match, thresholds: Mapping[str, float]) -> list[_Item]:
    items = []
    for key in match.common():
        threshold = thresholds[key.statistic]
        log_threshold = math.log10(threshold) if is_logarithmic(key.statistic) else threshold
        new = match.now.values[match.key_now(key) or key]
        items.append(_Item(match, key, match.baseline.values[key], new, log_threshold))
    old, new = (np.array([step is not None for step in one.diverged], float) for one in (match.baseline, match.now))
    return [*items, _Item(match, Key(END, DIVERGED, WHOLE_NETWORK), old, new, ZERO_SHARE)]


def _tested(items: Sequence[_Item], paired: bool) -> tuple[bool, list[Change]]:
    """All items' changes after one test over all of them.

    A norm makes two statistics: its logarithm where it is not 0, and whether it is 0.
    """
    old, new = (np.array([getattr(item, side) for item in items]).T for side in ("old", "new"))
    logarithmic = np.array([is_logarithmic(item.key.statistic) for item in items])
    thresholds = np.array([item.threshold for item in items])
    zero_old, zero_new = ((side == -np.inf).astype(np.float64) for side in (old, new))
    zeroed = logarithmic & (zero_old.any(0) | zero_new.any(0))
    slack = SLACK * np.concatenate([thresholds, np.full(int(zeroed.sum()), ZERO_SHARE)])
    if paired:
        gaps = [_known_difference(old, new), (zero_new - zero_old)[:, zeroed]]
        test = _certain(len(slack)) if len(old) == 1 else sign_flip_test(np.concatenate(gaps, axis=1), slack)
    else:
        filled_old, filled_new = _imputed(old, new)
        test = permutation_test(
            np.concatenate([filled_old, zero_old[:, zeroed]], axis=1),
            np.concatenate([filled_new, zero_new[:, zeroed]], axis=1),
            slack,
        )
    of_zero = np.full(len(items), -1)
    of_zero[zeroed] = np.arange(len(items), len(slack))
    changes = [
        _change(item, test, number, int(of_zero[number]), paired, len(now_values))
        for number, (item, now_values) in enumerate(zip(items, new.T, strict=True))
    ]
    return test.exact, changes


def _change(item: _Item, test: MaxTest, number: int, zero_number: int, paired: bool, seeds: int) -> Change:
    """What became of one item, given the place of its logarithm or share, and of its zeros, in the test."""
    logarithmic = is_logarithmic(item.key.statistic)
    zeros = (int((item.old == -np.inf).sum()), int((item.new == -np.inf).sum()))
    before, now = _mean(item.old), _mean(item.new)
    low, high = interval(item.old, item.new, paired)
    change = Change(
        network=item.match.baseline.settings,
        key=item.key,
        name=_layer_name(item.match, item.key.layer),
        step=item.match.baseline.steps.get(item.key.step),
        baseline=before,
        now=now,
        low=low,
        high=high,
        p=float(test.p[number]),
        threshold=item.threshold,
        verdict=SAME,
        zeros=zeros if logarithmic else (0, 0),
    )
    if _lost_numbers(item, paired):
        return replace(change, verdict=REGRESSION, reason="not a number", p=None)
    places = []
    if before is not None and now is not None and math.isfinite(change.shift) and abs(change.shift) > item.threshold:
        places.append(number)
    if zero_number >= 0 and abs(zeros[1] / len(item.new) - zeros[0] / len(item.old)) > ZERO_SHARE:
        places.append(zero_number)
    if not places:
        return change
    place = min(places, key=lambda place: test.p[place])
    if test.p[place] <= LEVEL:
        return replace(change, verdict=REGRESSION, p=float(test.p[place]))
    needed = _seeds_needed(test, place, seeds)
    return replace(change, verdict=INCONCLUSIVE, p=float(test.p[place]), seeds_needed=needed)


def _mean(values: Reals) -> float | None:
    """The mean over the seeds with a finite value; -inf where all that is known is 0."""
    finite = values[np.isfinite(values)]
    if len(finite):
        return float(finite.mean())
    return -math.inf if (values == -np.inf).any() else None


def _lost_numbers(item: _Item, paired: bool) -> bool:
    """Whether there is no number now where there was one."""
    before, now = np.isnan(item.old) | (item.old == np.inf), np.isnan(item.new) | (item.new == np.inf)
    return bool((now & ~before).any()) if paired else bool(now.any() and not before.any())


def _known_difference(old: Reals, new: Reals) -> Reals:
    """now less baseline; 0 where either is 0, infinite or no number: other statistics see to that."""
    both = np.isfinite(old) & np.isfinite(new)
    return np.where(both, np.where(both, new, 0.0) - np.where(both, old, 0.0), 0.0)


def _imputed(old: Reals, new: Reals) -> tuple[Reals, Reals]:
    """Both sides with their common mean for what is 0, infinite or no number, which then tells neither way."""
    both = np.concatenate([old, new])
    known = np.isfinite(both)
    sums = np.where(known, both, 0.0).sum(0)
    means = sums / np.maximum(known.sum(0), 1)
    filled = np.where(known, both, means)
    return filled[: len(old)], filled[len(old) :]


def _certain(count: int) -> MaxTest:
    """A single pair with the same initial weights: whatever differs, chance has no part in it."""
    return MaxTest(np.zeros(count), np.zeros(count), math.inf, True)


def _seeds_needed(test: MaxTest, place: int, seeds: int) -> int | None:
    """About how many seeds would make it significant, if the change is what it seems: the statistic grows as sqrt."""
    if test.observed[place] <= 0:
        return None
    return max(seeds + 2, math.ceil(seeds * (test.critical / float(test.observed[place])) ** 2))


def _worst_first(change: Change) -> tuple[float, float, int]:
    rank = (REGRESSION, INCONCLUSIVE, SAME).index(change.verdict)
    return (rank, -change.severity, change.key.layer)


def _lost_layers(match: Match) -> list[int]:
    return [number for number in range(1, len(match.baseline.layers) + 1) if number not in match.layers]


def _missing_layer(match: Match, layer: int) -> Change:
    return _gone(match.baseline, Key(END, "layer", layer), match.baseline.layers[layer - 1])


def _missing_network(network: NetworkStatistics) -> Change:
    return _gone(network, Key(END, "network", WHOLE_NETWORK), "")


def _gone(network: NetworkStatistics, key: Key, name: str) -> Change:
    nothing = (None, None, None, None, None)
    return Change(network.settings, key, name, None, *nothing, math.inf, REGRESSION, "missing")


def _layer_name(match: Match, layer: int) -> str:
    return "" if layer == WHOLE_NETWORK else match.now.layers[match.layers[layer] - 1]


def _notes(match: Match) -> list[str]:
    """New layers, layers of another size, statistics that only one side has."""
    notes = []
    known = set(match.layers.values())
    added = [name for number, name in enumerate(match.now.layers, 1) if number not in known]
    if added:
        notes.append(f"new, not in the baseline: layers {', '.join(added)}{_of(match.now)}")
    for old, now in match.layers.items():
        if old and match.baseline.weight_counts[old - 1] != match.now.weight_counts[now - 1]:
            before, after = match.baseline.weight_counts[old - 1], match.now.weight_counts[now - 1]
            notes.append(f"layer {match.now.layers[now - 1]} has {after:,} weights, had {before:,}{_of(match.now)}")
    old = {match.key_now(key) for key in match.baseline.values if key.layer in match.layers}
    new = {key for key in match.now.values if key.layer in known}
    for keys, told in ((old - new, "is not measured any more"), (new - old, "is new, not in the baseline,")):
        lost: dict[str, set[int]] = {}
        for key in keys:
            if key is not None:
                lost.setdefault(key.statistic, set()).add(key.layer)
        notes += [
            f"{name} {told} in layer {layer_list(sorted(layers))}{_of(match.now)}" for name, layers in lost.items()
        ]
    return notes


def _of(network: NetworkStatistics) -> str:
    return f" ({network_name(network.settings)})" if network.settings else ""
