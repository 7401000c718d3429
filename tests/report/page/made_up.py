"""A report of made-up runs with a figure of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradlab.analysis.figures.figure import Figure, LayerSteps, Lines, Plane, Quantiles, Regions
from gradlab.analysis.figures.report import Report, make_report
from tests.store.synthetic import FakeTrial, make_run

QUANTILES = ("q01", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q99")


def trials(depths: Sequence[int], activations: Sequence[str], seeds: int = 2, **results: Any) -> list[FakeTrial]:
    """A trial for each depth, activation and seed; the decay is the activation's own."""
    decays = {name: 0.35 + 0.2 * place for place, name in enumerate(activations)}
    words = {True: "vanishing", False: "healthy"}
    return [
        FakeTrial(
            f"{depth}-{place}-{seed}",
            seed,
            depth,
            decay=decays[name] * (1 + 0.02 * seed),
            settings={"activation": name},
            results={"diagnosis": words[decays[name] < 0.6 and depth > 2], **results},
        )
        for depth, (place, name), seed in product(depths, enumerate(activations), range(seeds))
    ]


def report_of(folder: Path, made: Sequence[FakeTrial], name: str = "made-up") -> Report:
    """The report of one run of these trials, with its own figures replaced by one of every kind."""
    run = make_run(folder, [made], name)
    found = make_report([run.path])
    depths = [int(factors.get("depth") or 5) for factors in found.factors]
    return Report(found.summary, found.labels, found.factors, tuple(figures(depths)))


def figures(depths: Sequence[int], steps: int = 6) -> list[Figure]:
    """A figure of every kind for groups of these depths."""
    return [
        _figure("gradient", lines(depths, steps), Lines("log10 of the gradient's norm")),
        _figure("map", layer_steps(depths, steps), LayerSteps("gradient norm", True)),
        _figure("dead", layer_steps(depths, steps, share=True), LayerSteps("dead units", False)),
        _figure("plane", *plane(sorted(set(depths)))),
        _figure("quantiles", quantiles(depths), Quantiles()),
        _figure("regions", regions(len(depths)), Regions("feature 1", "feature 2")),
    ]


def _figure(name: str, numbers: pd.DataFrame, chart: Any) -> Figure:
    title = {"map": "Gradient over training", "dead": "Dead units over training"}.get(name, name.capitalize())
    return Figure(name, title, f"What {name} shows in one sentence.", f"What {name} looks like.", numbers, chart)


def _places(depths: Sequence[int], steps: Sequence[int]) -> pd.DataFrame:
    rows = [
        (group, step, layer) for group, depth in enumerate(depths) for step in steps for layer in range(1, depth + 2)
    ]
    return pd.DataFrame(rows, columns=["group", "step", "layer"])


def lines(depths: Sequence[int], steps: int) -> pd.DataFrame:
    """Gradients that shrink towards the input, less so in later steps; layer 1 of the first group has none."""
    places = _places(depths, range(0, 10 * steps, 10))
    depth = places["group"].map(dict(enumerate(depths)))
    slope = 0.1 + 0.05 * (places["group"] % 5)
    value = -slope * (depth + 1 - places["layer"]) * (1 - places["step"] / (20 * steps))
    value += 0.1 * np.sin(7.0 * places["group"] + places["layer"])
    value[(places["group"] == 0) & (places["layer"] == 1)] = np.nan
    predicted = np.where(places["step"] == 0, -slope * (depth + 1 - places["layer"]), np.nan)
    return places.assign(value=value, low=value - 0.3, high=value + 0.3, predicted=predicted)


def layer_steps(depths: Sequence[int], steps: int, share: bool = False) -> pd.DataFrame:
    """A statistic that grows with the layer and the step."""
    places = _places(depths, range(0, 10 * steps, 10))
    value = places["layer"] / 40 + places["step"] / (20 * steps)
    return places.assign(value=np.clip(value, 0, 1) if share else 3 * value - 5)


def plane(depths: Sequence[int]) -> tuple[pd.DataFrame, Plane]:
    """Decay over depth and width with a curve through it."""
    rows = [(depth, width, np.log10(1 - depth / width), 2) for depth in depths for width in (64, 128, 256)]
    numbers = pd.DataFrame(rows, columns=["x", "y", "value", "trials"])
    curve = pd.DataFrame({"x": [float(depths[0]), float(depths[-1])], "y": [64.0, 256.0]})
    return numbers, Plane("depth", "width", "gradient decay", True, curve, "depth scale")


def quantiles(depths: Sequence[int]) -> pd.DataFrame:
    """Quantiles of a normal distribution whose deviation shrinks with the layer, before training."""
    places = _places([depth - 1 for depth in depths], (0, 50))
    deviation = np.where(places["step"] == 0, np.exp(-places["layer"] / 10), 1.0)
    normal = (-2.33, -1.64, -1.28, -0.67, 0.0, 0.67, 1.28, 1.64, 2.33)
    return places.assign(**{name: deviation * z for name, z in zip(QUANTILES, normal, strict=True)})


def regions(groups: int, resolution: int = 32, examples: int = 40) -> pd.DataFrame:
    """A half plane before training and a disc afterwards."""
    axis = np.linspace(-2, 2, resolution)
    x, y = np.meshgrid(axis, axis)
    draws = np.random.default_rng(0).uniform(-2, 2, (2, examples))
    rows = []
    for group, seed, step in product(range(groups), range(2), (0, 51)):
        decision = (x > 0.3 * seed) if step == 0 else (x**2 + y**2 < 1 + 0.2 * group)
        rows.append(
            {
                "group": group,
                "seed": seed,
                "trial_id": f"{group}-{seed}",
                "step": step,
                "x_min": -2.0,
                "x_max": 2.0,
                "y_min": -2.0,
                "y_max": 2.0,
                "resolution": resolution,
                "classes": 2,
                "decision": decision.astype(np.uint8).ravel().tolist(),
                "points_x": draws[0].tolist(),
                "points_y": draws[1].tolist(),
                "points_class": (np.hypot(*draws) < 1).astype(np.uint8).tolist(),
            }
        )
    return pd.DataFrame(rows)


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "<!--<script>",
    "' onmouseover='alert(4)",
    "&lt;b&gt;",
    "{{7*7}}${7*7}",
)
"""Texts that must stay text."""


def hostile_report(folder: Path) -> Report:
    """A report whose names, settings, errors and words are all hostile."""
    made = [
        FakeTrial(
            f"t{place}",
            depth=2 + place,
            settings={"activation": text, "optimizer": text},
            results={"status": "failed", "diagnosis": "failed" if place else text, "error": text},
        )
        for place, text in enumerate(HOSTILE)
    ]
    found = report_of(folder, made)
    words = " ".join(HOSTILE)
    hostile = tuple(
        Figure(one.name, f"{one.title} {words}", words, words, one.numbers, one.chart) for one in found.figures
    )
    return Report(found.summary, tuple(f"{label} {words}" for label in found.labels), found.factors, hostile)
