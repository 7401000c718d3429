"""The outcome of a check as Markdown: read by a Markdown parser, it is the text that was put in, and no more."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gradlab.analysis.gate.change import SAME
from gradlab.report.gate.cells import cells, printable
from gradlab.report.gate.markdown import outcome_markdown
from gradlab.report.markup import LONGEST, escaped
from tests.report.outcomes import EVIL, everything, measurement, network, outcome, passing, regressed

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

EXPECTED = {"h2", "h3", "p", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "code"}


def texts(markdown, inside=None):
    """The text of each inline piece, and the tags of everything."""
    tokens = MARKDOWN.parse(markdown)
    found, tags = [], set()
    for before, token in zip([None, *tokens], tokens, strict=False):
        tags.add(token.tag)
        if token.type == "inline":
            tags |= {child.tag for child in token.children}
            assert all(child.type != "html_inline" for child in token.children)
            if inside in (None, before.tag):
                found.append("".join(child.content for child in token.children))
    return found, tags - {""}


def visible(text):
    return text.replace("\u2060", "")


@given(st.text(max_size=60) | st.text(alphabet="\\`*_{}[]<>|!~$&#@:/.w-+= a1(\n", max_size=40))
def test_any_text_is_shown_as_it_is(text):
    line = printable(text)
    found, tags = texts(f"- x {escaped(line)}")
    assert tags <= {"ul", "li", "p"}
    assert visible("".join(found)) == f"x {line}".rstrip()
    found, tags = texts(f"| head | more |\n| --- | --- |\n| x{escaped(line)} | y |", "td")
    assert tags <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert [visible(one) for one in found] == [f"x{line}", "y"]


@pytest.mark.parametrize("text", ["https://a.example", "www.a.example", "WWW.a.example", "HTTPS://A.EXAMPLE"])
def test_nothing_becomes_a_link(text):
    shown = escaped(f"see {text}")
    assert not re.search(r"\w://|www\.", shown, re.IGNORECASE)
    assert visible(texts(shown)[0][0]) == f"see {text}"


def test_nobody_is_mentioned_and_no_issue_linked():
    assert not re.search(r"[@#]\w", "".join(texts(escaped("@team #12 a@b.example"))[0]))


def test_every_offender_has_its_row():
    made = everything()
    offenders = [change for change in made.judged.changes if change.verdict != SAME]
    found, _ = texts(outcome_markdown(made), "td")
    wanted = [visible(cell) for change in offenders for cell in cells(change).values()]
    assert [visible(cell) for cell in found] == wanted


def test_verdict_sentences_and_notes_are_there():
    made = everything(failures=["seed=2: ValueError: no"])
    found = {visible(text) for text in texts(outcome_markdown(made))[0]}
    assert {made.headline, "failed: seed=2: ValueError: no", *made.story} <= found
    assert {sentence for told in made.story.values() for sentence in told} <= found
    assert {f"note: {note}" for note in made.notes} <= found


def test_a_pass_is_a_heading_and_a_sentence():
    found, tags = texts(outcome_markdown(passing()))
    assert found == ["Gradient statistics", passing().headline]
    assert tags == {"h2", "p", "strong"}


def test_a_config_that_sweeps_nothing_has_no_network_column_and_no_heading_for_it():
    found, tags = texts(outcome_markdown(regressed()))
    assert "network" not in found
    assert "h3" not in tags


def test_whatever_the_names_are_no_markup_gets_in():
    _, tags = texts(outcome_markdown(everything(EVIL, [EVIL] * 3)))
    assert tags <= EXPECTED


def test_large_outcomes_stay_below_what_github_takes():
    old = [network({"model.depth": depth, "model.kwargs.name": EVIL * 50}, ["layer" * 20] * 4) for depth in range(60)]
    now = network({"model.depth": 1000})
    markdown = outcome_markdown(outcome(measurement(*old), measurement(now), [EVIL * 50] * 200))
    assert len(markdown.encode()) < 65_536
    for what in ("failed trial", "network", "change"):
        assert re.search(rf"and \d+ more {what}s \(`--json` has all\)", markdown), what
    assert texts(markdown)[1] <= EXPECTED


def test_long_lines_are_cut_and_say_so():
    assert escaped("a" * (LONGEST + 1)) == "a" * LONGEST + "..."
