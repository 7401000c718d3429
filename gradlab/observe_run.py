"""From the tables of a run to what a check compares."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gradlab.analysis.factors import factor_columns, plain_cell
from gradlab.analysis.gate.names import network_name
from gradlab.config.dump import as_json
from gradlab.engine.history import LayerInfo
from gradlab.errors import UsageError
from gradlab.observe import AT_FIRST_ONLY, Reals, compared, log10
from gradlab.store.finding import Skipped
from gradlab.store.measurement import (
    END,
    FIRST,
    LAST,
    LOGARITHMIC,
    LOSSES,
    MIDDLE,
    RECORDED,
    SHARES,
    WHOLE_NETWORK,
    Key,
    Measurement,
    NetworkStatistics,
)
from gradlab.store.reading import parts_of, read_trials
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import LAYER

_STATISTICS = (*LOGARITHMIC, *SHARES)
_COLUMNS = ("layer", "name", "kind", "units", "weight_count", *_STATISTICS)
_TWINS = ("log10_weight_grad_norm", "log10_delta_rms")

_MADE_BY = ("gradlab", "torch", "device", "threads")
"""Facts of run.json that numbers depend on."""


@dataclass(frozen=True)
class Recorded:
    """What a run's tables say of its networks; networks of which a trial failed are left out.

    Attributes:
        failures: of failed trials, one line each.
        failed: the settings of the networks that are left out.
        notes: what was left out otherwise.
    """

    measurement: Measurement
    failures: tuple[str, ...] = ()
    failed: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


def measure_run(run: RunDirectory) -> Recorded:
    """What the tables of a run say of its networks, at the first, the middle and the last record, layer by layer.

    Networks are told apart by their factor columns, and seeds are those that all of them have.

    Raises:
        UsageError: there is nothing to measure, something can't be read, two trials have the same settings and seed, or
            seeds of one network differ in their layers or records.
    """
    table = read_trials([run])
    if table.skipped:
        raise UsageError("not everything can be read:" + "".join(f"\n  {reason}" for reason in table.skipped))
    networks, failed, failures = _networks(table.frame, run)
    if not networks and not failures:
        raise UsageError(f"{run.path} holds no trials to compare")
    seeds, notes = _common_seeds(networks)
    chosen = [[network.trials[seed] for seed in seeds] for network in networks]
    recorded = _recorded_steps(run)
    steps = [_steps(network, trials, recorded) for network, trials in zip(networks, chosen, strict=True)]
    wanted = {
        row["trial_id"]: set(named.values()) for named, trials in zip(steps, chosen, strict=True) for row in trials
    }
    rows, info = _rows(run, wanted), run.read_info()
    prints = info.get("weight_prints") or {}
    found = tuple(
        _statistics(network.settings, trials, named, rows, prints)
        for network, trials, named in zip(networks, chosen, steps, strict=True)
    )
    made_by = {name: str(info[name]) for name in _MADE_BY if info.get(name) is not None}
    return Recorded(Measurement(RECORDED, made_by, seeds, found), failures, failed, notes)


@dataclass(frozen=True)
class _Network:
    """Trials that differ in their seed alone: seed -> row of the trials table."""

    settings: Mapping[str, Any]
    trials: Mapping[int, Mapping[str, Any]]


def _networks(
    frame: pd.DataFrame, run: RunDirectory
) -> tuple[list[_Network], tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """The networks of which no trial failed, the settings of the others, and why trials failed."""
    factors = factor_columns(frame)
    settings: dict[str, Mapping[str, Any]] = {}
    members: dict[str, dict[int, Mapping[str, Any]]] = {}
    failures: list[str] = []
    failed: dict[str, Mapping[str, Any]] = {}
    for row in frame.to_dict("records"):
        cells = {str(name): plain_cell(value, str(name)) for name, value in row.items()}
        own = as_json({name: cells[name] for name in factors if cells[name] is not None})
        key = repr(sorted(own.items()))
        seed = cells["seed"] or 0
        if seed in members.setdefault(key, {}):
            told = f"{run.path}: two trials of {network_name(own)} have the seed {seed}"
            raise UsageError(f"{told}; tell them apart with settings of their own (gradlab.watch: settings=)")
        members[key][seed] = cells
        settings[key] = own
        if cells["status"] == "failed":
            failures.append(f"{network_name(own)} seed={seed}: {cells['error']}".strip())
            failed[key] = own
    networks = [_Network(settings[key], own) for key, own in members.items() if key not in failed]
    return networks, tuple(failed.values()), tuple(failures)


def _common_seeds(networks: Sequence[_Network]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The seeds that all networks have, and a note on the others."""
    count = Counter(seed for network in networks for seed in network.trials)
    common = tuple(sorted(seed for seed, times in count.items() if times == len(networks)))
    if networks and not common:
        raise UsageError("there is no seed that all networks were trained with, so they can't be measured together")
    left_out = sorted(set(count) - set(common))
    told = f"seeds that not every network has are left out: {', '.join(map(str, left_out))}"
    return common, (told,) if left_out else ()


def _recorded_steps(run: RunDirectory) -> dict[str, list[int]]:
    """Trial -> its recorded steps, ascending."""
    steps: dict[str, set[int]] = {}
    for part in _readable(run, ["step", "kind"]):
        for (trial, step), _ in _layers_by_record(part):
            steps.setdefault(trial, set()).add(step)
    return {trial: sorted(own) for trial, own in steps.items()}


def _steps(
    network: _Network, trials: Sequence[Mapping[str, Any]], recorded: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """Named step -> step, the same for all seeds that didn't diverge; those that did end earlier."""
    name = network_name(network.settings)
    own = [recorded.get(row["trial_id"], []) for row in trials]
    if not all(own):
        raise UsageError(f"{name}: nothing was recorded of the trial {trials[own.index([])]['trial_id']}")
    whole = [steps for row, steps in zip(trials, own, strict=True) if row["diverged_step"] is None]
    longest = max(whole or own, key=max)
    for steps in whole:
        if steps != longest:
            told = f"{name}: its seeds were recorded at other steps, up to {steps[-1]} and up to {longest[-1]}"
            raise UsageError(f"{told}; compare trainings of the same length that have come to their end")
    return _named(longest)


def _rows(run: RunDirectory, wanted: Mapping[str, set[int]]) -> dict[str, dict[int, pa.Table]]:
    """Trial -> wanted step -> the rows of its layers, from the input on."""
    found: dict[str, dict[int, pa.Table]] = {}
    for part in _readable(run, ["step", *_COLUMNS, *_TWINS]):
        for (trial, step), places in _layers_by_record(part):
            if step in wanted.get(trial, ()):
                found.setdefault(trial, {})[step] = part.take(places).sort_by("layer")
    return found


def _layers_by_record(part: pa.Table) -> Iterator[tuple[tuple[str, int], NDArray[np.int64]]]:
    """Trial and step, and where the rows of its layers stand."""
    columns = [name for name in ("trial_id", "step", "kind") if name in part.column_names]
    frame = part.select(columns).to_pandas()
    if "kind" in columns:
        frame = frame[frame["kind"].isna() | (frame["kind"] == LAYER)]
    for (trial, step), rows in frame.groupby(["trial_id", "step"]).indices.items():
        yield (trial, step), frame.index.to_numpy()[rows]


def _readable(run: RunDirectory, columns: Sequence[str]) -> Iterator[pa.Table]:
    for part in parts_of(run, "layers", columns):
        if isinstance(part, Skipped):
            raise UsageError(f"not everything can be read:\n  {part}")
        yield part


def _named(steps: Sequence[int]) -> dict[str, int]:
    """The first record, the one nearest the middle and the last, each once."""
    first, last = steps[0], steps[-1]
    between = [step for step in steps if first < step < last]
    named = {FIRST: first}
    if between:
        named[MIDDLE] = min(between, key=lambda step: (abs(2 * step - first - last), step))
    return named | ({LAST: last} if last > first else {})


def _statistics(
    settings: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    steps: Mapping[str, int],
    rows: Mapping[str, Mapping[int, pa.Table]],
    prints: Mapping[str, Sequence[float]],
) -> NetworkStatistics:
    """What was recorded of one network at the named steps, of one trial for each seed."""
    name = network_name(settings)
    own = [rows[row["trial_id"]] for row in trials]
    layers = _layers(own[0][min(own[0])])
    if any(_layers(table) != layers for tables in own for table in tables.values()):
        raise UsageError(f"{name}: its layers differ between seeds or records, so these cannot be compared")
    values: dict[Key, Reals] = {}
    for step_name, step in steps.items():
        for statistic in _STATISTICS:
            if statistic in AT_FIRST_ONLY and step_name != FIRST:
                continue
            found = [_at_step(tables.get(step), statistic, layers) for tables in own]
            for layer in range(len(layers)):
                if any(known[layer] for known, _ in found):
                    values[Key(step_name, statistic, layer + 1)] = np.array([values[layer] for _, values in found])
    for loss in LOSSES:
        if any(row[loss] is not None for row in trials):
            finals = np.array([math.nan if row[loss] is None else row[loss] for row in trials], np.float64)
            values[Key(END, loss, WHOLE_NETWORK)] = log10(finals)
    count = {row["parameters"] for row in trials} - {None}
    return NetworkStatistics(
        settings=settings,
        layers=tuple(info.name for info in layers),
        steps=steps,
        values=values,
        weight_prints=_prints([prints.get(row["trial_id"]) for row in trials], len(layers)),
        weight_counts=tuple(info.weight_count for info in layers),
        diverged=tuple(row["diverged_step"] for row in trials),
        parameters={"": count.pop()} if len(count) == 1 else {},
    )


def _layers(table: pa.Table) -> list[LayerInfo]:
    columns = [table[name].to_pylist() for name in ("name", "units", "weight_count")]
    return [LayerInfo(name, units, count or 0) for name, units, count in zip(*columns, strict=True)]


def _at_step(table: pa.Table | None, statistic: str, layers: Sequence[LayerInfo]) -> tuple[list[bool], Reals]:
    """For which layers a statistic has a value at a step, and what is compared of it; NaN where there is no record."""
    if table is None or statistic not in table.column_names:
        return [False] * len(layers), np.full(len(layers), np.nan)
    known = [cell is not None for cell in table[statistic].to_pylist()]
    plain = np.array(table[statistic].to_pylist(), np.float64)
    values = {statistic: plain}
    twin = f"log10_{statistic}"
    if twin in table.column_names:
        # The logarithm of 0 is null, and so is that of what is no number: the plain column tells these apart.
        logs = np.array(table[twin].to_pylist(), np.float64)
        values[twin] = np.where(np.isnan(logs), log10(plain), logs)
    return known, compared(statistic, values, layers)


def _prints(found: Sequence[Sequence[float] | None], layers: int) -> Reals:
    """`[layer, seed]`, or `[layer, 0]` where some trial has none."""
    if any(prints is None or len(prints) != layers for prints in found):
        return np.empty((layers, 0))
    cells = [[math.nan if value is None else value for value in prints or ()] for prints in found]
    return np.array(cells, np.float64).reshape(len(found), layers).T
