"""The summary of runs on a terminal: a table, what it leaves out, what went wrong and what to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import numpy as np
from rich.console import Console
from rich.text import Text

from gradlab.analysis.group import Group
from gradlab.analysis.summary import Summary
from gradlab.report.layout import Column, print_columns, say
from gradlab.report.naming import key_columns, network_line
from gradlab.report.numbers import (
    arithmetic,
    count_of,
    geometric,
    geometric_interval,
    number,
    power,
    share,
)
from gradlab.report.strip import ASCII_BARS, BARS, WIDEST, ZERO, Scale, colour, strip
from gradlab.store.records import When
from gradlab.store.rundir import RunDirectory

MOST_ROWS = 30
"""Groups in a table unless more are asked for: what a person reads."""

_STRIP = "gradient"
_NARROW_STRIP = 10
_ADVICE_LINES = 12
"""Groups whose advice, or whose losses, are spelled out under the table; the others are counted."""

_STYLES = {
    "healthy": "green",
    "vanishing": "bold blue",
    "exploding": "bold red",
    "dead": "bold magenta",
    "dying": "magenta",
    "saturated": "yellow",
    "diverged": "bold red",
    "failed": "bold red",
}

_INFO_SHOWN = ("gradlab", "torch", "device", "start")


def print_summary(
    console: Console, summary: Summary, see: str = "--json", see_groups: str = "", errors_follow: bool = False
) -> None:
    """Draw the summary table of one or more runs, and under it what the table can't say.

    Args:
        console: where to; a narrow terminal gets fewer columns and a line that names the others.
        summary: what `gradlab.analysis.summary` made.
        see: the option that shows everything.
        see_groups: the options that show more groups; `see` if there are no others.
        errors_follow: whether the errors of failed trials are told elsewhere.
    """
    if not summary.groups:
        say(console, "no finished trials")
        return
    ascii_only = console.options.ascii_only
    places = list(summary.places)[: rows_shown(summary)]
    profiles = [summary.profiles[place] for place in places]
    scale = Scale.of([value for profile in profiles for value in profile.hidden])
    shown = print_columns(console, _columns(summary, places, scale, ascii_only), see)
    if any(column.header == _STRIP for column in shown):
        along = {"time step" if profile.along_time else "hidden layer" for profile in profiles}
        say(console, _legend(scale, " or ".join(sorted(along)), record_name(summary), ascii_only))
    print_left_out(console, summary, see_groups or see)
    print_losses(console, summary, see)
    _print_advice(console, summary, see, {"failed"} if errors_follow else set())


def rows_shown(summary: Summary) -> int:
    """How many groups a table shows: those that were asked for, or as many as a person reads."""
    return MOST_ROWS if summary.top is None else summary.top


def print_left_out(console: Console, summary: Summary, see: str) -> None:
    """Say how many groups the table doesn't show."""
    total, shown = summary.grouping.size, min(len(summary.groups), rows_shown(summary))
    if shown < total:
        say(console, f"{shown} of {total} groups shown; the others with {see}", "dim")


def record_name(summary: Summary) -> str:
    """The record that the gradient's numbers come from."""
    named: dict[When | None, str] = {None: "step 0", "first": "step 0", "last": "the last record"}
    return named.get(summary.when, f"step {summary.when}")


def print_sources(console: Console, summary: Summary, runs: Sequence[RunDirectory]) -> None:
    """Say where each run comes from."""
    console.print()
    for run in runs:
        info = run.read_info()
        facts = [f"{key} {info[key]}" for key in _INFO_SHOWN if info.get(key) is not None]
        count = count_of(summary.runs.get(run.name, 0), "trial")
        say(console, f"{run.name}: {'; '.join([count, *facts])}; {run.path}")


def place_name(summary: Summary, place: int) -> str:
    """A group by its factors: `depth=30 activation=relu`."""
    settings = summary.grouping.settings[place]
    return network_line(summary.keys, settings)


def _columns(summary: Summary, places: Sequence[int], scale: Scale, ascii_only: bool) -> list[Column]:
    groups = [summary.group(place) for place in places]

    def cells(show: Callable[[Group], str]) -> list[str]:
        return [show(group) for group in groups]

    def strips(width: int) -> list[Text]:
        return [strip(summary.profiles[place].hidden, scale, width, ascii_only) for place in places]

    strip_column = [Column(_STRIP, strips(WIDEST), 85, right=False, narrow=strips(_NARROW_STRIP))]
    # A pooled group's layers are those of unlike networks: their means are no profile of any.
    drawn = summary.by is None and any(str(cell).strip() for cell in strip_column[0].cells)
    return [
        *key_columns(summary.keys, [group.settings for group in groups]),
        Column("trials", cells(lambda group: str(group.trials)), 40),
        Column("first layer\n|grad W|", cells(lambda group: geometric(group.first_grad_norm)), 65),
        Column("last hidden\n|grad W|", cells(lambda group: geometric(group.last_grad_norm)), 55),
        Column("decay\nmeasured", cells(lambda group: geometric(group.decay))),
        Column("decay\n95 %", cells(lambda group: geometric_interval(group.decay)), 30, "decay's 95 % interval"),
        Column("decay\npredicted", cells(lambda group: number(group.predicted_decay)), 90),
        Column("dead", cells(lambda group: share(group.dead_fraction)), 70),
        Column("satur-\nated", cells(lambda group: share(group.saturated_fraction)), 50, "saturated"),
        Column("train\nloss", cells(lambda group: arithmetic(group.train_loss)), 60),
        Column("eval\nloss", cells(lambda group: arithmetic(group.eval_loss)), 20),
        Column(summary.metric, cells(lambda group: arithmetic(group.metric)), 80),
        Column("diagnosis", [_diagnosis(group) for group in groups], right=False),
        *(strip_column if drawn else []),
    ]


def _diagnosis(group: Group) -> Text:
    """The most common diagnosis, with its count where the trials don't agree."""
    word = group.diagnosis
    share = "" if len(group.diagnoses) == 1 else f" {group.diagnoses[word]}/{group.trials}"
    return Text(word + share, _STYLES.get(word, ""))


def _legend(scale: Scale, along: str, record: str, ascii_only: bool) -> Text:
    bars = ASCII_BARS if ascii_only else BARS
    text = Text(f"{_STRIP}: delta of each {along} at {record}, the first on the left; ")
    text.append(bars[0], colour(0))
    text.append(f" {power(scale.low)}{' or less' if scale.cut else ''} ")
    for level in range(1, len(bars) - 1):
        text.append(bars[level], colour(level))
    text.append(f" {power(scale.high)} ")
    text.append(bars[-1], colour(len(bars) - 1))
    text.append(f"  {ZERO} exactly 0")
    return text


def print_losses(console: Console, summary: Summary, see: str) -> None:
    """Name the groups with diverged or failed trials: their numbers are means over fewer seeds."""
    sizes = summary.grouping.count(np.ones(len(summary.trials.frame), np.bool_))
    for word in ("diverged", "failed"):
        counts = summary.status[word]
        hit = np.flatnonzero(counts).tolist()
        if not hit:
            continue
        names = [f"{place_name(summary, place)} ({counts[place]}/{sizes[place]})" for place in hit[:_ADVICE_LINES]]
        more = len(hit) - _ADVICE_LINES
        tail = f" and {count_of(more, 'more group')} (all of them with {see})" if more > 0 else ""
        of_all = len(summary.trials.frame)
        say(console, f"{counts.sum()} of {of_all} trials {word}: {', '.join(names)}{tail}", _STYLES[word])


def _print_advice(console: Console, summary: Summary, see: str, without: Set[str]) -> None:
    """Say what to try, as many sentences as a person reads; groups of the same sentence together.

    Args:
        without: diagnoses that need no sentence here.
    """
    advised: dict[str, list[str]] = {}
    more = 0
    for place in summary.places:
        if summary.is_healthy(place):
            continue
        if len(advised) == _ADVICE_LINES and more:
            more += 1
            continue
        group = summary.group(place)
        if group.diagnosis in without:
            continue
        if group.advice in advised or (group.advice and len(advised) < _ADVICE_LINES):
            advised.setdefault(group.advice, []).append(place_name(summary, place))
        elif group.advice:
            more += 1
    for sentence, names in advised.items():
        line = Text(f"{', '.join(names[:_ADVICE_LINES])}: ", "bold")
        if len(names) > _ADVICE_LINES:
            line = Text(f"{', '.join(names[:_ADVICE_LINES])} and {len(names) - _ADVICE_LINES} more: ", "bold")
        line.append(sentence, "not bold")
        say(console, line)
    if more:
        say(console, f"advice for {count_of(more, 'more group')} with {see}")
