"""What stands under the summary of a run: where the files lie, what was recorded, what to do next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from gradlab.config.sweep import Trial
from gradlab.store.rundir import RunDirectory


def closing_notes(
    trials: Sequence[Trial], directory: RunDirectory, out: Path, trained: int, missing: int, seconds: float
) -> list[str]:
    """The lines.

    Args:
        trials: all of the run.
        out: the folder of runs.
        trained: trials trained just now, in so many `seconds`.
        missing: trials that are not trained yet.
    """
    path = directory.path
    every = _values(trial.record.every for trial in trials)
    steps = _values(trial.train.steps for trial in trials)
    probe = _values(trial.record.probe for trial in trials)
    recording = (directory.read_info().get("recording") or {}).get("recording_per_training")
    cost = f"; recording took {recording:.0%} on top of training" if recording is not None else ""
    still = [f"{missing} trials are still missing: the same command continues"] if missing else []
    return [
        "",
        f"files     {path}{os.sep}{{trials,steps,layers}}{os.sep}*.parquet, config.yaml, run.json",
        f"recorded  every {every} of {steps} steps, units on up to {probe} training examples{cost}",
        f"time      {seconds:.1f} s for {trained} trials",
        f"next      gradlab show {path}      layer by layer",
        f"          gradlab compare {out}      this run beside all others there",
        *still,
    ]


def _values(values: Iterable[int]) -> str:
    """The distinct values of a setting: `10`, `1 or 2`, `1 to 50`."""
    known = sorted(set(values))
    return " or ".join(map(str, known)) if len(known) < 3 else f"{known[0]} to {known[-1]}"
