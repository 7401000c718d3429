"""What the theory says of one network, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Forecast:
    """What mean-field theory says of a network at initialisation.

    Attributes:
        gradient_ratio, gradient_decay: as measured in the trials table.
        chi: factor of the squared gradient per layer in the limit of infinite depth.
        depth_scale: xi = 1/|ln chi|, in layers; infinite at the critical point.
        trainable: whether the gradient keeps its size well enough from the last to the first layer.
    """

    gradient_ratio: float | None
    gradient_decay: float | None
    chi: float | None
    depth_scale: float | None
    trainable: bool | None


NO_FORECAST = Forecast(None, None, None, None, None)
"""For the user's own model, whose architecture theory doesn't know."""
