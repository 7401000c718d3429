"""Tables in, one row per group of trials out: what happened to the gradient, aggregated over seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gradlab.analysis.advice import advice
from gradlab.analysis.diagnosis import DIAGNOSES
from gradlab.analysis.estimates import Codes, GeometricMeans, Means
from gradlab.analysis.factors import Grouping, group_trials, plain_cell
from gradlab.analysis.gradients import LayerRecords
from gradlab.analysis.group import Group, Profile
from gradlab.analysis.measures import Measure, Measured, standard_measures
from gradlab.analysis.pooled import pooled
from gradlab.config.schema import OWN_DATA, REGRESSIONS
from gradlab.store.finding import Skipped
from gradlab.store.reading import Trials, read_trials
from gradlab.store.records import When
from gradlab.store.rundir import RunDirectory


class Groups(Sequence[Group]):
    """The groups of a summary, each made when it is asked for: of ten thousand, few are shown."""

    def __init__(self, summary: Summary, places: Sequence[int]) -> None:
        self._summary, self._places = summary, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Groups(self._summary, self._places[place])
        return self._summary.group(self._places[place])

    def __iter__(self) -> Iterator[Group]:
        return map(self._summary.group, self._places)


@dataclass(frozen=True, eq=False)
class Summary:
    """One or more runs, aggregated over seeds.

    Attributes:
        trials: what it is made of.
        grouping: which trials belong together.
        measured: the numbers of these trials.
        when: the record that was asked for; None is step 0 for the gradient and the end of training for all else.
        by: the columns that make groups; all factors if None.
        order: the groups in the order to show them; that of the factors' values if None.
        top: how many of them were asked for; all if None.
    """

    trials: Trials
    grouping: Grouping
    measured: Measured
    when: When | None = None
    by: tuple[str, ...] | None = None
    order: tuple[int, ...] | None = None
    top: int | None = None

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be read."""
        return tuple(dict.fromkeys([*self.trials.skipped, *self.measured.skipped]))

    @property
    def varying(self) -> tuple[str, ...]:
        """The factors that tell groups apart, in the order of the columns."""
        return self.grouping.varying

    @property
    def places(self) -> Sequence[int]:
        """The numbers of the groups to show."""
        return (range(self.grouping.size) if self.order is None else self.order)[: self.top]

    @property
    def groups(self) -> Groups:
        """The groups to show, in the order of the factors' values unless another one was asked for."""
        return Groups(self, self.places)

    @cached_property
    def metric(self) -> str:
        """What `final_eval_metric` is: `accuracy`, `R^2`, or `metric` where the data don't tell."""
        runs = {part.run.name: part.run for part in self.trials.parts}
        pairs = self.trials.frame[["data", "run"]].drop_duplicates()
        return metric_name((data, runs.get(run)) for data, run in pairs.itertuples(index=False))

    @cached_property
    def runs(self) -> Mapping[str, int]:
        """Run -> how many trials it has."""
        return dict(Counter(self.trials.frame["run"].tolist()))

    @property
    def keys(self) -> tuple[str, ...]:
        """The factors that name a group: those that vary, or what kind of network it is where none does."""
        if self.varying or not self.grouping.size:
            return self.varying if self.by is not None else self.grouping.telling
        known = self.grouping.settings[0]
        if "family" not in known:
            return tuple(known)
        return tuple(name for name in ("depth", "activation") if known.get(name) is not None) or ("family",)

    @cached_property
    def estimates(self) -> Mapping[str, Means | GeometricMeans]:
        """Measure -> its mean in each group."""
        return {name: self.estimate(measure) for name, measure in self.measured.measures.items()}

    def estimate(self, measure: Measure) -> Means | GeometricMeans:
        """A measure's mean in each group."""
        if self.by is None:
            return measure.over_seeds(self.grouping)
        return pooled(measure, self.grouping, self.networks, self.trials.seeds)

    @cached_property
    def networks(self) -> Grouping:
        """The trials grouped by all factors."""
        return self.grouping if self.by is None else group_trials(self.trials.frame)

    @cached_property
    def status(self) -> Mapping[str, Codes]:
        """`completed`, `diverged` and `failed` -> `[group]`, how many of its trials."""
        status = self.trials.frame["status"]
        return {word: self.grouping.count(np.asarray(status == word)) for word in ("completed", "diverged", "failed")}

    @cached_property
    def _healthy(self) -> Codes:
        words = self.trials.frame["diagnosis"]
        return self.grouping.count(np.asarray(words == "healthy", np.bool_))

    def is_healthy(self, number: int) -> bool:
        """Whether every trial of a group is healthy, which then needs no advice."""
        return int(self._healthy[number]) == len(self.grouping.members[number])

    @cached_property
    def along_time(self) -> Sequence[bool]:
        """`[group]`, whether its gradient is followed along time."""
        return [bool(flag) for flag in self.measured.layers.along_time(self.grouping)]

    @cached_property
    def profiles(self) -> Sequence[Profile]:
        """The gradient layer by layer in each group, at step 0 or the record that was asked for."""
        return Profiles(self.measured.layers, self.grouping)

    @cached_property
    def last_profiles(self) -> Sequence[Profile]:
        """The same at each trial's last record, read now."""
        return Profiles(LayerRecords.read(self.trials, "last"), self.grouping)

    @cached_property
    def _cells(self) -> Mapping[str, list[Any]]:
        columns = ("run", "status", "diagnosis", "error", "diverged_step")
        return {name: self.trials.frame[name].tolist() for name in columns}

    def group(self, number: int) -> Group:
        """A group by its number."""
        members = self.grouping.members[number]
        cells = {name: [plain_cell(column[trial], name) for trial in members] for name, column in self._cells.items()}
        errors = [text for text, status in zip(cells["error"], cells["status"], strict=True) if status == "failed"]
        words = [word or status or "unknown" for word, status in zip(cells["diagnosis"], cells["status"], strict=True)]
        values: dict[str, Any] = {name: column[number] for name, column in self.estimates.items()}
        values |= {word: int(count[number]) for word, count in self.status.items()}
        values["predicted_decay"] = values["predicted_decay"].value
        group = Group(
            settings=self.grouping.settings[number],
            runs=tuple(dict.fromkeys(cells["run"])),
            trials=len(members),
            diverged_step=_median([step for step in cells["diverged_step"] if step is not None]),
            error=next(filter(None, errors), None),
            diagnoses=_tally(words),
            along_time=self.along_time[number],
            **values,
        )
        return replace(group, advice=advice(group))


def summarise(trials: Trials, by: Sequence[str] | None = None, when: When | None = None) -> Summary:
    """Aggregate trials over their seeds.

    Args:
        trials: what `read_trials` found.
        by: the columns that make groups; all factors if None.
        when: the record of everything; None is step 0 for the gradient and the end of training for all else.
    """
    grouping = group_trials(trials.frame, by)
    return Summary(trials, grouping, standard_measures(trials, when), when, None if by is None else tuple(by))


def summarise_runs(runs: Sequence[RunDirectory]) -> Summary:
    """Read what a summary needs of `runs` and make it."""
    return summarise(read_trials(runs))


def metric_name(data: Iterable[tuple[Any, RunDirectory | None]]) -> str:
    """What the metric is called on some data: R^2 for regression, accuracy for classification.

    Args:
        data: names of data sets, None where nobody told, and a run on each; of data of the user's own its `run.json`
            tells.

    Returns:
        `metric` where that isn't known, or differs.
    """
    names: set[str] = set()
    for name, run in data:
        if not isinstance(name, str):
            return "metric"
        if name not in OWN_DATA:
            names.add("R^2" if name in REGRESSIONS else "accuracy")
        else:
            told = {} if run is None else run.read_info().get("metrics") or {}
            names |= set(told.get(name) or ["metric"])
    return names.pop() if len(names) == 1 else "metric"


class Profiles(Sequence[Profile]):
    """The profile of each group, geometric means over its seeds."""

    def __init__(self, records: LayerRecords, grouping: Grouping) -> None:
        along = records.along
        layers, group = records.layer[along], grouping.codes[records.rows.trial[along]]
        self._along_time = records.along_time(grouping)
        # Of a group of both kinds the layers: its time steps would be those of some of its networks only.
        kept = records.rows.is_time[along] == self._along_time[group]
        rows = np.flatnonzero(along)[kept]
        width = int(layers.max(initial=0)) + 1
        self._keys, codes = np.unique(group[kept] * width + layers[kept], return_inverse=True)
        self._width, self._size = width, grouping.size
        self._delta = records.delta.take(rows).means(codes, len(self._keys))
        self._weight_grad = records.weight_grad.take(rows).means(codes, len(self._keys))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, group: Any) -> Any:
        if isinstance(group, slice):
            return [self[place] for place in range(*group.indices(self._size))]
        if not 0 <= group < self._size:
            raise IndexError(group)
        start, end = np.searchsorted(self._keys, [group * self._width, (group + 1) * self._width])
        layers = tuple((self._keys[start:end] % self._width).tolist())
        rows = range(start, end)
        delta, weight_grad = (tuple(map(of.__getitem__, rows)) for of in (self._delta, self._weight_grad))
        return Profile(layers, delta, weight_grad, bool(self._along_time[group]))


def _median(values: list[Any]) -> float | None:
    return float(np.median(values)) if values else None


def _tally(words: list[str]) -> dict[str, int]:
    """Words and how often they stand there, the most common first, of equals the gravest diagnosis."""
    grave = {word: place for place, word in enumerate(DIAGNOSES)}
    counts = Counter(words)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], grave.get(item[0], len(grave)))))
