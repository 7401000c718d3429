"""`gradlab predict`: mean-field theory for a sweep, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from gradlab.analysis.telling import telling
from gradlab.config.sweep import Trial
from gradlab.report.layout import Column, print_columns, say
from gradlab.report.numbers import NOTHING, count_of, number, setting
from gradlab.theory.forecast import Forecast

COVERED = ("mlp", "cnn")
"""Families of networks that the theory speaks of."""


def predictions_json(trials: Sequence[Trial], forecasts: Sequence[Forecast]) -> dict[str, Any]:
    """`trials`: one object per trial, its factor columns and what theory predicts."""
    rows = [
        {
            "trial_id": trial.trial_id,
            "seed": trial.seed,
            **trial.factors(),
            "predicted_gradient_ratio": one.gradient_ratio,
            "predicted_gradient_decay": one.gradient_decay,
            "chi": one.chi,
            "depth_scale": one.depth_scale,
            "trainable": one.trainable,
        }
        for trial, one in zip(trials, forecasts, strict=True)
    ]
    return {"trials": rows}


def print_predictions(console: Console, trials: Sequence[Trial], forecasts: Sequence[Forecast]) -> None:
    """One row per network that the theory covers, whatever its seed: the factors that vary, then the prediction."""
    networks: dict[str, tuple[dict[str, Any], Forecast]] = {}
    for trial, one in zip(trials, forecasts, strict=True):
        factors = trial.factors()
        networks.setdefault(repr(factors), (factors, one))
    rows = [(factors, one) for factors, one in networks.values() if factors["family"] in COVERED]
    if len(rows) < len(networks):
        others = dict.fromkeys(
            factors["family"] for factors, _ in networks.values() if factors["family"] not in COVERED
        )
        left_out = f"{count_of(len(networks) - len(rows), 'network')} of family {' and '.join(others)}"
        say(console, f"mean-field theory covers families {' and '.join(COVERED)}: no prediction for {left_out}")
    if not rows:
        return
    varying = [name for name in rows[0][0] if len({repr(factors.get(name)) for factors, _ in rows}) > 1]
    names = list(telling(varying, [factors for factors, _ in rows]))
    names = names or [name for name in ("depth", "activation", "init") if rows[0][0][name] is not None]
    columns = [Column(name, [setting(factors[name]) for factors, _ in rows], right=False) for name in names]
    columns += [
        Column("gradient decay\nper layer", [_number(one.gradient_decay) for _, one in rows]),
        Column("first/last\nlayer", [_number(one.gradient_ratio) for _, one in rows], 90),
        Column("chi at\ninfinite depth", [_number(one.chi) for _, one in rows], 60),
        Column("depth scale xi\n(layers)", [_number(one.depth_scale) for _, one in rows], 80),
        Column("trainable", [_yes(one.trainable) for _, one in rows], 85),
    ]
    print_columns(console, columns)
    say(console, "\n".join(_verdicts(rows)))


def _number(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "inf" if math.isinf(value) else number(value)


def _yes(value: bool | None) -> str:
    return NOTHING if value is None else "yes" if value else "no"


def _verdicts(rows: Sequence[tuple[dict[str, Any], Forecast]]) -> list[str]:
    """What it means for the deepest network."""
    known = [(factors, one) for factors, one in rows if one.trainable is not None]
    if not known:
        return ["mean-field theory gives no number for these networks (0/0)"]
    deepest = max(factors["depth"] for factors, _ in known)
    there = [one for factors, one in known if factors["depth"] == deepest]
    able = sum(bool(one.trainable) for one in there)
    return [
        f"the deepest networks ({deepest} layers): {able} of {len(there)} can train, by the rule that the squared "
        "gradient changes by less than e^6, as over 6 depth scales xi = 1/|ln chi| (Schoenholz et al. 2017)",
        "decay below 1: the gradient vanishes on its way back; above 1: it explodes",
    ]
