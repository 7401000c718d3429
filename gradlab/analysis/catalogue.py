"""Every number that can be compared, found by its name or a pattern."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from gradlab.analysis.gradients import LayerRecords, logs_of, reals
from gradlab.analysis.layerwise import GEOMETRIC, STATISTICS
from gradlab.analysis.measures import LAYER_AVERAGES, Measure, logs_per_trial, per_trial
from gradlab.errors import UsageError
from gradlab.store.reading import Trials
from gradlab.store.records import When, read_records

_OF_TRIALS = {
    "parameters": False,
    "diverged_step": False,
    "final_train_loss": False,
    "final_eval_loss": False,
    "final_eval_metric": False,
    "dead_fraction": False,
    "saturated_fraction": False,
    "gradient_ratio": True,
    "gradient_decay": True,
    "predicted_gradient_decay": True,
}
_OF_STEPS = {"train_loss": False, "eval_loss": False, "eval_metric": False, "grad_norm": True}
"""Column of a table -> whether its means are geometric."""

_FIRST, _LAST = ".first", ".last"
"""What follows a statistic of layers for that of layer 1, of the last hidden layer."""


def layer_statistics(patterns: Sequence[str] | None) -> tuple[str, ...]:
    """The statistics of layers that the patterns name; all if None."""
    return STATISTICS if patterns is None else _matching(patterns, {name: (name,) for name in STATISTICS})


def chosen_measures(patterns: Sequence[str], trials: Trials, when: When | None) -> tuple[Measure, ...]:
    """The measures that the patterns name, in the order of the patterns.

    Those are the results in the trials table, the columns of the steps table, and the statistics of layers, of layer 1
    (`weight_grad_norm.first`) and the last hidden one (`weight_grad_norm.last`); without an end, both. delta_rms is
    that of the first and the last time step where there are such.

    Args:
        patterns: names, with the wildcards `*`, `?` and `[...]`.
        when: the record of what is recorded more than once; None is step 0, and the last record for the shares of
            dead and saturated units.

    Raises:
        UsageError: a pattern that names nothing.
    """
    names = _matching(patterns, _calls())
    measures = {
        name: Measure(name, logs_of(trials, name) if _OF_TRIALS[name] else reals(trials.frame[name]))
        for name in names
        if name in _OF_TRIALS
    }
    at = "first" if when is None else when
    if of_steps := [name for name in names if name in _OF_STEPS]:
        steps = read_records(trials, "steps", of_steps, at)
        for name in of_steps:
            of_trials = logs_per_trial if _OF_STEPS[name] else per_trial
            measures[name] = Measure(name, of_trials(steps, name, len(trials.frame)))
    measures |= _of_layers(names, trials, at, when)
    return tuple(measures[name] for name in names)


def statistics_of_trials() -> set[str]:
    """Every name under which `chosen_measures` finds a statistic."""
    return {call for calls in _calls().values() for call in calls}


def _calls() -> dict[str, tuple[str, ...]]:
    """Statistic -> the names under which it is found."""
    calls: dict[str, tuple[str, ...]] = {name: (name,) for name in (*_OF_TRIALS, *_OF_STEPS)}
    calls |= {name + end: (name, name + end) for name in STATISTICS for end in (_FIRST, _LAST)}
    # saturated_fraction is a share of all hidden units first, a layer's only with `.first` or `.last`.
    return calls | {"saturated_fraction" + end: ("saturated_fraction" + end,) for end in (_FIRST, _LAST)}


def _of_layers(names: Sequence[str], trials: Trials, at: When, when: When | None) -> dict[str, Measure]:
    """What the layers table says of whole trials, at one record."""
    single = {name: name.rsplit(".", 1)[0] for name in names if name.endswith((_FIRST, _LAST))}
    shares = {} if when is None else {name: column for name, column in LAYER_AVERAGES.items() if name in names}
    ratios = {"gradient_ratio", "gradient_decay"} & set(names)
    if not (single or shares or ratios):
        return {}
    records = LayerRecords.read(trials, at, ("units", *single.values(), *shares.values()))
    found = {name: Measure(name, records.share_of_units(column)) for name, column in shares.items()}
    found |= {name: Measure(name, getattr(records, name.split("_")[1])()) for name in ratios}
    for name, column in single.items():
        rows = records.is_first if name.endswith(_FIRST) else records.is_last_hidden
        if column == "delta_rms":
            rows = records.begins if name.endswith(_FIRST) else records.ends
            found[name] = Measure(name, records.logs_at(records.delta, rows))
        elif column == "weight_grad_norm":
            found[name] = Measure(name, records.logs_at(records.weight_grad, rows))
        else:
            found[name] = Measure(
                name, records.norm_at(column, rows) if column in GEOMETRIC else records.column_at(column, rows)
            )
    return found


def _matching(patterns: Sequence[str], spoken: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The names that one of the patterns fits, under any of the ways to call them."""
    found: dict[str, None] = {}
    for pattern in patterns:
        fitting = [name for name, calls in spoken.items() if any(fnmatchcase(call, pattern) for call in calls)]
        if not fitting:
            every = list(dict.fromkeys(call for calls in spoken.values() for call in calls))
            near = difflib.get_close_matches(pattern, every, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(every)}"
            raise UsageError(f"--metric {pattern}: no statistic of that name; {hint}")
        found |= dict.fromkeys(fitting)
    return tuple(found)
