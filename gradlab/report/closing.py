"""What stands under the summary of a run: where the files lie, what was recorded, what to do next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from gradlab.config.sweep import Trial
from gradlab.report.facts import recording_cost
from gradlab.report.numbers import count_of
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
    probe = _values(trial.record.probe for trial in trials)
    cost = recording_cost(directory.read_info())
    after = f"; {cost}" if cost else ""
    are = "is" if missing == 1 else "are"
    still = [f"{count_of(missing, 'trial')} {are} still missing: the same command continues"] if missing else []
    return [
        "",
        f"files     {path}{os.sep}{{trials,steps,layers}}{os.sep}*.parquet, config.yaml, run.json",
        f"recorded  {recorded_steps(trials)}, units on up to {probe} training examples{after}",
        f"time      {seconds:.1f} s for {count_of(trained, 'trial')}",
        f"next      gradlab show {path}      layer by layer",
        f"          gradlab compare {out}      this run beside all others there",
        *still,
    ]


def recorded_steps(trials: Sequence[Trial]) -> str:
    """Which steps were recorded: the first and the last in any case, more of them where training is long enough."""
    between = [trial for trial in trials if trial.record.every < trial.train.steps - 1]
    ends = [trial for trial in trials if trial.record.every >= trial.train.steps - 1]
    parts = []
    if between:
        every = _values(trial.record.every for trial in between)
        parts.append(f"every {every} of {_values(trial.train.steps for trial in between)} steps and the last")
    if ends:
        steps = _values(trial.train.steps for trial in ends)
        parts.append("the only step" if steps == "1" else f"the first and the last of {steps} steps")
    return "; ".join(parts)


def _values(values: Iterable[int]) -> str:
    """The distinct values of a setting: `10`, `1 or 2`, `1 to 50`."""
    known = sorted(set(values))
    return " or ".join(map(str, known)) if len(known) < 3 else f"{known[0]} to {known[-1]}"
