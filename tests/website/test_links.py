"""Links between the pages lead somewhere, on a code host as on the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.website.fences import PAGES, ROOT
from website.elsewhere import PAGES as ELSEWHERE

LINK = re.compile(r"\]\((?P<target>[^)#:\s]*)(?:#(?P<anchor>[\w-]+))?\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """The anchors that a code host and the site make of a page's headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted({*PAGES, *ELSEWHERE}))
def test_links_lead_somewhere(page: str) -> None:
    here = ROOT / page
    for link in LINK.finditer(FENCE.sub("", here.read_text(encoding="utf-8"))):
        target = here.parent / link["target"] if link["target"] else here
        assert target.exists(), link[0]
        assert not link["anchor"] or link["anchor"] in anchors_of(target), link[0]


def test_every_page_is_reached_from_the_readme() -> None:
    found, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        found.add(page)
        links = LINK.finditer(page.read_text(encoding="utf-8"))
        targets = {(page.parent / link["target"]).resolve() for link in links if link["target"].endswith(".md")}
        waiting += [target for target in targets - found - set(waiting) if target.is_file()]
    assert {ROOT / page for page in PAGES} <= found
