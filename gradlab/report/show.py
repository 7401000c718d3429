"""`gradlab show`: one run, or one trial of it, layer by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console

from gradlab.analysis.estimates import GeometricMean
from gradlab.analysis.layerwise import Estimate, LayerRow, LayerTable
from gradlab.report.facts import facts_line, note_lines
from gradlab.report.layout import Column, print_columns, say
from gradlab.report.naming import name_column, network_line, settings_line
from gradlab.report.numbers import NOTHING, arithmetic, count_of, geometric, number, setting, share
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import LAYER

_STATISTICS: tuple[tuple[str, str, int], ...] = (
    ("weight_grad_norm", "|grad W|", 100),
    ("delta_rms", "delta rms", 95),
    ("preactivation_rms", "preactivation\nrms", 70),
    ("activation_mean", "activation\nmean", 40),
    ("activation_rms", "activation\nrms", 60),
    ("dead_units", "dead\nunits", 90),
    ("zero_gradient_units", "units without\ngradient", 50),
    ("saturated_fraction", "saturated", 80),
    ("update_ratio", "update\nratio", 65),
    ("float32_zero_fraction", "lost to\nfloat32", 45),
)
"""Statistic, its header and its rank."""

_MOST_TIME_STEPS, _TIME_STEPS = 16, 12
"""A series of more time steps than the first is shown by as many as the second."""

_FRACTIONS = {"saturated_fraction", "float32_zero_fraction"}


def print_run(
    console: Console, run: RunDirectory, tables: Sequence[LayerTable], see: str = "--json", trial: bool = False
) -> None:
    """Draw the header of a run and each of its groups layer by layer, step 0 beside the last record.

    Args:
        console: where to.
        run: the run.
        tables: its groups, or the one trial asked for.
        see: the option that shows everything.
        trial: whether one trial was asked for, which then gets its own facts.
    """
    say(console, f"{run.name}  {run.path}", "bold")
    info = run.read_info()
    if facts := facts_line(info):
        say(console, facts)
    for line in note_lines(info, [row["trial_id"] for table in tables for row in table.trials] if trial else None):
        say(console, line)
    if not tables:
        say(console, "no finished trials")
    for table in tables:
        console.print()
        if trial:
            _print_trial(console, table)
        else:
            say(console, _group_title(table), "bold")
        _print_layers(console, table, see)
        _print_time_steps(console, table, see)


def _group_title(table: LayerTable) -> str:
    keys = table.varying or tuple(key for key in ("depth", "activation") if table.settings.get(key) is not None)
    words = Counter(str(row.get("diagnosis") or row.get("status")) for row in table.trials)
    diagnosis = ", ".join(f"{word} {count}" for word, count in words.most_common())
    name = network_line(keys, table.settings)
    return f"{name or 'all trials'}: {count_of(len(table.trials), 'trial')} ({diagnosis}); {_steps(table)}"


def _print_trial(console: Console, table: LayerTable) -> None:
    row = table.trials[0]
    say(console, f"trial {row['trial_id']}: {_steps(table)}", "bold")
    say(console, settings_line({"seed": row["seed"], **{k: v for k, v in table.settings.items() if v is not None}}))
    known = {*table.settings, "trial_id", "run", "seed"}
    results = [f"{key}: {_result(value)}" for key, value in row.items() if key not in known and value is not None]
    say(console, "  ".join(results))


def _result(value: Any) -> str:
    return number(value) if isinstance(value, float) else setting(value)


def _steps(table: LayerTable) -> str:
    if table.last_steps is None:
        return "nothing was recorded"
    least, greatest = table.last_steps
    last = f"step {least}" if least == greatest else f"steps {least} to {greatest}"
    return f"step 0 and the last record ({last})"


def _print_layers(console: Console, table: LayerTable, see: str) -> None:
    numbers = [str(row.layer) if row.kind == LAYER else "norm" for row in table.rows]
    _print_rows(console, "layer", numbers, table.rows, see)


def _print_time_steps(console: Console, table: LayerTable, see: str) -> None:
    """A table for each recurrent series, of a long one the ends and what is evenly between."""
    for name, rows in groupby(table.time_steps, lambda row: row.name):
        steps = list(rows)
        shown = [steps[place] for place in _evenly(len(steps))]
        console.print()
        say(console, f"{name or 'recurrent layer'}: gradients with respect to its hidden state along time")
        _print_rows(console, "time step", [str(row.layer) for row in shown], shown, see)
        if len(shown) < len(steps):
            say(console, f"{len(shown)} of {len(steps)} time steps shown; all of them with {see}", "dim")


def _evenly(count: int) -> list[int]:
    """Places from 0 to `count` - 1, both among them: all of a few, of many about as many as a person reads."""
    if count <= _MOST_TIME_STEPS:
        return list(range(count))
    last = _TIME_STEPS - 1
    return [place * (count - 1) // last for place in range(_TIME_STEPS)]


def _print_rows(console: Console, head: str, numbers: Sequence[str], rows: Sequence[LayerRow], see: str) -> None:
    if not rows:
        return
    arrow = "->" if console.options.ascii_only else "→"
    columns = [
        Column(head, numbers),
        name_column([(row.layer, row.name) for row in rows], 10, 110),
        Column("units", [setting(row.units) for row in rows], 55),
    ]
    for name, header, rank in _STATISTICS:
        cells = [f"{_estimate(name, row.first)} {arrow} {_estimate(name, row.last)}" for row in rows]
        if any(_is_known(name, row) for row in rows):
            columns.append(Column(header, cells, rank, name))
    print_columns(console, columns, see)


def _is_known(name: str, row: LayerRow) -> bool:
    return _estimate(name, row.first) != NOTHING or _estimate(name, row.last) != NOTHING


def _estimate(name: str, estimates: Any) -> str:
    estimate: Estimate | None = estimates.get(name)
    if estimate is None:
        return NOTHING
    if isinstance(estimate, GeometricMean):
        return geometric(estimate)
    return share(estimate) if name in _FRACTIONS else arithmetic(estimate)
