"""Text stays text, whatever it holds."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.printable import printable
from gradlab.report.page.elements import Html, element, joined, text


class Reader(HTMLParser):
    """What a parser of HTML finds."""

    def __init__(self):
        super().__init__()
        self.tags, self.words = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.words += data


def read(markup):
    reader = Reader()
    reader.feed(f"{markup}")
    reader.close()
    return reader


# A carriage return becomes a line feed wherever HTML is read; it is a control character, which `printable` shows.
@given(st.text(), st.text())
def test_any_text_comes_back_as_text_and_as_an_attribute(content, attribute):
    found = read(element("p", content, title=attribute))
    assert found.words == printable(content)
    assert found.tags == [("p", [("title", printable(attribute))])]


def test_html_is_not_escaped_twice_and_joins():
    inner = element("b", "a < b")
    assert element("p", inner, " & ", inner) == "<p><b>a &lt; b</b> &amp; <b>a &lt; b</b></p>"
    assert joined(["<", Html("<br>")], " > ") == "&lt; &gt; <br>"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\u202e", "\u2066"])
def test_what_steers_or_turns_the_writing_is_shown(character):
    assert text(f"a{character}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_attributes():
    assert element("input", type="checkbox", checked=True, disabled=False, id=None) == '<input type="checkbox" checked>'
    assert (
        element("td", class_="a", aria_sort="none", data_group=3)
        == '<td class="a" aria-sort="none" data-group="3"></td>'
    )
