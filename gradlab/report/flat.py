"""What `gradlab compare` found as flat rows, at full precision: for CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from gradlab.analysis.against import Against
from gradlab.analysis.compare import Comparison
from gradlab.analysis.effects import MeasureEffects
from gradlab.analysis.estimates import GeometricMean, Mean
from gradlab.analysis.summary import Summary
from gradlab.report.compare import against_sentences, agreement_sentence
from gradlab.report.effects import effect_sentences
from gradlab.report.markup import escaped, markdown_cell, markdown_row

Row = Mapping[str, Any]


def comparison_csv(comparison: Comparison) -> str:
    """The groups, their layers where these were asked for, or the networks beside a reference, as CSV.

    Nothing is left out and nothing rounded; unknown is an empty cell.
    """
    rows = _main_rows(comparison)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{name: _cell(value) for name, value in row.items()} for row in rows])
    return text.getvalue()


def comparison_markdown(comparison: Comparison) -> str:
    """The same as Markdown, with the effects in words and as a table."""
    metric = comparison.summary.metric
    parts = ["## Groups" if not comparison.against else "## Side by side", _table(_main_rows(comparison))]
    if comparison.against:
        lines = [line for one in comparison.against for line in against_sentences(one, metric)]
        parts.append("\n".join(f"- {escaped(line.strip())}" for line in lines))
    elif comparison.effects:
        lines = effect_sentences(comparison.effects, metric)
        if comparison.measures is None and (line := agreement_sentence(comparison.agreement, comparison.summary)):
            lines.append(line)
        parts += ["## Effects", "\n".join(f"- {escaped(line.strip())}" for line in lines)]
        parts.append(_table([row for one in comparison.effects for row in effect_rows(one)]))
    return "\n\n".join(filter(None, parts)) + "\n"


def group_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each group: its factors, how many trials, every estimate with its interval, diagnosis, advice."""
    summary = comparison.summary
    rows = []
    for place, group in zip(summary.places, summary.groups, strict=True):
        row = {name: group.settings[name] for name in _keys(summary) if name in group.settings}
        row |= {"runs": " ".join(group.runs), "trials": group.trials, "completed": group.completed}
        row |= {"diverged": group.diverged, "failed": group.failed}
        if comparison.measures is None:
            for field, column in summary.estimates.items():
                row |= _spread(summary.measured.measures[field].name, column[place])
        for name, estimates in comparison.estimates.items():
            row |= _spread(name, estimates[place])
        rows.append(row | {"diagnosis": group.diagnosis, "advice": group.advice})
    return rows


def layer_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each group and layer, or time step, as `kind` says."""
    summary, layers = comparison.summary, comparison.layers
    rows: list[dict[str, Any]] = []
    if layers is None:
        return rows
    for place in summary.places:
        settings = summary.grouping.settings[place]
        key = {name: settings[name] for name in _keys(summary) if name in settings}
        for row in layers.rows_of(place):
            facts = {"layer": int(layers.layer[row]), "name": layers.name[row], "kind": layers.kind[row]}
            rows.append(key | facts | {"units": layers.units[row]})
            for name, estimate in layers.row(row).items():
                rows[-1] |= _spread(name, estimate)
    return rows


def against_rows(against: Against) -> list[dict[str, Any]]:
    """A row for each network and measure, and for each network that one side lacks."""
    sides: dict[str, Any] = {"reference": against.reference, "candidate": against.candidate}
    rows = []
    for settings, changes in zip(against.networks, against.changes, strict=True):
        for change in changes:
            row = sides | {name: settings[name] for name in against.keys} | {"measure": change.measure}
            row |= _spread("reference_mean", change.reference) | _spread("candidate_mean", change.candidate)
            name = "log10_ratio" if change.geometric else "difference"
            found = change.difference
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            rows.append(row | {"p": change.p, "verdict": change.verdict})
    for verdict, missing in (("only_reference", against.only_reference), ("only_candidate", against.only_candidate)):
        rows += [sides | {name: one[name] for name in against.keys} | {"verdict": verdict} for one in missing]
    return rows


def effect_rows(effects: MeasureEffects) -> list[dict[str, Any]]:
    """A row for each factor and setting."""
    unit = "log10_ratio" if effects.geometric else "difference"
    return [
        {
            "measure": effects.measure,
            "factor": factor.factor,
            "reference": factor.reference,
            "setting": level.level,
            "unit": unit,
            "effect": level.difference.value,
            "low": level.difference.low,
            "high": level.difference.high,
            "p": level.difference.p,
            "share": factor.share,
        }
        for factor in effects.factors
        for level in factor.levels
    ]


def _keys(summary: Summary) -> tuple[str, ...]:
    """What names a group, nothing left out."""
    return summary.varying or summary.keys


def _main_rows(comparison: Comparison) -> list[dict[str, Any]]:
    if comparison.against:
        return [row for one in comparison.against for row in against_rows(one)]
    return group_rows(comparison) if comparison.layers is None else layer_rows(comparison)


def _spread(name: str, estimate: Mean | GeometricMean) -> dict[str, Any]:
    """An estimate in columns: the mean, its interval, how many values are in it, and how many are not and why."""
    cells = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    if not isinstance(estimate, GeometricMean):
        return cells | {f"{name}_count": estimate.count, f"{name}_left_out": estimate.left_out}
    return cells | {
        f"log10_{name}": estimate.log10,
        f"{name}_count": estimate.count,
        f"{name}_zeros": estimate.zeros,
        f"{name}_not_finite": estimate.not_finite,
        f"{name}_unknown": estimate.unknown,
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _table(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = [markdown_row([markdown_cell(name) for name in names]), markdown_row(["---"] * len(names))]
    body = [markdown_row([markdown_cell(_cell(row.get(name))) for name in names]) for row in rows]
    return "\n".join([*head, *body]) if rows else ""
