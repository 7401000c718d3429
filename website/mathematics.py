"""A hook of mkdocs: formulas become MathML when the site is built, so that no script has to be loaded to read them."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

_FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)


def on_page_content(html: str, **_: object) -> str:
    """Convert what the extension arithmatex marks."""
    return _FORMULA.sub(_converted, html)


def _converted(found: re.Match[str]) -> str:
    latex = html.unescape(found["latex"]).strip()
    block = found["tag"] == "div"
    formula = convert(latex, display="block" if block else "inline")
    if "\\" in formula:
        raise PluginError(f"a formula is not understood: {latex}")
    return f'<div class="formula">{formula}</div>' if block else formula
