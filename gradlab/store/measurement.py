"""What a check compares: the gradient statistics of a config's networks, over seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LOGARITHMIC = ("weight_grad_norm", "delta_rms", "activation_rms", "update_ratio", "weight_norm")
"""Statistics of a layer that are compared as logarithms."""

SHARES = ("dead_units", "zero_gradient_units", "saturated_fraction", "non_finite")
"""Statistics of a layer that are shares, of its units, of (unit, example) pairs or of gradient entries."""

ALWAYS = ("weight_grad_norm", "delta_rms", "non_finite")
"""Statistics that every layer has at every step."""

LOSSES = ("final_train_loss", "final_eval_loss")
"""Statistics of a whole network after training, compared as logarithms."""

FIRST, MIDDLE, LAST, END = "first", "middle", "last", "end"
"""The named steps: the untrained network, the middle record, the last step; after the last update."""

RECORDED = "a run directory"
"""Stands in place of a config's digest where the tables of a run were measured."""

WHOLE_NETWORK = 0
"""The layer number of statistics that belong to the whole network."""


class Key(NamedTuple):
    """One statistic of a network: at a named step, of a layer (1 is nearest the input)."""

    step: str
    statistic: str
    layer: int


@dataclass(frozen=True)
class NetworkStatistics:
    """What was measured of one network (one point of the sweep), over the seeds.

    Attributes:
        settings: the swept settings that tell it from the others.
        layers: the layers' names, from the input on.
        steps: named step -> step.
        values: `[seed]` each; log10 of a norm or loss (-inf for an exact 0), a share as it is; NaN for what is no
            number or was never reached.
        weight_prints: what identifies the draws of the initial weights, `[layer, seed]`, or `[layer, 0]` where nobody
            took them.
        weight_counts: weights of each layer.
        diverged: `[seed]`, the first step whose loss was not finite, or None.
        parameters: how many trainable parameters there are of each type, such as float32; where types are not known,
            of all under "".
    """

    settings: Mapping[str, Any]
    layers: tuple[str, ...]
    steps: Mapping[str, int]
    values: Mapping[Key, NDArray[np.float64]]
    weight_prints: NDArray[np.float64]
    weight_counts: tuple[int, ...]
    diverged: tuple[int | None, ...]
    parameters: Mapping[str, int] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What tells this network from the others of a measurement: its settings."""
        return json.dumps(dict(self.settings), sort_keys=True)


@dataclass(frozen=True)
class Measurement:
    """The gradient statistics of a config's networks: just measured, or read from a baseline or a run directory.

    Attributes:
        config: digest of the settings that matter to the numbers, or `RECORDED`.
        made_by: gradlab, torch, device, threads.
        settings: section of the config -> its settings, to say in which a baseline's config is another.
    """

    config: str
    made_by: Mapping[str, str]
    seeds: tuple[int, ...]
    networks: tuple[NetworkStatistics, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def is_logarithmic(statistic: str) -> bool:
    """Whether a statistic is compared as a logarithm, by ratios; shares are compared by differences."""
    return statistic in LOGARITHMIC or statistic in LOSSES
