"""A network's gradient as a strip of bars: one bar a layer, height and colour by magnitude."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.:-=+*#"
"""For a terminal without Unicode."""

ZERO, NO_NUMBER, UNKNOWN = "x", "?", " "

WIDEST = 24
"""Characters of a strip at most; deeper networks are resampled."""

SMALLEST_SPAN, LARGEST_SPAN = 3.0, 16.0
"""Decades that the scale covers at least, so that noise looks flat, and at most, so that one deep network does not
flatten all others."""

_DARK, _LIGHT = (52, 84, 172), (240, 168, 0)
"""Ends of the colour scale, blue to amber: told apart with any colour vision, and by their lightness alone."""


@dataclass(frozen=True)
class Scale:
    """The scale of all strips of a table.

    Attributes:
        low: log10 of the magnitude of the lowest bar; what is below is drawn as that bar.
        high: log10 of the highest.
        cut: whether something is below `low`.
    """

    low: float
    high: float
    cut: bool = False

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Scale:
        """A scale for these log10 magnitudes."""
        finite = [value for value in values if value is not None and math.isfinite(value)]
        if not finite:
            return cls(-SMALLEST_SPAN, 0.0)
        low, high = min(finite), max(finite)
        return cls(max(min(low, high - SMALLEST_SPAN), high - LARGEST_SPAN), high, low < high - LARGEST_SPAN)

    def level(self, value: float) -> int:
        """The bar for a log10 magnitude, 0 to 7."""
        if value >= self.high:
            return len(BARS) - 1
        share = (value - self.low) / (self.high - self.low)
        return max(0, round(share * (len(BARS) - 1)))


def strip(values: Sequence[float | None], scale: Scale, width: int = WIDEST, ascii_only: bool = False) -> Text:
    """Bars from layer 1 on the left to the last on the right; `x` where the gradient is exactly 0.

    Args:
        values: log10 magnitude of each layer; -inf is 0, NaN no number, None is unknown.
        scale: of the whole table.
        width: characters at most; more layers are averaged in equal pieces.
        ascii_only: without Unicode.
    """
    bars = ASCII_BARS if ascii_only else BARS
    text = Text(no_wrap=True)
    for value in resample(values, width):
        if value is None:
            text.append(UNKNOWN)
        elif math.isnan(value):
            text.append(NO_NUMBER, style="bold red")
        elif value == -math.inf:
            text.append(ZERO, style="bold")
        else:
            level = scale.level(value)
            text.append(bars[level], style=colour(level))
    return text


def resample(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` values, each the mean of an equal share of the layers; one with a 0 in it is 0."""
    if len(values) <= width:
        return list(values)
    edges = [round(piece * len(values) / width) for piece in range(width + 1)]
    means: list[float | None] = []
    for start, end in itertools.pairwise(edges):
        known = [value for value in values[start:end] if value is not None]
        means.append(sum(known) / len(known) if known else None)
    return means


def colour(level: int) -> str:
    """The colour of a bar."""
    share = level / (len(BARS) - 1)
    red, green, blue = (round(dark + share * (light - dark)) for dark, light in zip(_DARK, _LIGHT, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"
