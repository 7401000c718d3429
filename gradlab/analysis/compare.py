"""A question to some runs, and its answer: groups, effects, theory, and a reference beside them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradlab.analysis.against import Against, beside
from gradlab.analysis.agreement import Agreement, agreement_of
from gradlab.analysis.catalogue import chosen_measures, layer_statistics, statistics_of_trials
from gradlab.analysis.effects import MEASURES, MeasureEffects, effects
from gradlab.analysis.estimates import GeometricMeans, Means
from gradlab.analysis.factors import factor_columns, rank
from gradlab.analysis.layerwise import LayerEstimates, layer_estimates
from gradlab.analysis.measures import Measure
from gradlab.analysis.recorded import check_recorded
from gradlab.analysis.summary import Summary, summarise
from gradlab.analysis.where.condition import chosen_trials
from gradlab.errors import UsageError
from gradlab.store.finding import Skipped
from gradlab.store.reading import Trials, readable_trials
from gradlab.store.records import When
from gradlab.store.rundir import RunDirectory

SIDE_BY_SIDE = ("decay", "first_grad_norm", "dead_fraction", "saturated_fraction", "train_loss", "eval_loss", "metric")
"""Measures that are set beside a reference's unless others are asked for."""


@dataclass(frozen=True)
class Question:
    """What is asked of some runs.

    Attributes:
        by: the columns that make groups; all factors if None.
        metrics: patterns of the statistics to show; the usual ones if None.
        where: a condition on trials.
        sort: columns to sort groups by, a minus before those that fall.
        top: how many groups to show at most.
        layers: whether to show layer by layer.
        step: the record of everything; None is step 0 for the gradient and the end of training for all else.
    """

    by: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    where: str | None = None
    sort: tuple[str, ...] = ()
    top: int | None = None
    layers: bool = False
    step: When | None = None


@dataclass(frozen=True)
class Comparison:
    """The answer.

    Attributes:
        summary: the groups, those to show in their order.
        effects: what each factor does to each measure.
        agreement: measured decay beside theory's.
        measures: the statistics that were asked for; None for the usual ones.
        estimates: of these, by name.
        layers: the groups layer by layer, where that was asked for.
        against: the runs beside the reference, one by one.
        notes: what to know about it.
        skipped: what could not be read.
    """

    summary: Summary
    effects: tuple[MeasureEffects, ...]
    agreement: Agreement
    measures: tuple[Measure, ...] | None = None
    estimates: Mapping[str, Means | GeometricMeans] = field(default_factory=dict)
    layers: LayerEstimates | None = None
    against: tuple[Against, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@np.errstate(over="ignore", invalid="ignore")  # a sum beyond float64 is shown as what it is: infinite, or unknown
def compare_runs(
    runs: Sequence[RunDirectory], question: Question, reference: Sequence[RunDirectory] = ()
) -> Comparison:
    """Answer a question.

    Args:
        runs: the runs, the reference among them.
        question: what is asked.
        reference: the runs that the others are set against.

    Raises:
        UsageError: the question can't be answered; the message says why.
    """
    trials = _chosen(readable_trials(runs), question)
    summary = summarise(trials, question.by, question.step)
    notes = check_recorded(trials, summary.measured.layers.rows, question.step)
    measures = None
    if question.metrics is not None and not question.layers:
        measures = chosen_measures(question.metrics, trials, question.step)
    estimates = {one.name: summary.estimate(one) for one in measures or ()}
    summary = _arranged(summary, estimates | _sorting(summary, estimates, question), question)
    layers = None
    if question.layers:
        statistics = layer_statistics(question.metrics)
        layers = layer_estimates(
            trials, summary.grouping, "first" if question.step is None else question.step, statistics
        )
    responses = measures or [summary.measured.measures[name] for name in MEASURES]
    against = _against(trials, runs, reference, question, summary) if reference else ()
    return Comparison(
        summary,
        effects(trials, summary.networks, responses, question.by),
        agreement_of(summary),
        measures,
        estimates,
        layers,
        against,
        notes,
        tuple(dict.fromkeys([*summary.skipped, *(layers.skipped if layers else ())])),
    )


def _chosen(trials: Trials, question: Question) -> Trials:
    columns = ["run", "seed", *factor_columns(trials.frame), "status", "diagnosis"]
    for name in question.by or ():
        if name not in columns:
            raise _unknown("--by", name, columns)
    return chosen_trials(trials, question.where)


def _arranged(summary: Summary, estimates: Mapping[str, Means | GeometricMeans], question: Question) -> Summary:
    """The groups in the order that was asked for, and no more than that."""
    order = list(range(summary.grouping.size))
    known = {measure.name: summary.estimates[place] for place, measure in summary.measured.measures.items()}
    known |= {**summary.estimates, **estimates}
    for key in reversed(question.sort):
        name, falling = key.removeprefix("-"), key.startswith("-")
        if name in summary.varying:
            order.sort(key=lambda group: rank(summary.grouping.settings[group][name]), reverse=falling)
        elif name in known:
            values = _values(known[name])
            order.sort(key=lambda group: (np.isnan(values[group]), -values[group] if falling else values[group]))
        else:
            raise _unknown("--sort", name, [*summary.varying, *known])
    return replace(summary, order=tuple(order), top=question.top)


def _sorting(
    summary: Summary, estimates: Mapping[str, Means | GeometricMeans], question: Question
) -> dict[str, Means | GeometricMeans]:
    """The statistics that groups are sorted by and that nothing else asked for."""
    shown = {measure.name for measure in summary.measured.measures.values()} | {*summary.varying, *estimates}
    names = {key.removeprefix("-") for key in question.sort} - shown - set(summary.estimates)
    found = {}
    for name in names & statistics_of_trials():
        (measure, *_) = chosen_measures((name,), summary.trials, question.step)
        found[name] = summary.estimate(measure)
    return found


def _values(estimates: Means | GeometricMeans) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return estimates.log10 if isinstance(estimates, GeometricMeans) else estimates.value


def _against(
    trials: Trials,
    runs: Sequence[RunDirectory],
    reference: Sequence[RunDirectory],
    question: Question,
    summary: Summary,
) -> tuple[Against, ...]:
    """Each run beside the reference."""
    measures = tuple(summary.measured.measures[field] for field in SIDE_BY_SIDE)
    if question.metrics is not None:
        measures = chosen_measures(question.metrics, trials, question.step)
    base = [run.name for run in reference]
    others = [run.name for run in runs if run.name not in base]
    if not others:
        raise UsageError("--against: there is no other run to set against the reference")
    names = trials.frame["run"].to_numpy(object)
    of_reference = np.isin(names, base)
    found = []
    for name in others:
        both = of_reference | (names == name)
        if not of_reference.any() or not (names == name).any():
            raise UsageError(f"no trials of {', '.join(base)} and {name} to set side by side")
        pair = [measure.take(both) for measure in measures]
        found.append(beside(trials.where(both), pair, of_reference[both], ", ".join(base), name, question.by))
    return tuple(found)


def _unknown(option: str, name: str, known: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(dict.fromkeys(known))}"
    return UsageError(f"{option} {name}: no such column; {hint}")
