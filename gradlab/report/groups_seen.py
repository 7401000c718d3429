"""Groups of trials as far as a run has come: what was last seen of each of their trials, aggregated over seeds."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlab.analysis.estimates import power_of_ten
from gradlab.analysis.factors import Grouping, group_trials
from gradlab.config.sweep import Trial
from gradlab.sighting import Sighting

Reals = npt.NDArray[np.float64]

WAITING, AT_WORK, FINISHED = "waiting", "at work", "finished"

DIVERGED, FAILED = LOST = "diverged", "failed"
"""Statuses of trials that came to no good end."""


@dataclass(frozen=True)
class GroupSeen:
    """What is known of a group at a moment.

    Attributes:
        trials: how many it has; `seen` of them have been seen. What follows is about these: about those of them that
            have neither diverged nor failed, if there are any.
        step: the last one recorded of the trial that is the least far; None where none has been seen.
        profile: log10 of the geometric mean of delta_rms in each hidden layer, or time step, over trials in which it
            is neither 0 nor not finite; -inf where it is 0 in all others, NaN where there is no number.
        decay: the factor per layer on the gradient's way back, by the profile; None below two places, or for 0/0.
        start: the same at step 0.
        dead: the mean share of dead hidden units; NaN where it isn't known.
        loss: the mean training loss; NaN where no trial has a finite one.
        lost: `diverged` and `failed` -> how many trials, of all, if there are any.
        along_time: whether the profile is along time.
    """

    state: str
    trials: int
    seen: int = 0
    step: int | None = None
    profile: tuple[float, ...] = ()
    decay: float | None = None
    start: float | None = None
    dead: float = math.nan
    loss: float = math.nan
    lost: Mapping[str, int] = field(default_factory=dict)
    along_time: bool = False


@dataclass(frozen=True, eq=False)
class _Seen:
    """One trial at its last sighting."""

    step: int
    profile: Reals
    dead: float
    loss: float
    along_time: bool


class GroupsSeen:
    """All groups of a run.

    Args:
        trials: of the run.
        finished: ids of those that were finished before it began: they are never seen.

    Attributes:
        grouping: which trials belong together.
        finished_before: places of groups all of whose trials were.
    """

    def __init__(self, trials: Sequence[Trial], finished: Collection[str]) -> None:
        frame = pd.DataFrame([trial.factors() for trial in trials], dtype=object)
        self.grouping: Grouping = group_trials(frame)
        self._ids = [trial.trial_id for trial in trials]
        self._group = dict(zip(self._ids, self.grouping.codes.tolist(), strict=True))
        self._seen: dict[str, _Seen] = {}
        self._starts: dict[str, Reals] = {}
        self._status: dict[str, str] = dict.fromkeys(finished, "")
        self._ended = Counter(self._group[one] for one in finished)
        self._known: dict[int, GroupSeen] = {}
        self._begun: dict[int, None] = {}
        self._finished = dict.fromkeys(place for place in self._ended if self._is_over(place))
        self.finished_before = frozenset(self._finished)

    def see(self, sighting: Sighting) -> None:
        """Note what was seen of some trials."""
        for place, trial_id in enumerate(sighting.trial_ids):
            self._seen[trial_id] = _Seen(
                sighting.step,
                sighting.log10_delta_rms[place, : sighting.lengths[place]],
                float(sighting.dead_fraction[place]),
                float(sighting.train_loss[place]),
                sighting.along_time,
            )
            if sighting.step == 0:
                self._starts[trial_id] = self._seen[trial_id].profile
            self._known.pop(self._group[trial_id], None)
            self._begun[self._group[trial_id]] = None

    def end(self, statuses: Mapping[str, str]) -> None:
        """Note how trials ended: id -> status."""
        self._status |= statuses
        for trial_id in statuses:
            place = self._group[trial_id]
            self._ended[place] += 1
            self._known.pop(place, None)
            self._begun[place] = None
            if self._is_over(place):
                self._finished[place] = None
                self._forget(place)

    def state(self, place: int) -> str:
        """How far a group is."""
        return FINISHED if place in self._finished else AT_WORK if place in self._begun else WAITING

    def most_telling(self, count: int) -> list[int]:
        """So many groups, in their order: those at work, those that came to their end last, those to come next.

        Those that were finished before are never among them.
        """
        chosen = [place for place in self._begun if place not in self._finished][:count]
        ended = (place for place in reversed(self._finished) if place not in self.finished_before)
        chosen += itertools.islice(ended, count - len(chosen))
        waiting = (place for place in range(len(self)) if self.state(place) == WAITING)
        chosen += itertools.islice(waiting, count - len(chosen))
        return sorted(chosen)

    def states(self) -> dict[str, int]:
        """State -> how many groups, those that were finished before not counted."""
        at_work = len(self._begun.keys() - self._finished.keys())
        finished = len(self._finished) - len(self.finished_before)
        waiting = len(self) - at_work - len(self._finished)
        return {AT_WORK: at_work, FINISHED: finished, WAITING: waiting}

    def _is_over(self, place: int) -> bool:
        return self._ended[place] == len(self.grouping.members[place])

    def __len__(self) -> int:
        return self.grouping.size

    def __getitem__(self, place: int) -> GroupSeen:
        if place not in self._known:
            self._known[place] = self._look(place)
        return self._known[place]

    def _look(self, place: int) -> GroupSeen:
        ids = [self._ids[index] for index in self.grouping.members[place].tolist()]
        seen = [self._seen[one] for one in ids if one in self._seen]
        lost = Counter(filter(None, map(self._fate, ids)))
        if not seen:
            return GroupSeen(self.state(place), len(ids), lost=lost)
        sound = [self._seen[one] for one in ids if one in self._seen and not self._fate(one)]
        profile = mean_logs([one.profile for one in sound or seen])
        dead = [one.dead for one in sound or seen if math.isfinite(one.dead)]
        return GroupSeen(
            self.state(place),
            len(ids),
            len(seen),
            min(one.step for one in sound or seen),
            tuple(profile.tolist()),
            decay_of(profile),
            decay_of(mean_logs([self._starts[one] for one in ids if one in self._starts])),
            float(np.mean(dead)) if dead else math.nan,
            float(np.mean([one.loss for one in sound])) if sound else math.nan,
            {status: lost[status] for status in LOST if lost[status]},
            seen[0].along_time,
        )

    def _fate(self, trial_id: str) -> str:
        """`diverged` or `failed`, as far as that is known already; else empty."""
        status, seen = self._status.get(trial_id, ""), self._seen.get(trial_id)
        if status in LOST:
            return status
        return DIVERGED if seen is not None and not math.isfinite(seen.loss) else ""

    def _forget(self, place: int) -> None:
        """Keep of a group that is finished what is shown, and not the trials behind it: there may be many."""
        self._known[place] = self._look(place)
        for index in self.grouping.members[place].tolist():
            self._seen.pop(self._ids[index], None)
            self._starts.pop(self._ids[index], None)


def mean_logs(profiles: Sequence[Reals]) -> Reals:
    """The mean of logarithms at each place, [place], of profiles of any length: as `GroupSeen.profile` has it."""
    table = np.full((len(profiles), max(map(len, profiles), default=0)), np.nan)
    for row, profile in zip(table, profiles, strict=True):
        row[: len(profile)] = profile
    finite = np.isfinite(table)
    counts = finite.sum(0)
    sums = np.where(finite, table, 0.0).sum(0)
    nothing = np.where((table == -np.inf).any(0), -np.inf, np.nan)
    return np.where(counts > 0, sums / np.maximum(counts, 1), nothing)


def decay_of(profile: Any) -> float | None:
    """The factor per place from the last to the first of a profile of logarithms; None if there is none."""
    if len(profile) < 2:
        return None
    first, last = float(profile[0]), float(profile[-1])
    if math.isnan(first) or math.isnan(last):
        return math.nan
    if not math.isfinite(last):
        return None
    return power_of_ten((first - last) / (len(profile) - 1))
