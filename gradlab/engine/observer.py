"""Who looks at a forward pass."""

from __future__ import annotations

from torch import Tensor

from gradlab.engine.normalisation import Normalised


class Observer:
    """Is shown every hidden layer l = 0, 1, ... of a forward pass; all tensors are [trial, row, unit].

    What it is shown is overwritten later on. This one looks at nothing.
    """

    def preactivation(self, layer: int, z: Tensor) -> None:
        """z, before anything is done to it."""

    def normalisation(self, layer: int, normalised: Normalised) -> None:
        """How z was normalised, where it is."""

    def activation_input(self, layer: int, u: Tensor) -> None:
        """phi's own input: z, or z normalised."""

    def activation(self, layer: int, h: Tensor) -> None:
        """What is passed on to the next layer."""
