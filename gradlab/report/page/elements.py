"""HTML in which text from data stays text."""

from __future__ import annotations

import html
from collections.abc import Iterable

from gradlab.printable import printable

Attribute = str | int | float | bool | None

_VOID = {"br", "img", "input", "meta"}


class Html(str):
    """Text that is HTML already; every other string is escaped where it becomes a part of an element."""

    __slots__ = ()


def text(content: str) -> Html:
    """A string as HTML that shows just this, without characters that steer or turn the writing."""
    return content if isinstance(content, Html) else Html(html.escape(printable(content)))


def element(name: str, *children: str, **attributes: Attribute) -> Html:
    """An element.

    Args:
        name: of the element.
        children: its content, each escaped unless it is `Html`.
        attributes: `class_` is class, `aria_sort` aria-sort; True stands alone, and None and False are left out.
    """
    given = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    start = f"<{name}{given}>"
    return Html(start if name in _VOID else f"{start}{joined(children)}</{name}>")


def joined(parts: Iterable[str], between: str = "") -> Html:
    """Parts one after the other."""
    return Html(text(between).join(map(text, parts)))


def _attribute(key: str, value: Attribute) -> str:
    if value is False:
        return ""
    name = key.strip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(printable(str(value)))}"'
