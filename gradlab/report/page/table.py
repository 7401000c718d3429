"""The summary table: a row for each group, readable without any script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradlab.analysis.diagnosis import DIAGNOSES
from gradlab.analysis.estimates import GeometricMean, Mean
from gradlab.analysis.figures.report import Report
from gradlab.analysis.group import Group
from gradlab.analysis.summary import Summary
from gradlab.report.numbers import arithmetic, geometric, geometric_interval, number, share
from gradlab.report.page.elements import Html, element, joined
from gradlab.report.page.payload import factors
from gradlab.report.strip import WIDEST, Scale, colour, resample

_BAR, _HEIGHT = 4, 20
"""Width and height of a bar of a row's strip, in pixels."""

_SHORT = 25
"""Rows of a table that stands there whole; a longer one scrolls under its headers."""

_ZERO = "0"
"""What stands in the strip for a gradient of exactly 0."""


@dataclass(frozen=True)
class _Column:
    """A column.

    Attributes:
        header: what it is called.
        cells: one a row.
        keys: what rows are sorted by; empty sorts last.
        words: whether it holds words, not numbers.
        sortable: whether an order by it means something.
    """

    header: str
    cells: Sequence[str]
    keys: Sequence[str]
    words: bool = False
    sortable: bool = True


def summary_table(report: Report, shown: int) -> Html:
    """The table of the first so many groups.

    Every row has its group's number in `data-group`, every cell what it is sorted by in `data-key`.
    """
    groups = [report.summary.group(place) for place in range(shown)]
    columns = [*_factor_columns(report, groups), *_result_columns(report.summary, groups, shown)]
    header = element("tr", *(_header(column, place) for place, column in enumerate(columns)))
    rows = [_row(columns, place) for place in range(shown)]
    note = element(
        "p",
        "One row for each group of trials that differ in their seed alone; means over seeds, with 95 % intervals. "
        "Gradients are those of the untrained network, everything else is from the end of training.",
        id="summary-note",
        class_="note",
    )
    parts = element("thead", header), element("tbody", *rows)
    table = element("table", *parts, id="summary-table", aria_describedby="summary-note")
    long = "scroll long" if shown > _SHORT else "scroll"
    scrolling = element("div", table, class_=long, tabindex=0, role="region", aria_label="Summary table")
    return joined([note, scrolling])


def diagnosis_badge(word: str) -> Html:
    """A diagnosis as a mark with its word: colour only repeats what it says."""
    return element("span", word, class_=f"badge {word}" if word in DIAGNOSES else "badge")


def _header(column: _Column, place: int) -> Html:
    kind = "words" if column.words else None
    if not column.sortable:
        return element("th", column.header, scope="col", class_=kind)
    # Without a script there is nothing to press: the script makes buttons of these.
    return element("th", column.header, scope="col", class_=kind, data_sort=place)


def _row(columns: Sequence[_Column], place: int) -> Html:
    cells = [
        element(
            "td" if column_place else "th",
            column.cells[place],
            scope=None if column_place else "row",
            class_="words" if column.words else None,
            data_key=column.keys[place] or None,
        )
        for column_place, column in enumerate(columns)
    ]
    return element("tr", *cells, data_group=place)


def _factor_columns(report: Report, groups: Sequence[Group]) -> list[_Column]:
    """The settings that name a group."""
    settings = [{key: group.settings.get(key) for key in report.summary.keys} for group in groups]
    columns = []
    for factor in factors(settings):
        cells = [factor["values"][place] for place in factor["of"]]
        columns.append(
            _Column(factor["name"], cells, [str(place) for place in factor["of"]], factor["numbers"] is None)
        )
    return columns


def _result_columns(summary: Summary, groups: Sequence[Group], shown: int) -> list[_Column]:
    drawn = summary.by is None
    strips = _strips(summary, shown) if drawn else []
    counts = [str(group.trials) for group in groups]
    found = [
        _Column("seeds", counts, counts),
        *([_Column("gradient by layer", strips, [""] * shown, words=True, sortable=False)] if drawn else []),
        _logs("gradient, first layer", groups, lambda group: group.first_grad_norm),
        _logs("gradient, last hidden", groups, lambda group: group.last_grad_norm),
        _logs("decay a layer", groups, lambda group: group.decay, interval=True),
        _numbers("decay predicted", [group.predicted_decay for group in groups]),
        _means("dead units", groups, lambda group: group.dead_fraction, share),
        _means("saturated", groups, lambda group: group.saturated_fraction, share),
        _means("train loss", groups, lambda group: group.train_loss),
        _means("eval loss", groups, lambda group: group.eval_loss),
        _means(summary.metric, groups, lambda group: group.metric),
    ]
    words = [group.diagnosis for group in groups]
    badges = [joined([diagnosis_badge(group.diagnosis), _agreeing(group)]) for group in groups]
    told = [column for column in found if not column.sortable or any(column.keys)]
    return [_Column("diagnosis", badges, words, words=True), *told]


def _agreeing(group: Group) -> str:
    """How many trials have the most common diagnosis, where not all do."""
    if len(group.diagnoses) == 1:
        return ""
    return element("small", f"{group.diagnoses[group.diagnosis]} of {group.trials} seeds")


def _logs(
    header: str, groups: Sequence[Group], of: Callable[[Group], GeometricMean], interval: bool = False
) -> _Column:
    cells, keys = [], []
    for mean in map(of, groups):
        low_high = geometric_interval(mean).replace(" .. ", " to ") if interval and mean.log10_low is not None else ""
        cells.append(joined([geometric(mean), element("small", low_high) if low_high else ""]))
        keys.append("" if mean.log10 is None else str(mean.log10).replace("inf", "Infinity"))
    return _Column(header, cells, keys)


def _means(
    header: str, groups: Sequence[Group], of: Callable[[Group], Mean], show: Callable[[Mean], str] = arithmetic
) -> _Column:
    found = [of(group) for group in groups]
    return _Column(header, [show(mean) for mean in found], [_key(mean.value) for mean in found])


def _numbers(header: str, values: Sequence[float | None]) -> _Column:
    return _Column(header, [number(value) for value in values], [_key(value) for value in values])


def _key(value: float | None) -> str:
    return "" if value is None else str(value).replace("inf", "Infinity")


def _strips(summary: Summary, shown: int) -> list[Html]:
    """The gradient of each group as bars, the first layer on the left, all on one scale."""
    profiles = [summary.profiles[place].hidden for place in range(shown)]
    scale = Scale.of([value for profile in profiles for value in profile])
    return [_strip(resample(profile, WIDEST), scale) for profile in profiles]


def _strip(values: Sequence[float | None], scale: Scale) -> Html:
    bars = []
    for place, value in enumerate(values):
        if value is None:
            continue
        left = place * _BAR
        if value == -float("inf"):
            bars.append(element("text", _ZERO, x=left, y=_HEIGHT, class_="zero"))
            continue
        level = scale.level(value)
        height = round((level + 1) / 8 * _HEIGHT, 1)
        bars.append(element("rect", x=left, y=_HEIGHT - height, width=_BAR - 1, height=height, fill=colour(level)))
    width = max(len(values), 1) * _BAR
    box = f"0 0 {width} {_HEIGHT}"
    return element("svg", *bars, aria_hidden="true", viewBox=box, width=width, height=_HEIGHT, class_="strip")
