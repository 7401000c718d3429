"""Generated parts of Markdown pages: what stands between `<!-- generated: NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Generator = Callable[[], str]

_BLOCK = re.compile(r"(?P<start><!-- generated: (?P<name>[\w. -]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def filled(page: str, generators: Mapping[str, Generator]) -> str:
    """The page with all its generated parts as they should be now.

    Raises:
        KeyError: a part that no generator makes.
    """
    return _BLOCK.sub(lambda block: f"{block['start']}\n{generators[block['name']]()}\n\n{block['end']}", page)


def names(page: str) -> list[str]:
    """The names of a page's generated parts, in order."""
    return [block["name"] for block in _BLOCK.finditer(page)]


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; bars in cells are escaped."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
