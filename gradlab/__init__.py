"""gradlab: do gradients survive depth? Sweep, measure, predict, compare."""

__version__ = "0.1.0"
