"""`gradlab compare` on a terminal: groups, effects, theory, a reference beside them, and where all of it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from gradlab.analysis.against import Against, Change
from gradlab.analysis.agreement import CLOSE, Agreement
from gradlab.analysis.compare import Comparison
from gradlab.analysis.estimates import GeometricMean, Mean
from gradlab.analysis.summary import Summary
from gradlab.report.console import (
    MOST_ROWS,
    place_name,
    print_left_out,
    print_losses,
    print_sources,
    print_summary,
    record_name,
    rows_shown,
)
from gradlab.report.effects import print_effects, words_for
from gradlab.report.layout import Column, print_columns, say
from gradlab.report.naming import key_columns, name_column, settings_line
from gradlab.report.numbers import (
    NOTHING,
    arithmetic,
    count_of,
    geometric,
    geometric_interval,
    number,
    percent,
    power,
    setting,
)
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import LAYER, TIME, TRIALS

_LINES = 12
"""Networks that are spelled out under a table; the others are counted."""


def print_comparison(
    console: Console, comparison: Comparison, runs: Sequence[RunDirectory], see: str = "--format json"
) -> None:
    """Draw the answer to a question about runs.

    Args:
        see: the option that shows everything.
    """
    summary = comparison.summary
    for against in comparison.against:
        _print_against(console, against, summary.metric, see)
    if comparison.layers is not None:
        _print_layers(console, comparison, see)
    elif not comparison.against:
        if comparison.measures is not None:
            _print_measures(console, comparison, see)
        else:
            print_summary(console, summary, see, _others(summary, see))
        print_effects(console, comparison.effects, summary.metric, see)
        if comparison.measures is None and (line := agreement_sentence(comparison.agreement, summary)):
            say(console, line)
    print_sources(console, summary, runs)


def _others(summary: Summary, see: str) -> str:
    """How to see the groups that a table doesn't show."""
    return f"--top {summary.grouping.size}, --where or {see}"


def agreement_sentence(found: Agreement, summary: Summary) -> str | None:
    """Whether theory agrees, in words."""
    if found.furthest is None:
        return None
    name = place_name(summary, found.furthest)
    apart = f"{power(found.log10_ratio)}x the predicted"
    if found.groups == 1:
        return f"theory: the measured decay is {apart}"
    all_of_them = f"in {found.close} of {count_of(found.groups, 'group')}"
    return (
        f"theory: measured decay is within {percent(CLOSE)} of the predicted {all_of_them}; furthest: {name}, {apart}"
    )


def estimate_cell(estimate: Mean | GeometricMean, share: bool = False) -> str:
    """A mean as a cell."""
    if isinstance(estimate, GeometricMean):
        return geometric(estimate)
    return arithmetic(estimate, percent if share else number)


def interval_cell(estimate: Mean | GeometricMean, share: bool = False) -> str:
    """Its 95 % interval as a cell."""
    if isinstance(estimate, GeometricMean):
        return geometric_interval(estimate)
    show = percent if share else number
    return NOTHING if estimate.low is None else f"{show(estimate.low)} .. {show(estimate.high)}"


def _print_measures(console: Console, comparison: Comparison, see: str) -> None:
    summary = comparison.summary
    places = list(summary.places)[: rows_shown(summary)]
    columns = key_columns(summary.keys, [summary.grouping.settings[place] for place in places])
    columns.append(Column("trials", [str(len(summary.grouping.members[place])) for place in places], 700))
    for rank, (name, column) in enumerate(comparison.estimates.items()):
        means = [column[place] for place in places]
        share = name.endswith("_fraction")
        columns.append(Column(name, [estimate_cell(mean, share) for mean in means], 600 - rank))
        columns.append(
            Column("95 %", [interval_cell(mean, share) for mean in means], 300 - rank, f"interval of {name}")
        )
    if recorded := [name for name in comparison.estimates if name not in TRIALS]:
        say(console, f"{', '.join(recorded)}: at {record_name(summary)}", "dim")
    print_columns(console, columns, see)
    print_left_out(console, summary, _others(summary, see))
    print_losses(console, summary, see)


def _print_layers(console: Console, comparison: Comparison, see: str) -> None:
    summary, layers = comparison.summary, comparison.layers
    assert layers is not None  # noqa: S101
    rows = [row for place in summary.places for row in layers.rows_of(place)]
    shown = rows[: 2 * MOST_ROWS] if summary.top is None else rows
    layered, timed = (any(layers.kind[row] == kind for row in rows) for kind in (LAYER, TIME))
    both = "; recurrent networks time step by time step" if timed else ""
    title = f"layer by layer at {record_name(summary)}, layer 1 nearest the input{both}"
    say(console, title if layered else f"time step by time step at {record_name(summary)}", "bold")
    header = "layer /\ntime step" if layered and timed else "time step" if timed else "layer"
    columns = key_columns(summary.keys, [summary.grouping.settings[int(layers.group[row])] for row in shown])
    columns.append(Column(header, [str(layers.layer[row]) for row in shown]))
    columns.append(name_column([(int(layers.layer[row]), layers.name[row]) for row in shown], 100, 700))
    columns.append(Column("units", [setting(layers.units[row]) for row in shown], 200))
    for rank, (name, column) in enumerate(layers.estimates.items()):
        means = [column[row] for row in shown]
        share = name.endswith("_fraction")
        cells = [estimate_cell(mean, share) for mean in means]
        if timed and len(layers.estimates) > 1 and set(cells) == {NOTHING}:
            continue  # most statistics have no meaning for a time step
        columns.append(Column(name, cells, 600 - rank))
        columns.append(Column("95 %", [interval_cell(mean, share) for mean in means], 90 - rank, f"interval of {name}"))
    print_columns(console, columns, see)
    if len(shown) < len(rows):
        say(console, f"{len(shown)} of {len(rows)} rows shown; the others with {_others(summary, see)}", "dim")
    elif summary.top is not None:
        print_left_out(console, summary, _others(summary, see))
    print_losses(console, summary, see)


def _print_against(console: Console, against: Against, metric: str, see: str) -> None:
    arrow = "->" if console.options.ascii_only else "→"
    say(console, f"{against.reference} {arrow} {against.candidate}", "bold")
    if against.changed:
        pairs = (f"{name}: {setting(one)} {arrow} {setting(other)}" for name, (one, other) in against.changed.items())
        say(console, f"what differs between the configs: {'; '.join(pairs)}")
    if against.networks:
        shown = range(len(against.networks))[:MOST_ROWS]
        columns = key_columns(against.keys, [against.networks[place] for place in shown])
        for rank, measure in enumerate(change.measure for change in against.changes[0]):
            cells = [_change(against.changes[place][rank], arrow) for place in shown]
            columns.append(Column(words_for(measure, metric).replace(" ", "\n", 1), cells, 600 - rank))
        print_columns(console, columns, see)
        unknown = any(_is_open(change) for place in shown for change in against.changes[place])
        marks = ["* differs beyond chance (95 % for all of them together)", "= identical seed by seed"]
        say(console, ", ".join([*marks, *(["? unknown with one seed"] if unknown else [])]), "dim")
        if len(against.networks) > len(shown):
            say(console, f"{len(shown)} of {len(against.networks)} networks shown (all of them with {see})", "dim")
    for line in against_sentences(against, metric):
        say(console, line)


def against_sentences(against: Against, metric: str) -> list[str]:
    """What differs from the reference, and what is missing on either side."""
    total = len(against.networks)
    lines = ["the data differ: losses and metrics are not of the same task"] if "data" in against.changed else []
    if not total:
        lines.append("no network stands on both sides")
    else:
        lines.append(_verdicts(against))
        differing = against.differing
        for place in differing[:_LINES]:
            changed = [change for change in against.changes[place] if change.verdict == "differs"]
            name = settings_line({key: against.networks[place][key] for key in against.keys}) or "the network"
            lines.append(f"  {name}: {'; '.join(_ratio(change, metric) for change in changed)}")
        if len(differing) > _LINES:
            lines.append(f"  and {len(differing) - _LINES} more (all of them in JSON, CSV and Markdown)")
    for side, missing in ((against.reference, against.only_reference), (against.candidate, against.only_candidate)):
        if missing:
            names = [settings_line({key: row[key] for key in against.keys}) for row in missing[:_LINES]]
            more = f" and {len(missing) - _LINES} more" if len(missing) > _LINES else ""
            lines.append(f"only in {side}: {', '.join(names)}{more}")
    return lines


def _verdicts(against: Against) -> str:
    """How many networks differ, how many do not, and of how many nobody can know."""
    total = len(against.networks)
    said = []
    if len(against.unknown) < total:
        said.append(f"{len(against.differing)} of {count_of(total, 'network')} differ{'s' * (total == 1)}")
    if against.identical:
        said.append(f"{len(against.identical)} identical in everything")
    one_seed, unmeasured = len(against.one_seed), len(against.unknown) - len(against.one_seed)
    if one_seed:
        which = "the network differs" if total == 1 else f"{one_seed} of {total} networks differ"
        said.append(f"whether {which} is unknown: one seed can't tell a difference from chance")
    if unmeasured:
        which = "the network differs" if total == 1 else f"{unmeasured} of {total} networks differ"
        said.append(f"whether {which} is unknown: nothing was measured on both sides")
    return "; ".join(said)


def _change(change: Change, arrow: str) -> str:
    share = change.measure.endswith("_fraction")
    cells = [estimate_cell(mean, share) for mean in (change.reference, change.candidate)]
    mark = {"differs": " *", "identical": " ="}.get(change.verdict, " ?" if _is_open(change) else "  ")
    return (cells[0] if change.verdict == "identical" else f"{cells[0]} {arrow} {cells[1]}") + mark


def _is_open(change: Change) -> bool:
    """Whether a second seed could judge it."""
    return change.verdict == "unknown" and change.is_one_seed


def _ratio(change: Change, metric: str) -> str:
    name, found = words_for(change.measure, metric), change.difference
    if change.geometric:
        if found.value is None:
            return f"{name} {estimate_cell(change.reference)} before, {estimate_cell(change.candidate)} now"
        within = "" if found.low is None else f" ({power(found.low)} .. {power(found.high)})"
        return f"{name} {power(found.value)}x{within}"
    scale, unit = (100.0, " points") if change.measure.endswith("_fraction") else (1.0, "")
    sign = "+" if (found.value or 0) > 0 else ""
    within = "" if found.low is None else f" ({number(scale * found.low)} .. {number(scale * (found.high or 0.0))})"
    return f"{name} {sign}{number(scale * (found.value or 0.0))}{unit}{within}"
