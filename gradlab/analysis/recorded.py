"""Whether the record that was asked for exists."""

from __future__ import annotations

import numpy as np

from gradlab.errors import UsageError
from gradlab.store.finding import Skipped
from gradlab.store.part_files import read_part
from gradlab.store.reading import Trials
from gradlab.store.records import Records, When


def check_recorded(trials: Trials, rows: Records, when: When | None) -> tuple[str, ...]:
    """A note where some trials have no record at this step.

    Raises:
        UsageError: none has; the message names the nearest steps that were recorded.
    """
    if not isinstance(when, int) or not len(trials.frame):
        return ()
    missing = len(trials.frame) - len(np.unique(rows.trial))
    if missing == len(trials.frame):
        steps = _recorded_steps(trials)
        near = sorted(sorted(steps, key=lambda step: (abs(step - when), step))[:3])
        hint = f"the nearest recorded are {', '.join(map(str, near))}" if near else "nothing was recorded"
        raise UsageError(f"--step {when}: no trial has a record at this step; {hint}")
    return (f"{missing} of {len(trials.frame)} trials have no record at step {when}",) if missing else ()


def _recorded_steps(trials: Trials) -> set[int]:
    steps: set[int] = set()
    for place in np.unique(trials.part):
        for path in trials.parts[place].files["layers"]:
            part = read_part(path, "layers", ["step"])
            if not isinstance(part, Skipped):
                steps |= set(part["step"].unique().to_pylist())
    return steps
