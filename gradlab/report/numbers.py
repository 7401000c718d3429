"""Numbers and settings as cells: three significant digits, nothing underflows, nothing is hidden."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradlab.analysis.estimates import GeometricMean, Mean

NOTHING = "-"

_PLAIN_EXPONENTS = 300

_LONGEST_EXPONENT = 1e9
"""Beyond it three digits of the logarithm say nothing about those of the number."""


def number(value: float | None) -> str:
    """Three significant digits: `0.123`, `1.23e-5`, `0`, `inf`; `-` for what is unknown."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:#.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa.rstrip(".")


def power(log10: float | None) -> str:
    """The number 10^log10 with three significant digits, beyond the range of a float too: `1.23e-412`."""
    if log10 is None or math.isnan(log10):
        return NOTHING
    if math.isinf(log10):
        return "0" if log10 < 0 else "inf"
    if abs(log10) < _PLAIN_EXPONENTS:
        return number(10.0**log10)
    if abs(log10) > _LONGEST_EXPONENT:
        return f"10^{number(log10)}"
    exponent = math.floor(log10)
    mantissa = f"{10.0 ** (log10 - exponent):.2f}"
    return f"1.00e{exponent + 1}" if mantissa == "10.00" else f"{mantissa}e{exponent}"


def percent(fraction: float | None) -> str:
    """A share as `62 %`, with one digit after the point below 10 %."""
    if fraction is None or math.isnan(fraction):
        return NOTHING
    hundredfold = 100 * fraction
    if hundredfold != 0 and hundredfold < 0.05:
        return "<0.1 %"
    return f"{hundredfold:.1f} %" if 0 < hundredfold < 9.95 else f"{hundredfold:.0f} %"


def arithmetic(mean: Mean, show: Callable[[float | None], str] = number) -> str:
    """An arithmetic mean and, where some seeds are not in it, how many are."""
    total = mean.count + mean.left_out
    return show(mean.value) + (f" ({mean.count}/{total})" if mean.left_out and mean.count else "")


def share(mean: Mean) -> str:
    """The same of a share: `62 % (3/6)`."""
    return arithmetic(mean, percent)


def geometric(mean: GeometricMean) -> str:
    """A geometric mean and, where some seeds are not in it, how many and why."""
    total = mean.count + mean.zeros + mean.not_finite + mean.unknown
    notes = []
    if mean.zeros and mean.count:
        notes.append(f"{mean.zeros}/{total} are 0")
    if mean.not_finite:
        notes.append(f"{mean.not_finite}/{total} not finite")
    if mean.unknown and mean.unknown < total:
        plain = mean.count and not notes
        notes.append(f"{mean.count}/{total}" if plain else f"{mean.unknown}/{total} unknown")
    return power(mean.log10) + (f" ({', '.join(notes)})" if notes else "")


def geometric_interval(mean: GeometricMean) -> str:
    """The 95 % interval of a geometric mean."""
    return NOTHING if mean.log10_low is None else f"{power(mean.log10_low)} .. {power(mean.log10_high)}"


def setting(value: Any) -> str:
    """A factor's value as the config writes it, with all its digits: different values look different."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def broken_setting(value: Any) -> str:
    """The same on two lines where it has parameters."""
    return setting(value).replace("(", "\n(", 1)


def count_of(count: int, what: str) -> str:
    """`1 trial`, `12 trials`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
