"""`gradlab activations -o FILE`: every activation with the derivative that multiplies the gradient, drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradlab.errors import UsageError
from gradlab.report.figures.style import COLOURS, styled
from gradlab.store.atomic import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""phi(z) and phi'(z), [point]."""

FORMATS = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}, ".pdf": {"CreationDate": None}}
"""Ending of a file -> what its metadata leaves out, so that the same figure has the same bytes."""

_PHI, _SLOPE = COLOURS[:2]

_NEAR = 1.0, 0.03
"""How far around 0 relu and leaky_relu are set side by side, in z and in phi: a slope of 0.01 shows there."""


def draw_activations(path: Path, z: NDArray[np.float64], curves: Mapping[str, Curve]) -> None:
    """Draw what matters about derivatives, and below it each activation with its own; the ending says the format.

    Args:
        z: where the curves are given, [point].
        curves: name -> (phi(z), phi'(z)).

    Raises:
        UsageError: the ending names no known format.
        MachineError: the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        told = f"'{path.suffix}' is no format" if path.suffix else "the ending is missing"
        raise UsageError(f"{path}: {told}; end the name with {', '.join(FORMATS)}")
    with styled():
        stream = io.BytesIO()
        _page(z, curves).savefig(stream, format=ending[1:], dpi=150, metadata=FORMATS[ending])
    write_whole(path, lambda target: target.write(stream.getvalue()))


def _page(z: NDArray[np.float64], curves: Mapping[str, Curve]) -> Canvas:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    page = Canvas(figsize=(12, 12))
    FigureCanvasAgg(page)
    page.suptitle(
        "Activations phi, and the derivatives phi' that multiply the gradient at every layer", fontweight="bold"
    )
    rows = -(-len(curves) // 4)
    top = page.add_gridspec(1, 2, left=0.05, right=0.98, top=0.92, bottom=0.7, wspace=0.14)
    _slopes(page.add_subplot(top[0]), z, {name: curves[name] for name in ("sigmoid", "tanh", "relu") if name in curves})
    _near_zero(page.add_subplot(top[1]), z, {name: curves[name] for name in ("relu", "leaky_relu") if name in curves})
    grid = page.add_gridspec(rows, 4, left=0.05, right=0.98, top=0.63, bottom=0.04, wspace=0.2, hspace=0.42)
    for place, (name, curve) in enumerate(curves.items()):
        _one(page.add_subplot(grid[divmod(place, 4)]), name, z, curve, place == 0)
    return page


def _slopes(panel: Axes, z: NDArray[np.float64], curves: Mapping[str, Curve]) -> None:
    """Derivatives beside each other: that of sigmoid is never above a quarter."""
    for (name, (_, slope)), colour, line in zip(curves.items(), COLOURS, ("-", "--", "-."), strict=False):
        panel.plot(z, slope, color=colour, linestyle=line, label=f"{name}': at most {slope.max():.3g}")
        panel.axhline(slope.max(), color=colour, linewidth=0.7, linestyle=":")
    panel.set_title("sigmoid's derivative is never above 0.25: each layer takes three quarters of a signal")
    panel.set(xlabel="z", ylabel="phi'(z)", ylim=(-0.05, 1.1), xlim=(z[0], z[-1]))
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1])
    panel.grid(axis="y", color="0.92", linewidth=0.6)
    panel.legend(loc="center left")


def _near_zero(panel: Axes, z: NDArray[np.float64], curves: Mapping[str, Curve]) -> None:
    """relu and leaky_relu around 0: the one is flat below it, the other keeps a slope."""
    near = np.abs(z) <= _NEAR[0]
    for (name, (phi, slope)), colour, line in zip(curves.items(), COLOURS, ("-", "--"), strict=False):
        label = f"{name}: phi' = {slope[0]:.3g} below 0, {slope[-1]:.3g} above"
        panel.plot(z[near], phi[near], color=colour, linestyle=line, linewidth=2, label=label)
    _cross(panel)
    panel.set_title("Around 0: relu passes nothing on below it, leaky_relu a little (phi enlarged)")
    panel.set(xlabel="z", ylabel="phi(z)", xlim=(-_NEAR[0], _NEAR[0]), ylim=(-_NEAR[1] / 2, _NEAR[1]))
    panel.legend(loc="center right")


def _one(panel: Axes, name: str, z: NDArray[np.float64], curve: Curve, with_legend: bool) -> None:
    phi, slope = curve
    _cross(panel)
    panel.plot(z, phi, color=_PHI, label="phi(z)")
    panel.plot(z, slope, color=_SLOPE, linestyle="--", label="phi'(z)")
    panel.set_title(f"{name}: phi' from {slope.min():.3g} to {slope.max():.3g}")
    panel.set(ylim=(-1.5, 2.5), xlim=(z[0], z[-1]))
    if with_legend:
        panel.legend(loc="upper left")


def _cross(panel: Axes) -> None:
    panel.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    panel.axvline(0, color="0.8", linewidth=0.8, zorder=0)
