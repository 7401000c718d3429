"""Whether baselines are to be written instead of compared with, inside test suites."""

from __future__ import annotations

import os

UPDATE = "GRADLAB_UPDATE"
"""The environment variable that says so; `pytest --gradlab-update` sets it."""

REMEDY = "make a new one with `pytest --gradlab-update`"


def update_asked() -> bool:
    """Whether the environment asks for baselines to be written."""
    return os.environ.get(UPDATE, "").lower() not in {"", "0", "false"}
