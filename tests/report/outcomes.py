"""Outcomes of checks made by hand: small measurements, judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradlab.analysis.gate.judge import judge
from gradlab.analysis.gate.outcome import Outcome
from gradlab.config.schema import Check
from gradlab.store.measurement import (
    END,
    FIRST,
    LAST,
    LOGARITHMIC,
    LOSSES,
    SHARES,
    WHOLE_NETWORK,
    Key,
    Measurement,
    NetworkStatistics,
)

SEEDS = tuple(range(10))
THRESHOLDS = Check().model_dump(exclude={"seeds"})

Shifts = Mapping[Key, float | Sequence[float]]
"""Key -> what is added for all seeds, or for each."""


def network(
    settings: Mapping[str, Any] | None = None, layers: Sequence[str] = ("a", "b", "c", "out")
) -> NetworkStatistics:
    """A network whose statistics vary a little from seed to seed."""
    rng = np.random.default_rng(0)
    numbers = range(1, len(layers) + 1)
    keys = [Key(step, name, layer) for step in (FIRST, LAST) for name in (*LOGARITHMIC, *SHARES) for layer in numbers]
    values = {
        key: 0.01 * rng.standard_normal(len(SEEDS)) - key.layer
        if key.statistic in LOGARITHMIC
        else np.full(len(SEEDS), 0.25)
        for key in keys
    }
    values |= {Key(END, loss, WHOLE_NETWORK): 0.01 * rng.standard_normal(len(SEEDS)) for loss in LOSSES}
    return NetworkStatistics(
        settings=dict(settings or {}),
        layers=tuple(layers),
        steps={FIRST: 0, LAST: 29},
        values=values,
        weight_prints=rng.standard_normal((len(layers), len(SEEDS))),
        weight_counts=(64,) * len(layers),
        diverged=(None,) * len(SEEDS),
    )


def shifted(old: NetworkStatistics, shifts: Shifts) -> NetworkStatistics:
    """The network with some of its statistics moved."""
    return replace(old, values=dict(old.values) | {key: old.values[key] + np.asarray(by) for key, by in shifts.items()})


def measurement(*networks: NetworkStatistics, **made_by: str) -> Measurement:
    return Measurement("0" * 16, {"torch": "2.13.0", "device": "cpu"} | made_by, SEEDS, networks)


def outcome(baseline: Measurement, now: Measurement, failures: Sequence[str] = ()) -> Outcome:
    return Outcome(judge(baseline, now, THRESHOLDS), baseline, now, "baselines/ci.json", tuple(failures))


def passing(failures: Sequence[str] = ()) -> Outcome:
    """A network that sweeps nothing, as it was."""
    return outcome(measurement(network()), measurement(network()), failures)


def regressed() -> Outcome:
    """A network that sweeps nothing: gradients 40x smaller below layer 3, and what else can happen to a number."""
    old = network()
    shrunk = {Key(FIRST, "delta_rms", layer): -math.log10(40) for layer in (1, 2)}
    return outcome(measurement(old), measurement(shifted(old, shrunk | {Key(FIRST, "dead_units", 3): 0.125})))


def doubtful() -> Outcome:
    """Large differences that chance explains."""
    old = network()
    return outcome(measurement(old), measurement(shifted(old, {Key(FIRST, "delta_rms", 1): NOISE})))


NOISE = (3.0, -1.0, 2.0, -1.5, 2.5, 0.5, -0.5, 1.0, 0.1, 1.0)

EVIL = (
    "</table><script>alert(1)</script> | a `b` **c** [x](http://e.example) https://e.example www.e.example @team #12 "
    "$x$ &lt; ~~s~~ \n# h\n::error::x\r\x00\x1b]]> ![i](u) \ud800 \u202e %0A,title=y"
)
"""What Markdown, XML, a terminal or a workflow might take for more than text."""

LONG = "experiments/models/transformer_with_a_very_long_name.py:build_the_model_that_we_ship(d_model=64, n_heads=8)"


def everything(label: str = LONG, failures: Sequence[str] = ()) -> Outcome:
    """Two swept factors and everything that can become of a statistic, in several networks."""
    tiny = {"model.activation": "tanh", "model.depth": 50}
    long = {"model.factory": label, "train.lr": 0.1}
    third = {"model.activation": "relu", "model.depth": 3}
    old = {name: network(settings) for name, settings in (("tiny", tiny), ("long", long), ("third", third))}
    below = -400.0  # far below the range of a float
    was_tiny = shifted(old["tiny"], {Key(FIRST, "delta_rms", layer): below for layer in (1, 2)})
    half = [-math.inf] * 5 + [0.0] * 5
    now_tiny = shifted(
        was_tiny,
        {
            Key(FIRST, "delta_rms", 1): -2.5,
            Key(FIRST, "delta_rms", 2): half,
            Key(FIRST, "weight_grad_norm", 1): -math.inf,
            Key(LAST, "saturated_fraction", 2): 0.5,
            Key(LAST, "dead_units", 2): [0.75] * 3 + [0.0] * 7,
            Key(END, "final_eval_loss", WHOLE_NETWORK): math.nan,
            Key(LAST, "activation_rms", 3): [math.nan] + [0.0] * 9,
        },
    )
    now_long = shifted(
        old["long"],
        {
            Key(FIRST, name, layer): 0.3 * layer
            for name in ("delta_rms", "weight_norm", "activation_rms")
            for layer in (1, 2, 3)
        }
        | {Key(LAST, "weight_grad_norm", layer): NOISE for layer in (1, 2, 3, 4)},
    )
    fewer = network(third, ("a", "c", "out"))
    added = network({"model.activation": "gelu", "model.depth": 3})
    return outcome(
        measurement(was_tiny, old["long"], old["third"], network({"model.activation": "silu", "model.depth": 3})),
        measurement(now_tiny, now_long, fewer, added, torch="2.14.0"),
        failures,
    )
