"""A report as one HTML file: words and table made here, charts drawn by the scripts that it carries."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from string import Template

import numpy as np

from gradlab.analysis.figures.figure import Figure
from gradlab.analysis.figures.report import Report
from gradlab.report.numbers import count_of
from gradlab.report.page import prose
from gradlab.report.page.elements import Html, element, joined
from gradlab.report.page.payload import MOST_GROUPS, payload, script_text
from gradlab.report.page.table import summary_table

SCRIPTS = (
    "dom",
    "data",
    "colours",
    "scales",
    "axes",
    "tooltip",
    "selection",
    "filters",
    "table",
    "panels",
    "lines",
    "maps",
    "planes",
    "quantiles",
    "regions",
    "main",
)
"""The scripts in their order: one after the other, in one function, they are the page's script."""


@np.errstate(over="ignore", invalid="ignore")  # a sum beyond float64 is shown as what it is: infinite, or unknown
def page(report: Report, made: prose.Made) -> str:
    """The whole file as text.

    Nothing in it is loaded from elsewhere, and its policy lets a browser run and show nothing but what stands here: its
    style and its script by their digests.

    Args:
        report: what to show; of very many groups the first 500.
        made: how and when.
    """
    shown = min(report.summary.grouping.size, MOST_GROUPS)
    style = "\n" + _asset("page.css")
    script = _script()
    body = _body(report, made, shown)
    return Template(_asset("page.html")).substitute(
        policy=_policy(style, script),
        version=element("span", made.version)[6:-7],
        title=element("title", f"gradlab report: {prose.heading(report)}"),
        style=style,
        body=body,
        data=script_text(payload(report)),
        script=script,
    )


def _body(report: Report, made: prose.Made, shown: int) -> Html:
    sections = [
        _section("overview", "", prose.at_a_glance(report, shown)),
        element("div", id="filters"),
        _section("summary", "Summary", joined([summary_table(report, shown), prose.glossary(report, shown)])),
        _section("advice", "What to try", prose.advice(report, shown)),
        _section("effects", "What made the difference", prose.differences(report)),
        *(_figure(figure, place) for place, figure in enumerate(report.figures)),
        _section("skipped", "What could not be read", prose.skipped(report)),
        _section("sources", "Where this comes from", prose.sources(report, made)),
    ]
    told = [section for section in sections if section]
    header = element(
        "header",
        element("p", "gradlab report", class_="brand"),
        element("h1", prose.heading(report)),
        _contents(report),
    )
    return joined([header, element("main", *told)])


def _contents(report: Report) -> Html:
    """Links to the figures."""
    links = [element("a", "Summary", href="#summary")]
    links += [element("a", figure.title, href=f"#figure-{place}") for place, figure in enumerate(report.figures)]
    links.append(element("a", "Sources", href="#sources"))
    return element("nav", *links, aria_label="Contents")


def _section(name: str, title: str, content: Html) -> Html:
    if not content:
        return Html("")
    heading = element("h2", title, id=f"{name}-title") if title else Html("")
    return element("section", heading, content, id=name, aria_labelledby=f"{name}-title" if title else None)


def _figure(figure: Figure, place: int) -> Html:
    """A figure's words, and the place where the script draws it."""
    caption = element("figcaption", element("h2", figure.title), element("p", figure.sentence))
    missing = element("p", "The chart is drawn by this page's script. In words: ", figure.alt, class_="missing")
    drawing = element("div", missing, class_="drawing", data_figure=place)
    return element("figure", caption, drawing, id=f"figure-{place}")


def _script() -> str:
    parts = "\n".join(_asset(f"js/{name}.js") for name in SCRIPTS)
    return f'\n(() => {{\n"use strict";\n{parts}\n}})();\n'


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: this style and this script, and no other source of anything."""
    return (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def describe(report: Report) -> str:
    """What a report holds, for a note."""
    return f"{count_of(len(report.labels), 'group')}, {count_of(len(report.figures), 'figure')}"
