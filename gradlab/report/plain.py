"""What the tables show as plain values for JSON: everything, at full precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gradlab.analysis.compare import Comparison
from gradlab.analysis.group import Group, Profile
from gradlab.analysis.layerwise import LayerEstimates, LayerTable
from gradlab.analysis.summary import Summary
from gradlab.report.as_json import plain
from gradlab.store.rundir import RunDirectory


def summary_json(summary: Summary) -> dict[str, Any]:
    """A summary: `varying`, `metric`, `runs` and `groups`, each group with its `settings` and all estimates."""
    profiles_at = {str(summary.when or "first"): summary.profiles}
    if summary.when is None:
        profiles_at["last"] = summary.last_profiles
    return {
        "varying": list(summary.varying),
        "metric": summary.metric,
        "runs": dict(summary.runs),
        "groups": [
            _group(group) | {"profile": {when: _profile(profiles[place]) for when, profiles in profiles_at.items()}}
            for place, group in zip(summary.places, summary.groups, strict=True)
        ],
    }


def comparison_json(comparison: Comparison, runs: Sequence[RunDirectory]) -> dict[str, Any]:
    """The answer to a question about runs.

    A summary, of which `runs` says where each comes from, with `groups_in_all` beside the groups shown; `effects`,
    `theory`, `notes`; the groups' `statistics` where some were asked for, and their `layers`; `against` where there is
    a reference.
    """
    summary = comparison.summary
    sources = [
        {"run": run.name, "path": str(run.path), "trials": summary.runs.get(run.name, 0), "info": run.read_info()}
        for run in runs
    ]
    found = summary_json(summary)
    for place, group in zip(summary.places, found["groups"], strict=True):
        if comparison.measures is not None:
            group["statistics"] = {name: plain(means[place]) for name, means in comparison.estimates.items()}
        if comparison.layers is not None:
            group["layers"] = _layers(comparison.layers, place)
    agreement = {"groups": comparison.agreement.groups, "close": comparison.agreement.close}
    if comparison.agreement.furthest is not None:
        furthest = summary.grouping.settings[comparison.agreement.furthest]
        agreement |= {"furthest": plain(furthest), "log10_ratio": plain(comparison.agreement.log10_ratio)}
    more: dict[str, Any] = {"against": plain(comparison.against)} if comparison.against else {}
    return (
        found
        | more
        | {
            "groups_in_all": summary.grouping.size,
            "effects": plain(comparison.effects),
            "theory": agreement,
            "runs": plain(sources),
            "notes": [str(note) for note in (*comparison.notes, *comparison.skipped)],
        }
    )


def _layers(layers: LayerEstimates, place: int) -> list[dict[str, Any]]:
    return [
        {
            "layer": int(layers.layer[row]),
            "name": layers.name[row],
            "kind": layers.kind[row],
            "units": layers.units[row],
            **plain(layers.row(row)),
        }
        for row in layers.rows_of(place)
    ]


def show_json(run: RunDirectory, tables: Sequence[LayerTable]) -> dict[str, Any]:
    """A run layer by layer: `run`, `path`, `info`, and `groups` with their `trials`, `layers` and `time_steps`."""
    groups = [
        {
            "settings": plain(table.settings),
            "trials": plain(table.trials),
            "last_steps": plain(table.last_steps),
            "layers": [plain(row) for row in table.rows],
            "time_steps": [plain(row) for row in table.time_steps],
        }
        for table in tables
    ]
    return {"run": run.name, "path": str(run.path), "info": plain(run.read_info()), "groups": groups}


def _group(group: Group) -> dict[str, Any]:
    fields = {field.name: getattr(group, field.name) for field in dataclasses.fields(group)}
    return {**plain(fields), "diagnosis": group.diagnosis}


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "layers": list(profile.layers),
        "along_time": profile.along_time,
        "log10_delta_rms": plain([mean.log10 for mean in profile.delta_rms]),
        "log10_weight_grad_norm": plain([mean.log10 for mean in profile.weight_grad_norm]),
        "delta_rms_count": [mean.count for mean in profile.delta_rms],
        "weight_grad_norm_count": [mean.count for mean in profile.weight_grad_norm],
    }
