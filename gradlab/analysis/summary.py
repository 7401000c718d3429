"""Tables in, one row per group of trials out: what happened to the gradient, aggregated over seeds."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from gradlab.analysis.advice import advice
from gradlab.analysis.diagnosis import DIAGNOSES
from gradlab.analysis.estimates import GeometricMean, geometric_means, means
from gradlab.analysis.factors import Grouping, group_trials, plain_cell
from gradlab.analysis.gradients import LAYER_COLUMNS, Flags, LayerRecords, Logs, reals
from gradlab.analysis.group import Group, Profile
from gradlab.store.reading import Skipped, read
from gradlab.store.rundir import RunDirectory


@dataclass(frozen=True)
class Summary:
    """One or more runs, aggregated over seeds.

    Attributes:
        varying: the factors that tell groups apart, in the order of the columns.
        groups: in the order of these factors' values.
        metric: what `final_eval_metric` is: `accuracy`, `R^2`, or `metric` where the data don't tell.
        runs: run -> how many trials it has.
    """

    varying: tuple[str, ...]
    groups: tuple[Group, ...]
    metric: str
    runs: Mapping[str, int]

    @property
    def keys(self) -> tuple[str, ...]:
        """The factors that name a group: those that vary, or what kind of network it is where none does."""
        if self.varying or not self.groups:
            return self.varying
        known = self.groups[0].settings
        return tuple(name for name in ("depth", "activation") if known.get(name) is not None) or ("family",)


def summarise(trials: pd.DataFrame, layers: pd.DataFrame) -> Summary:
    """Aggregate trials over their seeds.

    Args:
        trials: rows of the trials table, with `run`.
        layers: rows of the layers table, with `run`; at least step 0 and each trial's last record, and the columns
            `LAYER_COLUMNS`.
    """
    grouping = group_trials(trials)
    if not grouping.settings:
        return Summary((), (), metric_name([]), {})
    records = LayerRecords.of(trials, layers)
    columns = _results(trials, grouping) | _gradients(records, grouping)
    firsts = _profiles(records, grouping, records.at_first)
    lasts = _profiles(records, grouping, records.at_last)
    groups = []
    for number, settings in enumerate(grouping.settings):
        values = {name: column[number] for name, column in columns.items()}
        group = Group(settings=settings, first=firsts[number], last=lasts[number], **values)
        groups.append(replace(group, advice=advice(group)))
    runs = dict(Counter(trials["run"].tolist()))
    return Summary(grouping.varying, tuple(groups), metric_name(trials["data"].unique().tolist()), runs)


def summarise_runs(runs: Sequence[RunDirectory]) -> tuple[Summary, tuple[Skipped, ...]]:
    """Read what a summary needs of `runs` and make it; also what could not be read."""
    trials, skipped = read(runs, "trials")
    layers, more = read(runs, "layers", LAYER_COLUMNS)
    return summarise(trials, layers), tuple(dict.fromkeys([*skipped, *more]))


def metric_name(data: Sequence[Any]) -> str:
    """What the metric is called for these data sets: R^2 for regression, accuracy for classification."""
    if set(data) & {"npz", "custom"} or not data:
        return "metric"
    regressions = {name == "diabetes" for name in data}
    return "metric" if len(regressions) > 1 else "R^2" if regressions == {True} else "accuracy"


def _results(trials: pd.DataFrame, grouping: Grouping) -> dict[str, list[Any]]:
    """What the trials table says, per group."""
    size = len(grouping.settings)
    mean_of = {
        "dead_fraction": "dead_fraction",
        "saturated_fraction": "saturated_fraction",
        "train_loss": "final_train_loss",
        "eval_loss": "final_eval_loss",
        "metric": "final_eval_metric",
    }
    columns: dict[str, list[Any]] = {
        name: list(means(grouping.codes, size, reals(trials[column]))) for name, column in mean_of.items()
    }
    predicted = reals(trials["predicted_gradient_decay"])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(predicted)
    of_seeds = geometric_means(grouping.codes, size, logs, predicted == 0, np.isinf(predicted))
    columns["predicted_decay"] = [mean.value for mean in of_seeds]
    members: list[list[int]] = [[] for _ in range(size)]
    for trial, code in enumerate(grouping.codes.tolist()):
        members[code].append(trial)
    status, words = trials["status"].tolist(), trials["diagnosis"].tolist()
    runs, errors, steps = trials["run"].tolist(), trials["error"].tolist(), trials["diverged_step"].tolist()
    columns["trials"] = [len(member) for member in members]
    for word in ("completed", "diverged", "failed"):
        columns[word] = [sum(status[trial] == word for trial in member) for member in members]
    columns["runs"] = [tuple(dict.fromkeys(runs[trial] for trial in member)) for member in members]
    columns["error"] = [
        next((text for trial in member if (text := plain_cell(errors[trial])) and status[trial] == "failed"), None)
        for member in members
    ]
    columns["diverged_step"] = [
        _median([step for trial in member if (step := plain_cell(steps[trial])) is not None]) for member in members
    ]
    columns["diagnoses"] = [
        _tally([plain_cell(words[trial]) or status[trial] for trial in member]) for member in members
    ]
    return columns


def _gradients(records: LayerRecords, grouping: Grouping) -> dict[str, list[Any]]:
    """What the layers table says about whole trials, per group."""
    size = len(grouping.settings)
    logs = {
        "first_grad_norm": records.weight_grad.per_trial(records, records.at_first & (records.layer == 1)),
        "last_grad_norm": records.weight_grad.per_trial(records, records.at_first & records.is_last_hidden),
        "decay": records.decay(),
    }
    columns: dict[str, list[Any]] = {
        name: list(geometric_means(grouping.codes, size, part.logs, part.zero, part.not_finite))
        for name, part in logs.items()
    }
    columns["dead_fraction_first"] = list(means(grouping.codes, size, records.dead_fraction_first()))
    return columns


def _profiles(records: LayerRecords, grouping: Grouping, rows: Flags) -> list[Profile]:
    """The profile of each group over the chosen rows of the layers table."""
    group, layer = grouping.codes[records.trial[rows]], records.layer[rows]
    keys, codes = np.unique(np.stack([group, layer]), axis=1, return_inverse=True)
    codes = codes.reshape(-1)

    def over_seeds(column: Logs) -> list[GeometricMean]:
        part = column.take(rows)
        return geometric_means(codes, keys.shape[1], part.logs, part.zero, part.not_finite)

    deltas, gradients = over_seeds(records.delta), over_seeds(records.weight_grad)
    bounds = np.searchsorted(keys[0], np.arange(len(grouping.settings) + 1)).tolist()
    return [
        Profile(tuple(keys[1, start:end].tolist()), tuple(deltas[start:end]), tuple(gradients[start:end]))
        for start, end in itertools.pairwise(bounds)
    ]


def _median(values: list[Any]) -> float | None:
    return float(np.median(values)) if values else None


def _tally(words: list[str]) -> dict[str, int]:
    """Words and how often they stand there, the most common first, of equals the gravest diagnosis."""
    grave = {word: place for place, word in enumerate(DIAGNOSES)}
    counts = Counter(words)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], grave.get(item[0], len(grave)))))
