"""Where an activation's derivative is 0, or small: regions of the real line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Region:
    """A set of real numbers.

    Attributes:
        mark: (z, out): writes 1 where z is in it and 0 elsewhere, as floating-point numbers: torch compares into these
            several times as fast as into flags, and adds them up as fast again.
        compares: whether `mark` only compares; otherwise the last elements of a buffer may be rounded differently.
    """

    mark: Callable[[Tensor, Tensor], object]
    compares: bool = True

    def __call__(self, z: Tensor) -> Tensor:
        """Where z is in it, as flags."""
        out = torch.empty_like(z)
        self.mark(z, out)
        return out > 0


def at_most(edge: float) -> Region:
    """z <= edge."""
    return Region(lambda z, out: torch.le(z, edge, out=out))


def below(edge: float) -> Region:
    """z < edge."""
    return Region(lambda z, out: torch.lt(z, edge, out=out))


def above(edge: float) -> Region:
    """z > edge."""
    return Region(lambda z, out: torch.gt(z, edge, out=out))


def beyond(edge: float) -> Region:
    """|z| > edge."""
    return Region(lambda z, out: torch.abs(z, out=out).gt_(edge))


def outside(low: float, high: float) -> Region:
    """z <= low or z >= high."""
    return Region(lambda z, out: torch.le(z, low, out=out).add_(torch.ge(z, high, out=torch.empty_like(z))))


def below_or_between(edge: float, low: float, high: float) -> Region:
    """z < edge or low < z < high, where edge < low < high."""

    def mark(z: Tensor, out: Tensor) -> None:
        other = torch.le(z, low, out=torch.empty_like(z))
        torch.lt(z, high, out=out).sub_(other).add_(torch.lt(z, edge, out=other))

    return Region(mark)


def where(holds: Callable[[Tensor], Tensor]) -> Region:
    """Where a function of z says so, by flags."""
    return Region(lambda z, out: out.copy_(holds(z)), compares=False)
