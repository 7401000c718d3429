"""Every generated part of the documentation, by its name."""

from __future__ import annotations

import re
from pathlib import Path

from website import columns, command_line, config_fields
from website.blocks import Generator, filled

DOCS = Path(__file__).parents[1] / "docs"


def defined_statistics() -> frozenset[str]:
    """What `docs/statistics.md` has a heading for."""
    page = (DOCS / "statistics.md").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^#+ `(\w+)`$", page, re.MULTILINE))


def all_generators() -> dict[str, Generator]:
    """Name of a generated part -> what makes it."""
    return config_fields.generators() | command_line.generators() | columns.generators(defined_statistics())


def up_to_date(page: str) -> str:
    """A page with all its generated parts as they should be now."""
    return filled(page, all_generators())
