"""Gradients beyond the range of float64: a tensor near 1 and the power of two that it stands for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

_LOST = 2200
"""Powers of two between two signals from which on the smaller one is nothing beside the larger: float64's range."""


@dataclass(frozen=True)
class Signal:
    """A gradient that is not 0 everywhere, `tensor` * 2^`exponent`."""

    tensor: Tensor
    exponent: int = 0

    @classmethod
    def of(cls, tensor: Tensor, exponent: int = 0) -> Signal | None:
        """`tensor` * 2^`exponent` with its largest entry brought near 1; None if all of it is 0."""
        largest = torch.linalg.vector_norm(tensor, ord=math.inf).item()
        if largest == 0:
            return None
        if not math.isfinite(largest):
            return cls(tensor, exponent)
        shift = math.frexp(largest)[1]
        return cls(_times_power_of_two(tensor, -shift), exponent + shift)

    def at(self, exponent: int) -> Tensor:
        """The signal over 2^`exponent`."""
        shift = self.exponent - exponent
        return _times_power_of_two(self.tensor, shift) if shift > -_LOST else torch.zeros_like(self.tensor)

    def norm(self) -> tuple[float, float]:
        """The Euclidean norm, as far as float64 reaches, and its logarithm to base 10, which goes on."""
        norm = torch.linalg.vector_norm(self.tensor).item()
        log10 = math.log10(norm) + self.exponent * math.log10(2)
        try:
            return math.ldexp(norm, self.exponent), log10
        except OverflowError:
            return math.inf, log10


def total(signals: Iterable[Signal | None]) -> Signal | None:
    """The sum of signals of one shape; None stands for 0."""
    present = [signal for signal in signals if signal is not None]
    if len(present) < 2:
        return present[0] if present else None
    exponent = common_exponent(present)
    return Signal.of(torch.stack([signal.at(exponent) for signal in present]).sum(0), exponent)


def common_exponent(signals: Iterable[Signal]) -> int:
    """The exponent at which the largest of these signals is near 1."""
    return max(signal.exponent for signal in signals)


def norm_of(signal: Signal | None) -> tuple[float, float]:
    """`Signal.norm`; 0 and minus infinity for None."""
    return (0.0, -math.inf) if signal is None else signal.norm()


def _times_power_of_two(tensor: Tensor, exponent: int) -> Tensor:
    """In two steps, since the power itself can be out of range where the product isn't."""
    half = exponent // 2
    return tensor * math.ldexp(1.0, half) * math.ldexp(1.0, exponent - half)
