"""What a part of the benchmark is asked for, and what it answers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Wanted:
    """How to measure.

    Attributes:
        quick: few cases and rounds: a look, not a result.
        rounds: instead of the part's own number, if given.
        device: cpu or cuda, where a part can use it.
        jax_python: the interpreter that has jax.
        told: is called with what is being measured.
    """

    quick: bool
    rounds: int | None
    device: str
    jax_python: Path
    told: Callable[[str], None]

    def count(self, rounds: int, quick: int = 1) -> int:
        """How many rounds to take where a part has `rounds` of its own."""
        return self.rounds or (quick if self.quick else rounds)


@dataclass(frozen=True)
class Report:
    """One table.

    Attributes:
        note: what it shows, in sentences.
        measured: everything that was measured, for `--json`.
    """

    title: str
    note: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    measured: Sequence[Any]


def micro(seconds: float) -> str:
    """Microseconds."""
    return f"{1e6 * seconds:.0f}" if seconds >= 1e-5 else f"{1e6 * seconds:.1f}"


def times(ratio: float) -> str:
    """How many times."""
    return f"{ratio:.1f}x" if ratio >= 2 else f"{ratio:.2f}x"


def spread(ratios: Sequence[float]) -> list[str]:
    """Median, lowest, highest, as three cells."""
    return [times(statistics.median(ratios)), times(min(ratios)), times(max(ratios))]
