"""The page on what can be trusted names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_promise_has_its_tests() -> None:
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (`tests/.*`) \|$", page, re.MULTILINE)
    assert len(rows) >= 11
    for row in rows:
        folder = ROOT
        for name in re.findall(r"`([^`]+)`", row):
            path = ROOT / name if "/" in name else folder / name
            assert path.exists(), name
            folder = path.parent
