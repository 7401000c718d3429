"""What is shown of a record to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from torch import Tensor

from gradlab.config.sweep import Trial
from gradlab.engine.measure import Statistics
from gradlab.sighting import Sighting

Watch: TypeAlias = Callable[[Sighting], None]


def seen_in_stack(
    trials: Sequence[Trial], recorded: Sequence[int], step: int, losses: Tensor, layers: Statistics
) -> Sighting:
    """The record of some trials of a stack.

    Args:
        recorded: their places in the stack.
        losses: of the step's minibatch, [trial].
        layers: statistics of gradients and units, [layer, trial].
    """
    own = [trials[index] for index in recorded]
    units = losses.new_tensor([trial.model.depth * trial.model.width for trial in own])
    dead = layers["dead_units"][:-1, recorded].nansum(0) / units
    return Sighting(
        trial_ids=tuple(trial.trial_id for trial in own),
        step=step,
        steps=own[0].train.steps,
        lengths=tuple(trial.model.depth for trial in own),
        log10_delta_rms=layers["log10_delta_rms"][:-1, recorded].T.cpu().numpy(),
        dead_fraction=dead.cpu().numpy(),
        train_loss=losses[recorded].double().cpu().numpy(),
    )
