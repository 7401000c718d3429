"""The gradient layer by layer, a line for each group."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gradlab.analysis.figures.figure import Figure, Lines
from gradlab.analysis.summary import Summary


def gradient_by_layer(summary: Summary) -> Figure | None:
    """The root mean square of the deltas in each layer at step 0; None where nobody recorded it."""
    rows = [
        (group, 0, layer, mean.log10, mean.log10_low, mean.log10_high)
        for group, profile in enumerate(summary.profiles)
        for layer, mean in zip(profile.layers, profile.delta_rms, strict=True)
    ]
    numbers = pd.DataFrame(rows, columns=["group", "step", "layer", "value", "low", "high"])
    numbers = numbers.replace([-np.inf, np.inf], np.nan).assign(predicted=np.nan)
    if not numbers["value"].notna().any():
        return None
    return Figure(
        "gradient-by-layer",
        "Gradient by layer",
        "The gradient in each layer.",
        "A line for each group over layers.",
        numbers,
        Lines("log10 of the gradient (delta_rms)"),
    )
