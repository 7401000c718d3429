"""A config as plain values with places: what the checks read and the overrides change."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from gradlab.errors import Problem

Loc = tuple[str | int, ...]
"""Keys and list indices from the top of the document to a value."""

Hint = Callable[[], str]
"""The end of a message, worked out only where it is shown: to find what a key was meant to be takes a while."""

HINTS = 20
"""Problems that get their hints, the first of them all: whoever has more has another trouble than spelling."""


@dataclass(frozen=True, order=True)
class Place:
    """Where something stands; places sort by file position, then come the overrides in their order.

    Attributes:
        rank: 0 in the file, n in the n-th override.
        line, column: counted from 1; 0 in an override.
        text: how messages name the place.
    """

    rank: int
    line: int
    column: int
    text: str


@dataclass(frozen=True)
class Unreadable:
    """Stands for a value about which a problem has been reported already."""


@dataclass
class Document:
    """A config as plain values, with the place of each key and value and the problems found so far."""

    root: Any
    keys: dict[Loc, Place] = field(default_factory=dict)
    values: dict[Loc, Place] = field(default_factory=dict)
    problems: list[tuple[Place, str, Hint | None]] = field(default_factory=list)
    settled: frozenset[Place] = frozenset()

    def report(self, place: Place, message: str, hint: Hint | None = None) -> None:
        """Add a problem, unless what stands there could not be read in the first place."""
        if place not in self.settled:
            self.problems.append((place, message, hint))

    def settle(self) -> None:
        """End the reading: what follows from a value that could not be read is not reported again."""
        self.settled = frozenset(place for place, _, _ in self.problems)

    def at_value(self, loc: Loc) -> Place:
        """The place of the value at `loc`, or of the nearest value around it that the document has."""
        while loc and loc not in self.values:
            loc = loc[:-1]
        return self.values[loc]

    def at_key(self, loc: Loc) -> Place:
        """The place of the key at `loc`; where there is none, that of the value."""
        return self.keys.get(loc) or self.at_value(loc)

    def get(self, *loc: str | int) -> Any:
        """The value at `loc`; None where there is none."""
        value = self.root
        for step in loc:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def remove(self, locs: Collection[Loc]) -> None:
        """Take out keys and list items, none of them inside another; later items move up."""
        gone, items = set(locs), defaultdict[Loc, list[int]](list)
        for loc in gone:
            if isinstance(loc[-1], int):
                items[loc[:-1]].append(loc[-1])
            else:
                del self.get(*loc[:-1])[loc[-1]]
        # The innermost lists first: their own places are still the old ones.
        for parents in sorted(items, key=len, reverse=True):
            items[parents].sort()
            for index in reversed(items[parents]):
                del self.get(*parents)[index]
        for places in (self.keys, self.values):
            kept = [(moved, place) for loc, place in places.items() if (moved := _moved(loc, gone, items)) is not None]
            places.clear()
            places.update(kept)

    def sorted_problems(self) -> list[Problem]:
        """Every problem once, by place."""
        hints = {(place, message): hint for place, message, hint in reversed(self.problems)}
        found: dict[Problem, None] = {}
        for place, message in sorted(hints):
            hint = hints[place, message]
            told = message + hint() if hint is not None and len(found) < HINTS else message
            found.setdefault(Problem(place.text, told))
        return list(found)


def _moved(loc: Loc, gone: Set[Loc], items: Mapping[Loc, Sequence[int]]) -> Loc | None:
    """Where something stands once the locations `gone`, among them `items` of lists, are taken out; None if it goes."""
    steps = list(loc)
    for depth, step in enumerate(loc):
        if loc[: depth + 1] in gone:
            return None
        if isinstance(step, int) and loc[:depth] in items:
            steps[depth] = step - bisect_left(items[loc[:depth]], step)
    return tuple(steps)


def shorten(text: str, limit: int = 60) -> str:
    """`text` on one line, its end left out where it is long."""
    plain = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."


def dotted(loc: Loc) -> str:
    """A location as messages write it: `sweep.zip[0].model.depth`."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{shorten(step)}"
    return text.removeprefix(".")
