"""Text that Markdown shows as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradlab.printable import printable

LONGEST = 500
"""Characters of a cell or sentence."""

_ESCAPES = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>|!~$&"})
_LINKS = re.compile(r"(?i)(?<=www)\.|:(?=//)")
_MENTIONS = re.compile(r"[@#]")
_INVISIBLE = "\u2060"
"""The word joiner."""

_PLAIN = re.compile(r"[a-zA-Z0-9](?:[\w .,+()=%-]*[a-zA-Z0-9)])?")
"""Words and numbers that no Markdown reader takes for markup."""


def escaped(text: str) -> str:
    """A line of text that Markdown shows as it is: no markup, no HTML, no links, nobody mentioned, no issue linked."""
    shown = printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}...").translate(_ESCAPES)
    return _MENTIONS.sub(rf"\\\g<0>{_INVISIBLE}", _LINKS.sub(r"\\\g<0>", shown))


def markdown_row(row: Sequence[str]) -> str:
    """A row of a table, its cells as they are."""
    return f"| {' | '.join(row)} |"


def markdown_cell(text: str) -> str:
    """A cell; what can't be mistaken for markup stays as it is."""
    return text if _PLAIN.fullmatch(text) and len(text) <= LONGEST else escaped(text)
