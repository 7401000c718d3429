"""What is wrong with a trial, in one word."""

from __future__ import annotations

import math

from gradlab.config.schema import Diagnosis

DIAGNOSES = ("failed", "diverged", "dead", "vanishing", "exploding", "dying", "saturated", "healthy")
"""Every diagnosis, the gravest first; a trial gets the first that holds."""


def diagnose(
    *,
    status: str,
    gradient_ratio: float | None,
    dead_layer: bool,
    dead_fraction: float | None,
    saturated_fraction: float | None,
    reaches_zero_derivative: bool,
    thresholds: Diagnosis,
) -> str:
    """The diagnosis of one trial; None or NaN means that a number is not known, and decides nothing.

    Args:
        status: `completed`, `diverged` or `failed`.
        gradient_ratio: delta_rms(1) / delta_rms(D) at step 0; exactly 0 is vanishing, infinite is exploding.
        dead_layer: whether every unit of some hidden layer is dead at the last record.
        dead_fraction: share of hidden units that are dead at the last record.
        saturated_fraction: share of (hidden unit, probe example) pairs in saturation at the last record.
        reaches_zero_derivative: whether the activation's derivative is exactly 0 somewhere (relu, hardtanh): a flat
            half is what such a unit is made of, so its share is no sign of saturation.
        thresholds: the config's `diagnosis` section.
    """
    ratio = math.nan if gradient_ratio is None else gradient_ratio
    dead = math.nan if dead_fraction is None else dead_fraction
    saturated = math.nan if saturated_fraction is None else saturated_fraction
    holds = {
        "failed": status == "failed",
        "diverged": status == "diverged",
        "dead": dead_layer,
        "vanishing": ratio < thresholds.vanishing,
        "exploding": ratio > thresholds.exploding,
        "dying": dead > thresholds.dying,
        "saturated": saturated > thresholds.saturated and not reaches_zero_derivative,
        "healthy": True,
    }
    return next(word for word in DIAGNOSES if holds[word])
