"""`gradlab activations`: every activation with its derivative, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from gradlab.report.layout import Column, print_columns, say
from gradlab.report.numbers import number

FORMULAS = {
    "linear": ("z", "1", "nowhere"),
    "sigmoid": ("1/(1 + exp(-z))", "phi (1 - phi), at most 1/4", "nowhere"),
    "tanh": ("tanh z", "1 - phi^2", "nowhere"),
    "relu": ("max(0, z)", "1 if z > 0 else 0", "z <= 0"),
    "leaky_relu": ("z if z > 0 else a z", "1 if z > 0 else a", "nowhere"),
    "elu": ("z if z > 0 else a (exp(z) - 1)", "1 if z > 0 else a exp(z)", "nowhere"),
    "selu": ("1.0507 elu(z), a = 1.6733", "1.0507 (1 if z > 0 else a exp(z))", "nowhere"),
    "gelu": ("z Phi(z)", "Phi(z) + z N(z)", "nowhere"),
    "silu": ("z sigmoid(z)", "s (1 + z (1 - s)), s = sigmoid(z)", "nowhere"),
    "softplus": ("log(1 + exp(b z))/b", "sigmoid(b z)", "nowhere"),
    "hardtanh": ("z clipped to [min, max]", "1 inside, 0 outside", "outside (min, max)"),
}
"""Name -> phi, phi', where phi' is exactly 0 (on more than a point)."""


def print_activations(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """The table; each row has name, parameters, sup_derivative and derivative_at_0."""
    columns = [
        Column("activation", [row["name"] for row in rows], right=False),
        Column("phi(z)", [FORMULAS[row["name"]][0] for row in rows], 90, right=False),
        Column("phi'(z)", [FORMULAS[row["name"]][1] for row in rows], 80, right=False),
        Column("largest\n|phi'|", [number(row["sup_derivative"]) for row in rows]),
        Column("phi'(0)", [number(row["derivative_at_0"]) for row in rows], 70),
        Column("phi' = 0", [FORMULAS[row["name"]][2] for row in rows], 85, right=False),
        Column("parameters", [_parameters(row["parameters"]) for row in rows], 60, right=False),
    ]
    print_columns(console, columns)
    say(console, "a backward signal is multiplied by phi' at every layer: below 1 throughout, it vanishes with depth")


def _parameters(parameters: Mapping[str, float]) -> str:
    return ", ".join(f"{key}={value:g}" for key, value in parameters.items())
