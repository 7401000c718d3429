"""What only one of two measurements has: networks, layers, parameters, statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gradlab.analysis.gate.change import MISSING, REGRESSION, Change
from gradlab.analysis.gate.matching import Match
from gradlab.analysis.gate.names import network_name, numbered
from gradlab.store.measurement import END, WHOLE_NETWORK, Key, NetworkStatistics


def missing(both: Sequence[Match], gone: Sequence[NetworkStatistics]) -> Iterator[Change]:
    """Networks and layers of the baseline that are gone, parameters of another type: regressions without a test.

    Rounded to bfloat16 parameters are others, though no norm may tell.
    """
    for network in gone:
        yield _missing(network, Key(END, "network", WHOLE_NETWORK), "")
    for match in both:
        for layer, name in enumerate(match.baseline.layers, 1):
            if layer not in match.layers:
                yield _missing(match.baseline, Key(END, "layer", layer), name)
        fewer, more = _moved_parameters(match)
        if fewer and more:
            told = f"{' and '.join(fewer)} trainable parameters; there are {' and '.join(more)} ones"
            yield _missing(match.baseline, Key(END, "parameters", WHOLE_NETWORK), told)


def notes(both: Sequence[Match], added: Sequence[NetworkStatistics]) -> Iterator[str]:
    """Networks and layers that are new, layers of another size, statistics that only one side has."""
    for network in added:
        yield f"new, not in the baseline: {network_name(network.settings)}"
    for match in both:
        where = f" ({network_name(match.now.settings)})" if match.now.settings else ""
        yield from (note + where for note in _match_notes(match))


def _missing(network: NetworkStatistics, key: Key, name: str) -> Change:
    nothing = (None, None, None, None, None)
    return Change(network.settings, key, name, None, *nothing, math.inf, REGRESSION, MISSING)


def _moved_parameters(match: Match) -> tuple[list[str], list[str]]:
    """Of which types there are fewer trainable parameters than before, of which more, and how many."""
    before, now = match.baseline.parameters, match.now.parameters
    change = {kind: now.get(kind, 0) - before.get(kind, 0) for kind in dict.fromkeys([*before, *now])}
    return (
        [f"{-count:,} {kind}".strip() for kind, count in change.items() if count < 0],
        [f"{count:,} {kind}".strip() for kind, count in change.items() if count > 0],
    )


def _match_notes(match: Match) -> Iterator[str]:
    known = set(match.layers.values())
    added = [name for number, name in enumerate(match.now.layers, 1) if number not in known]
    if added:
        yield f"new, not in the baseline: layers {', '.join(added)}"
    fewer, more = _moved_parameters(match)
    if bool(fewer) != bool(more):
        yield f"{' and '.join(fewer or more)} trainable parameters {'fewer' if fewer else 'more'}"
    for old, new in match.layers.items():
        if old and match.baseline.weight_counts[old - 1] != match.now.weight_counts[new - 1]:
            before, after = match.baseline.weight_counts[old - 1], match.now.weight_counts[new - 1]
            yield f"layer {match.now.layers[new - 1]} has {after:,} weights, had {before:,}"
    expected = {key_now for key in match.baseline.values if (key_now := match.key_now(key))}
    found = {key for key in match.now.values if key.layer in known}
    for keys, told in ((expected - found, "not measured any more"), (found - expected, "new, not in the baseline")):
        layers: dict[str, set[int]] = {}
        for key in sorted(keys):
            layers.setdefault(key.statistic, set()).add(key.layer)
        yield from (f"{told}: {name} in {numbered(sorted(own))}" for name, own in layers.items())
