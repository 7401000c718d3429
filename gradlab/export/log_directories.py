"""What a trial's folder is called in another tool: by what tells the trial from others, safe as a file's name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

MAX_LENGTH = 120
"""Characters of a name: below what any file system allows, and still legible in a list."""
_ID_LENGTH, _MAX_ID_LENGTH = 8, 64
"""Characters of a trial's id that a name shows at least, and at most."""


def log_directories(trials: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> dict[str, str]:
    """Trial id -> a name such as `depth=10,activation=relu,seed=0,4863c0eb`; no two are the same.

    Args:
        trials: rows of the trials table.
        varying: the columns that tell trials apart, beside their seed.
    """
    ids = [_own_name(trial["trial_id"]) for trial in trials]
    longest = max(map(len, ids), default=0)
    length = next((n for n in range(_ID_LENGTH, longest) if len({name[:n] for name in ids}) == len(ids)), longest)
    return {trial["trial_id"]: _name(trial, varying, name[:length]) for trial, name in zip(trials, ids, strict=True)}


def _name(trial: Mapping[str, Any], varying: Sequence[str], short_id: str) -> str:
    settings = ",".join(_safe(f"{column}={trial[column]}") for column in varying if trial[column] is not None)
    end = f"seed={trial['seed']},{short_id}"
    return f"{settings[: MAX_LENGTH - len(end) - 1]},{end}" if settings else end


def _own_name(trial_id: str) -> str:
    """A trial's id as part of a name; one that can't be it, or is long, has its digest in it."""
    safe = _safe(trial_id)
    if safe == trial_id and len(safe) <= _MAX_ID_LENGTH:
        return safe
    digest = hashlib.sha256(trial_id.encode()).hexdigest()[:16]
    return f"{digest}-{safe[: _MAX_ID_LENGTH - 17]}".strip("-.")


def _safe(text: str) -> str:
    """Text with nothing in it that a file system or a shell would take for something else."""
    return re.sub(r"[^\w.=+-]+", "-", text, flags=re.ASCII).strip("-.")
