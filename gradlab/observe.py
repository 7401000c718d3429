"""From histories to what a check compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gradlab.config.dump import as_json
from gradlab.config.sweep import Trial
from gradlab.engine.history import LAYER, LayerInfo, TrialHistory
from gradlab.errors import UsageError
from gradlab.store.measurement import (
    END,
    FIRST,
    LAST,
    LOGARITHMIC,
    LOSSES,
    MIDDLE,
    SHARES,
    WHOLE_NETWORK,
    Key,
    NetworkStatistics,
)

Reals = NDArray[np.float64]

AT_FIRST_ONLY = ("weight_norm",)
"""Statistics that are compared at the first step alone: later they say nothing that updates don't."""


def named_steps(steps: int, every: int) -> dict[str, int]:
    """The recorded steps that a check looks at: the first, the one nearest the middle, the last; each once."""
    last = steps - 1
    middle = every * max(1, round(last / (2 * every)))
    named = {FIRST: 0} | ({MIDDLE: middle} if middle < last else {})
    return named | ({LAST: last} if last else {})


def network_statistics(trials: Sequence[Trial], histories: Sequence[TrialHistory]) -> NetworkStatistics:
    """What was measured of one network, of its layers; time steps are not compared.

    Args:
        trials: one for each seed.
        histories: of these trials, none failed.

    Raises:
        UsageError: a custom model whose layers are not the same for all seeds.
    """
    if any(history.layers != histories[0].layers for history in histories):
        raise UsageError("model.factory: its layers differ from seed to seed, so seeds cannot be compared")
    steps = named_steps(trials[0].train.steps, trials[0].record.every)
    first = histories[0]
    places = [place for place, info in enumerate(first.layers) if info.kind == LAYER]
    layers = [first.layers[place] for place in places]
    values: dict[Key, Reals] = {}
    for name, step in steps.items():
        for statistic in (*LOGARITHMIC, *SHARES):
            if statistic in AT_FIRST_ONLY and name != FIRST:
                continue
            table = np.stack([_at_step(history, statistic, step, places) for history in histories])
            meaningless = np.broadcast_to(first.meaningless.get(statistic, False), len(first.layers))[places]
            for layer in np.flatnonzero(~meaningless).tolist():
                values[Key(name, statistic, layer + 1)] = table[:, layer]
    for loss in LOSSES:
        finals = np.array([history.finals[loss] for history in histories])
        values[Key(END, loss, WHOLE_NETWORK)] = log10(finals)
    return NetworkStatistics(
        settings=as_json(dict(trials[0].point)),
        layers=tuple(info.name for info in layers),
        steps=steps,
        values=values,
        weight_prints=np.stack([history.weight_prints for history in histories], axis=1),
        weight_counts=tuple(info.weight_count for info in layers),
        diverged=tuple(history.diverged_step for history in histories),
        parameters=first.parameters,
    )


def compared(statistic: str, values: Mapping[str, Reals], layers: Sequence[LayerInfo]) -> Reals:
    """A statistic as a check compares it, [layer]: the logarithm of a norm, the share that a count makes.

    Args:
        values: what was measured, by column of the layers table, [layer].
    """
    if f"log10_{statistic}" in values:
        return values[f"log10_{statistic}"]
    if statistic not in SHARES:
        return log10(values[statistic])
    counted = {"non_finite": [info.weight_count for info in layers], "saturated_fraction": [1] * len(layers)}
    shares: Reals = values[statistic] / np.array(counted.get(statistic) or [info.units or 1 for info in layers])
    return shares


def _at_step(history: TrialHistory, statistic: str, step: int, places: Sequence[int]) -> Reals:
    """A statistic of the layers at these places at a step, [layer]; NaN where the trial had diverged before."""
    if step not in history.steps:
        return np.full(len(places), np.nan)
    record = history.steps.index(step)
    values = {
        name: history.layer_values[name][record, places]
        for name in (statistic, f"log10_{statistic}")
        if name in history.layer_values
    }
    return compared(statistic, values, [history.layers[place] for place in places])


def log10(values: Reals) -> Reals:
    """The logarithms of norms or losses: -inf for 0, NaN for what is no number."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: Reals = np.log10(values)
    return logs
