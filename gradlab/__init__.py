"""gradlab: do gradients survive depth? Sweep, measure, predict, compare."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlab.guard import GradientRegression, InconclusiveWarning, check_gradients
    from gradlab.watching.recorder import Recorder, watch

__version__ = "0.1.0"
__all__ = ["GradientRegression", "InconclusiveWarning", "Recorder", "__version__", "check_gradients", "watch"]

_WATCHING = {"Recorder", "watch"}


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for, so that commands that don't are quick."""
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module 'gradlab' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module("gradlab.watching.recorder" if name in _WATCHING else "gradlab.guard"), name)
