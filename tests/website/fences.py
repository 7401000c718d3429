"""The fenced blocks of the documentation, with what a comment above a block says about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = ("README.md", *sorted(f"docs/{path.relative_to(ROOT / 'docs')}" for path in (ROOT / "docs").rglob("*.md")))
"""The pages whose blocks are tried, as paths in the repository."""

_COMMENT = re.compile(r"<!-- (?P<name>[a-z]+): (?P<value>.*?) -->")


@dataclass(frozen=True)
class Fence:
    """A fenced block.

    Attributes:
        place: `page:line` of its first line.
        notes: what comments on the lines right above it say, by name:
            `parsed`, why it isn't run; `script`, whose script it is, of which gradlab's lines are looked over;
            `free`, why it isn't the output of the commands above;
            `file`, the file that it is written to; `edit`, the file that a diff changes;
            `exit`, the exit code of its last command; `quick`, what is added to its commands so that they are quicker.
    """

    place: str
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)


def fences_of(page: str) -> list[Fence]:
    """Every fenced block of a page, in order."""
    found: list[Fence] = []
    notes: dict[str, str] = {}
    lines = iter(enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if comment := _COMMENT.fullmatch(line):
            notes[comment["name"]] = comment["value"]
        elif line.startswith("```"):
            block = []
            for _, inside in lines:
                if inside == "```":
                    break
                block.append(inside)
            found.append(Fence(f"{page}:{number}", line.removeprefix("```"), "\n".join(block) + "\n", notes))
            notes = {}
        else:
            notes = {}
    return found
