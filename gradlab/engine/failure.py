"""A trial that failed, as a value."""

from __future__ import annotations

import torch

from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.engine.user_code import describe
from gradlab.errors import GradlabError, MachineError


def failed(trial: Trial, error: BaseException, otherwise: str = "") -> TrialHistory:
    """The history of a trial whose own code raised.

    Args:
        otherwise: the place to name where no line of the user's own code was at work.

    Raises:
        MachineError: a built-in network that doesn't fit into memory; on a larger machine it would not fail. What the
            user's own code asks for is its own trial's failure: it may ask for too much on any machine.
    """
    if is_out_of_memory(error):
        if trial.model.factory is not None:
            return TrialHistory(trial.trial_id, error=f"out of memory: {describe(error, otherwise)}")
        size = f"depth {trial.model.depth}, width {trial.model.width}"
        message = f"out of memory: trial {trial.trial_id} ({size}) is too large for this machine"
        raise MachineError(f"{message}; what is finished is kept") from error
    if isinstance(error, GradlabError):
        return TrialHistory(trial.trial_id, error=f"{error} ({otherwise})" if otherwise else str(error))
    return TrialHistory(trial.trial_id, error=describe(error, otherwise))


def is_out_of_memory(error: BaseException) -> bool:
    """torch says so by a type of its own on a GPU, and by words on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
