"""`--shard I/N`: which parts of a sweep are whose, told by the plan alone, so that nobody has to be asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradlab.errors import UsageError

if TYPE_CHECKING:
    from gradlab.engine.stacks import Part

MOST = 100_000
"""Shards of a sweep, at most: more than it can have parts."""

_FORM = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """One of `count` shares of a sweep, counted from 0."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`0/3`: the first of three.

        Raises:
            UsageError: something else, or a shard that there is not.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise UsageError(f"--shard {text}: write I/N with N shards counted from 0: 0/3, 1/3 and 2/3")
        index, count = int(found[1]), int(found[2])
        if not 1 <= count <= MOST:
            raise UsageError(f"--shard {text}: a sweep has 1 to {MOST:,} shards")
        if index >= count:
            raise UsageError(f"--shard {text}: shards are counted from 0, the last of {count} is {count - 1}/{count}")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def dealt(parts: Sequence[Part], count: int) -> list[list[Part]]:
    """The parts of a plan in `count` shares of about equal cost: each part goes to who has least so far.

    Args:
        parts: the most expensive first, which leaves the small ones to even out the shares.
    """
    shares: list[list[Part]] = [[] for _ in range(count)]
    costs = [0.0] * count
    for part in parts:
        least = min(range(count), key=lambda index: (costs[index], len(shares[index]), index))
        shares[least].append(part)
        costs[least] += part.cost
    return shares
