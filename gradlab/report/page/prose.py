"""The report's sentences: what was found, what to try, what is missing, and where all of it comes from."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gradlab.analysis.agreement import agreement_of
from gradlab.analysis.diagnosis import DIAGNOSES
from gradlab.analysis.effects import MEASURES, effects
from gradlab.analysis.figures.report import Report
from gradlab.analysis.group import Group
from gradlab.report.compare import agreement_sentence
from gradlab.report.effects import effect_sentences
from gradlab.report.facts import facts_line, note_lines
from gradlab.report.numbers import count_of, power
from gradlab.report.page.elements import Html, element, joined
from gradlab.report.page.table import diagnosis_badge
from gradlab.store.rundir import CONFIG_NAME, WATCHED, RunDirectory

MEANINGS = {
    "failed": "an error stopped it",
    "diverged": "its loss stopped being finite",
    "dead": "no unit of some hidden layer has a slope on any example, and no gradient passes",
    "vanishing": "on its way back to the first layer the gradient all but disappears before any training",
    "exploding": "on its way back to the first layer the gradient grows out of proportion before any training",
    "dying": "more than half of the hidden units are dead at the end of training",
    "saturated": "most units sit where the activation is nearly flat at the end of training",
    "healthy": "none of these",
}
"""Diagnosis -> what it says, in plain words; the thresholds are settings of the config."""

_MOST_NAMES = 6
"""Groups that are named beside one sentence; the others are counted."""


@dataclass(frozen=True)
class Made:
    """How a report was made.

    Attributes:
        version: of gradlab.
        command: the words of the command line.
        time: when, as people write it.
    """

    version: str
    command: Sequence[str]
    time: str


def heading(report: Report) -> str:
    """What the report is about: its runs."""
    runs = list(report.summary.runs)
    return ", ".join(runs) if len(runs) < 4 else f"{', '.join(runs[:3])} and {len(runs) - 3} more runs"


def at_a_glance(report: Report, shown: int) -> Html:
    """How many trials there are, what they suffer from, and where the gradient keeps best and worst."""
    summary = report.summary
    groups = [summary.group(place) for place in range(shown)]
    counts = Counter(group.diagnosis for group in groups)
    words = [word for word in reversed(DIAGNOSES) if counts[word]] + sorted(counts.keys() - set(DIAGNOSES))
    badges = [element("li", diagnosis_badge(word), " ", element("strong", str(counts[word]))) for word in words]
    trials = len(summary.trials.frame)
    of_runs = f"{count_of(trials, 'trial')} in {count_of(len(summary.runs), 'run')}"
    lead = f"{count_of(summary.grouping.size, 'group')} of networks, {of_runs}."
    if shown < summary.grouping.size:
        lead += f" This page lists and draws the first {shown} of them; --where chooses others."
    sentences = [lead, *_extremes(report, groups)]
    return joined([element("ul", *badges, class_="tally"), element("p", " ".join(sentences), class_="lead")])


def differences(report: Report) -> Html:
    """What each factor does, in the words of `gradlab compare`, and whether theory agrees."""
    summary = report.summary
    measures = [summary.measured.measures[name] for name in MEASURES]
    lines = effect_sentences(effects(summary.trials, summary.networks, measures, summary.by), summary.metric)
    agreement = agreement_sentence(agreement_of(summary), summary)
    return _list([_measured(line) for line in [*lines, *([agreement] if agreement else [])]])


def advice(report: Report, shown: int) -> Html:
    """One sentence for each way to be unhealthy, with the groups that are; nothing where all are healthy."""
    advised: dict[str, list[str]] = {}
    badges: dict[str, str] = {}
    for place in range(shown):
        if report.summary.is_healthy(place):
            continue
        group = report.summary.group(place)
        if group.advice:
            advised.setdefault(group.advice, []).append(report.labels[place])
            badges[group.advice] = group.diagnosis
    items = [
        element("li", diagnosis_badge(badges[sentence]), f" {sentence}", element("div", _named(names), class_="facts"))
        for sentence, names in advised.items()
    ]
    return element("ul", *items, class_="advice") if items else Html("")


def glossary(report: Report, shown: int) -> Html:
    """What the diagnoses that occur mean."""
    found = {word for place in range(shown) for word in report.summary.group(place).diagnoses}
    pairs = [
        joined([element("dt", diagnosis_badge(word)), element("dd", MEANINGS[word])])
        for word in DIAGNOSES
        if word in found
    ]
    return element("dl", *pairs, class_="glossary")


def sources(report: Report, made: Made) -> Html:
    """The runs with what made them, and the commands that make them and this page."""
    summary = report.summary
    runs = {part.run.name: part.run for part in summary.trials.parts}
    items = []
    for name, count in summary.runs.items():
        more = _source(runs[name]) if name in runs else []
        items.append(element("li", element("b", name), f": {count_of(count, 'trial')}", *more))
    written = f"Written {made.time} by gradlab {made.version} with"
    command = element("pre", element("code", shlex.join(made.command)))
    return joined([element("ul", *items, class_="runs"), element("p", written), command])


def skipped(report: Report) -> Html:
    """What could not be read."""
    return _list([element("li", str(reason)) for reason in report.summary.skipped])


def _source(run: RunDirectory) -> list[Html]:
    """What made a run, what it could not record, and how to look at it or make it again."""
    info = run.read_info()
    lines = [facts_line(info) or "what made it is not known", *note_lines(info)]
    words = [["gradlab", "show", str(run.path)]]
    if "config_digest" in info and not info.get(WATCHED):
        words.append(["gradlab", "run", str(run.path / CONFIG_NAME)])
    commands = element("pre", element("code", "\n".join(map(shlex.join, words))))
    return [*(element("div", line, class_="facts") for line in lines), commands]


def _extremes(report: Report, groups: Sequence[Group]) -> list[str]:
    """Where the gradient keeps its size best, and where it is furthest from that."""
    known = [(abs(group.decay.log10), place) for place, group in enumerate(groups) if group.decay.log10 is not None]
    if len(known) < 2:
        return []
    best, worst = min(known)[1], max(known)[1]
    if best == worst:
        return []
    along = "time step" if groups[best].along_time else "layer"

    def told(place: int) -> str:
        return f"{report.labels[place]} ({power(groups[place].decay.log10)} a {along})"

    return [f"The gradient keeps its size best in {told(best)} and is furthest from that in {told(worst)}."]


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {count_of(more, 'more group')}" if more > 0 else "")


def _measured(line: str) -> Html:
    """A line that begins with what it is about; one that is indented belongs to the line above."""
    about, colon, what = line.partition(": ")
    if line.startswith(" ") or not colon:
        return element("li", line.strip(), class_="rest")
    return element("li", element("b", about), f": {what}")


def _list(items: Sequence[Html]) -> Html:
    return element("ul", *items, class_="lines") if items else Html("")
