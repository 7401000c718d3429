"""The page in a real browser: it draws without a complaint, filters and sliders work, and text from data stays text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradlab.report.page.document import page
from gradlab.report.page.prose import Made
from tests.report.page.browser import NAMES, Browser, installed, opened
from tests.report.page.made_up import HOSTILE, hostile_report, report_of, trials

MADE = Made("1.2.3", ["gradlab", "report", "runs"], "now")

pytestmark = pytest.mark.skipif(installed() is None, reason=f"no browser is installed (looked for {', '.join(NAMES)})")


@dataclass(frozen=True)
class Pages:
    """Reports as files."""

    usual: Path
    hostile: Path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    folder = tmp_path_factory.mktemp("pages")
    usual = report_of(folder, trials([2, 10, 30], ["sigmoid", "tanh"]))
    for name, report in (("usual", usual), ("hostile", hostile_report(folder / "other"))):
        (folder / f"{name}.html").write_text(page(report, MADE), encoding="utf-8")
    return Pages(folder / "usual.html", folder / "hostile.html")


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    program = installed()
    assert program is not None
    with opened(program) as browser:
        yield browser


@pytest.fixture
def browser(running: Browser, pages: Pages) -> Iterator[Browser]:
    """The usual page, freshly opened; afterwards nothing may have been complained of."""
    running.open(pages.usual)
    yield running
    assert running.complaints() == []


def count(browser: Browser, selector: str) -> int:
    return int(browser.run(f"document.querySelectorAll({selector!r}).length"))


def words(browser: Browser, selector: str) -> list[str]:
    return list(browser.run(f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent)"))


def rows(browser: Browser) -> list[int]:
    """The groups of the table's rows that are shown, from top to bottom."""
    shown = "[...document.querySelectorAll('tbody tr')].filter((row) => row.offsetHeight > 0)"
    return list(browser.run(f"{shown}.map((row) => Number(row.dataset.group))"))


def lines(browser: Browser) -> list[int]:
    """The groups of the lines of the first chart."""
    found = (
        "[...document.querySelectorAll('#figure-0 .series .line')].map((one) => one.closest('.series').dataset.group)"
    )
    return sorted({int(group) for group in browser.run(found) if group is not None})


def tick(browser: Browser, factor: str, value: str) -> None:
    """Press the box of a factor's value."""
    legend = f"(one) => one.querySelector('legend').textContent === {factor!r}"
    box = f"(one) => one.textContent === {value!r}"
    fieldset = f"[...document.querySelectorAll('fieldset')].find({legend})"
    browser.run(f"[...{fieldset}.querySelectorAll('label')].find({box}).click()")
    browser.settle()


def test_every_figure_is_drawn_and_nothing_is_asked_of_the_network(browser: Browser, pages: Pages) -> None:
    assert count(browser, "figure") == 6
    for place in range(6):
        assert count(browser, f"#figure-{place} svg, #figure-{place} canvas") > 0, place
    assert count(browser, ".missing") == 0
    assert browser.requests() == [pages.usual.resolve().as_uri()]
    assert rows(browser) == lines(browser) == [0, 1, 2, 3, 4, 5]


def test_filters_act_on_table_and_charts(browser: Browser) -> None:
    cells, maps = count(browser, "#figure-3 .cell"), count(browser, "#figure-1 button.sheet")
    tick(browser, "activation", "sigmoid")
    assert rows(browser) == lines(browser) == [1, 3, 5]
    assert (count(browser, "#figure-1 button.sheet"), count(browser, "#figure-4 .sheet")) == (maps // 2, 3)
    assert words(browser, ".bar output") == ["3 of 6 groups"]
    tick(browser, "depth", "30")
    assert rows(browser) == lines(browser) == [1, 3]
    assert count(browser, "#figure-3 .cell") == cells * 2 // 3, "the plane's columns are depths"
    for depth in ("2", "10"):
        tick(browser, "depth", depth)
    assert rows(browser) == lines(browser) == []
    assert "No group passes the filters." in words(browser, "#figure-0 .empty")
    browser.run("[...document.querySelectorAll('.bar button')].find((one) => one.textContent === 'Show all').click()")
    browser.settle()
    assert rows(browser) == lines(browser) == [0, 1, 2, 3, 4, 5]
    assert count(browser, "fieldset input:checked") == count(browser, "fieldset input")


def test_the_slider_goes_through_the_steps(browser: Browser) -> None:
    path = "document.querySelectorAll('#figure-0 .line')[2].getAttribute('d')"
    before = browser.run(path)
    assert words(browser, "#figure-0 output") == ["step 0"]
    browser.run("document.querySelector('#figure-0 input[type=range]').focus()")
    browser.press("End", 35)
    browser.settle()
    assert words(browser, "#figure-0 output") == ["step 50"]
    assert browser.run("document.querySelector('#figure-0 input').getAttribute('aria-valuetext')") == "step 50"
    assert browser.run(path) != before
    browser.press("Home", 36)
    browser.settle()
    assert browser.run(path) == before


def test_a_press_on_a_header_sorts(browser: Browser) -> None:
    header = "[...document.querySelectorAll('thead th')].find((one) => one.textContent === 'decay a layer')"
    press = f"{header}.querySelector('button').click()"
    keys = f"[...document.querySelectorAll('tbody tr')].map((row) => Number(row.cells[{header}.cellIndex].dataset.key))"
    sorted_by = "document.querySelector('th[aria-sort]').getAttribute('aria-sort')"
    browser.run(press)
    rising = browser.run(keys)
    assert rising == sorted(rising)
    assert len(set(rising)) > 1
    assert browser.run(sorted_by) == "ascending"
    browser.run(press)
    assert browser.run(keys) == sorted(rising, reverse=True)
    assert browser.run(sorted_by) == "descending"
    assert count(browser, "th[aria-sort]") == 1


def test_a_chosen_row_stands_out_everywhere(browser: Browser) -> None:
    browser.run("document.querySelector('tr[data-group=\"4\"] td').click()")
    browser.settle()
    label = "depth=30 activation=sigmoid"
    assert browser.run("[...document.querySelectorAll('tr.chosen')].map((row) => row.dataset.group)") == ["4"]
    chosen = "[...document.querySelectorAll('#figure-0 .series.chosen')].every((one) => one.dataset.group === '4')"
    assert browser.run(chosen) is True
    assert words(browser, "#figure-1 .drawing > h3") == [label]
    assert words(browser, "#figure-1 [aria-pressed=true] h3") == [label]
    browser.run("document.querySelector('.bar .pull').click()")
    assert count(browser, ".chosen") == 0


def test_arrow_keys_walk_through_a_chart(browser: Browser) -> None:
    browser.run("document.querySelector('#figure-0 [tabindex]').focus()")
    browser.press("ArrowRight", 39)
    (first,) = words(browser, "[aria-live=polite].quiet")
    # Layer 1 of the first group has no gradient.
    assert first.startswith("depth=2 activation=sigmoid, layer 2, step 0: ")
    browser.press("ArrowDown", 40)
    (second,) = words(browser, "[aria-live=polite].quiet")
    assert second.startswith("depth=2 activation=tanh, layer 2, step 0: ")
    assert browser.run("document.querySelector('.tooltip').hidden") is False
    browser.press("Escape", 27)
    assert browser.run("document.querySelector('.tooltip').hidden") is True


def test_the_pointer_is_told_what_it_points_at(browser: Browser) -> None:
    stack = "document.querySelector('#figure-1 .stack')"
    browser.run(f"{stack}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    left, top = browser.run(f"(({{left, top}}) => [left, top])({stack}.getBoundingClientRect())")
    browser.move(left + 60, top + 30)
    browser.settle()
    # Top left: the last layer of the deepest group before training.
    assert words(browser, ".tooltip b") == ["layer 31, step 0"]


def test_the_map_shows_its_numbers(browser: Browser) -> None:
    """The colours of a map rise with its values, which here grow with layer and step."""
    image = "document.querySelector('#figure-1 .stack canvas').getContext('2d').getImageData(0, 0, 6, 31)"
    pixels = browser.run(f"[...{image}.data]")
    corner = {(x, y): pixels[4 * (6 * y + x) :][:4] for x in (0, 5) for y in (0, 30)}
    assert sum(corner[0, 30]) < sum(corner[5, 30]) < sum(corner[5, 0])
    assert sum(corner[0, 30]) < sum(corner[0, 0])
    size = "(({width, height}) => [width, height])(document.querySelector('#figure-1 .stack canvas'))"
    assert browser.run(size) == [6, 31]


def test_strings_of_the_data_stay_text(running: Browser, pages: Pages) -> None:
    running.open(pages.hostile)
    for box in ("tbody tr", "#figure-1 button.sheet", "#figure-0 .legend button"):
        running.run(f"document.querySelectorAll({box!r}).forEach((one) => one.click())")
    running.settle()
    assert running.complaints() == []
    assert running.requests() == [pages.hostile.resolve().as_uri()]
    assert count(running, "img, iframe, link") == 0
    assert count(running, "script") == 2
    assert (
        running.run("[...document.querySelectorAll('*')].filter((one) => one.onerror || one.onmouseover).length") == 0
    )
    told = running.run("document.body.innerText")
    for text in HOSTILE:
        assert text in told, text


def test_a_phone_scrolls_down_only(running: Browser, pages: Pages) -> None:
    running.open(pages.usual, width=375, height=700)
    assert running.run("document.documentElement.scrollWidth") == 375
    own = "[...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll, pre'))"
    assert (
        running.run(f"{own}.filter((one) => one.getBoundingClientRect().right > 376).map((one) => one.tagName)") == []
    )
    assert running.complaints() == []


def test_labels_of_an_axis_do_not_overlap(running: Browser, pages: Pages) -> None:
    overlapping = """[...document.querySelectorAll('svg.chart')].flatMap((chart) => {
        const boxes = [...chart.querySelectorAll('text')].map((one) => [one.textContent, one.getBoundingClientRect()]);
        return boxes.flatMap(([text, a], i) => boxes.slice(i + 1)
            .filter(([, b]) => a.left < b.right - 1 && b.left < a.right - 1)
            .filter(([, b]) => a.top < b.bottom - 3 && b.top < a.bottom - 3)
            .map(([other]) => [text, other]));
    })"""
    for width in (375, 800, 1400):
        running.open(pages.usual, width=width)
        assert running.run(overlapping) == [], width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(running: Browser, pages: Pages, scheme: str) -> None:
    """WCAG's contrast of 4.5 for text."""
    running.open(pages.usual, scheme=scheme)
    contrast = """(() => {
        const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const light = (c) => { const [r, g, b] = c.match(/[0-9.]+/g).map((v) => linear(v / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const back = (one) => { for (let at = one; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor; if (!/, 0\\)$/.test(colour)) return colour; } };
        const names = 'h1, h2, h3, p, a, td, th, .badge, label, button, output, small, dd, li';
        const told = [...document.querySelectorAll(names)];
        return told.filter((one) => one.innerText && one.offsetHeight).map((one) => {
            const [a, b] = [light(getComputedStyle(one).color), light(back(one))].sort((x, y) => y - x);
            return [(a + 0.05) / (b + 0.05), one.innerText.slice(0, 20)]; }).sort((a, b) => a[0] - b[0])[0];
    })()"""
    least, text = running.run(contrast)
    assert least >= 4.5, text


def test_paper(running: Browser, pages: Pages) -> None:
    running.open(pages.usual)
    assert running.printed().startswith(b"%PDF")
    assert running.complaints() == []


def test_without_a_script_words_and_table_are_there(running: Browser, pages: Pages) -> None:
    running.open(pages.usual, script=False)
    try:
        picture = running.picture()
        assert picture.startswith(b"\x89PNG")
        tree = running.call("Accessibility.getFullAXTree")["nodes"]
    finally:
        running.call("Emulation.setScriptExecutionDisabled", value=False)
    names = [node.get("name", {}).get("value", "") for node in tree if not node.get("ignored")]
    assert "What gradient shows in one sentence." in names
    assert "vanishing" in names
