"""All activations of the config at their default parameters, as values for a table and curves for a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradlab.config.choices import ACTIVATIONS, Choice
from gradlab.engine.activations import Activation, make_activation

_REACH, _POINTS = 4.0, 801


def activation_rows() -> list[dict[str, Any]]:
    """Name, parameters, sup |phi'| and phi'(0) of each."""
    zero = torch.zeros(1, dtype=torch.float64)
    return [
        {
            "name": name,
            "parameters": dict(ACTIVATIONS[name]),
            "sup_derivative": activation.sup_derivative,
            "derivative_at_0": activation.derivative(zero).item(),
        }
        for name, activation in _all().items()
    ]


def activation_curves() -> tuple[NDArray[np.float64], dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """Points z, and for each activation phi(z) and phi'(z)."""
    z = torch.linspace(-_REACH, _REACH, _POINTS, dtype=torch.float64)
    return z.numpy(), {name: (one.function(z).numpy(), one.derivative(z).numpy()) for name, one in _all().items()}


def _all() -> dict[str, Activation]:
    choices = {name: Choice(name, tuple(parameters.items())) for name, parameters in ACTIVATIONS.items()}
    return {name: make_activation(choice) for name, choice in choices.items()}
