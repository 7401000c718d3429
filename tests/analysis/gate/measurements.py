"""Measurements made by hand: a network of three layers over ten seeds, and changes to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    Measurement,
    NetworkStatistics,
)

Reals = NDArray[np.float64]
Edit = Callable[[Reals], Reals]

SEEDS = 10
RATIO, SHARE = 1.25, 0.05
THRESHOLDS = dict.fromkeys((*LOGARITHMIC, *LOSSES), RATIO) | dict.fromkeys(SHARES, SHARE)
"""The changes that matter by default."""

STEPS = {FIRST: 0, MIDDLE: 10, LAST: 19}


def network(
    layers: int = 3,
    seeds: int = SEEDS,
    spread: float = 0.3,
    stream: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> NetworkStatistics:
    """Norms that vary from seed to seed by `spread` decades, shares of 20 %.

    Args:
        stream: of the random numbers: another one stands for other seeds, or for other draws of the same seeds.
    """
    random = np.random.default_rng(stream)
    values: dict[Key, Reals] = {}
    for step in STEPS:
        for statistic in (*LOGARITHMIC, *SHARES):
            for layer in range(1, layers + 1):
                if statistic != "weight_norm" or step == FIRST:
                    varies = spread * random.normal(size=seeds)
                    values[Key(step, statistic, layer)] = (
                        varies - layer if statistic in LOGARITHMIC else 0 * varies + 0.2
                    )
    values |= {Key(END, loss, WHOLE_NETWORK): spread * random.normal(size=seeds) for loss in LOSSES}
    return NetworkStatistics(
        settings=settings or {},
        layers=tuple(f"layer_{number}" for number in range(1, layers + 1)),
        steps=STEPS,
        values=values,
        weight_prints=random.normal(size=(layers, seeds)),
        weight_counts=(16,) * layers,
        diverged=(None,) * seeds,
        parameters={"float32": 17 * layers},
    )


def measurement(*networks: NetworkStatistics, seeds: Sequence[int] | None = None) -> Measurement:
    """What was measured of these networks, by default `network()`, with seeds 0, 1, ..."""
    networks = networks or (network(),)
    seeds = range(len(networks[0].diverged)) if seeds is None else seeds
    return Measurement("0123456789abcdef", {"gradlab": "1", "torch": "2"}, tuple(seeds), networks)


def edited(
    measured: Measurement,
    edit: Edit,
    statistics: Sequence[str],
    layers: Sequence[int] = (1, 2, 3),
    steps: Sequence[str] = (*STEPS, END),
) -> Measurement:
    """The measurement with some statistics of every network changed."""

    def values_of(known: NetworkStatistics) -> dict[Key, Reals]:
        return {
            key: edit(values.copy())
            if key.statistic in statistics and key.layer in layers and key.step in steps
            else values
            for key, values in known.values.items()
        }

    return replace(measured, networks=tuple(replace(one, values=values_of(one)) for one in measured.networks))


def replaced(measured: Measurement, **fields: Any) -> Measurement:
    """The measurement with other fields in every network."""
    return replace(measured, networks=tuple(replace(one, **fields) for one in measured.networks))


def scaled(factor: float) -> Edit:
    """A norm that is so many times larger for every seed."""
    return lambda logs: logs + np.log10(factor)


def only(seeds: int, value: float) -> Edit:
    """Another value for the first seeds."""

    def edit(values: Reals) -> Reals:
        values[:seeds] = value
        return values

    return edit
