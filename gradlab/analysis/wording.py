"""Numbers and settings in words: three significant digits, nothing underflows, nothing is hidden."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gradlab.analysis.telling import is_unread

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


def setting(value: Any) -> str:
    """A factor's value as the config writes it, with all its digits: different values look different."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def count_of(count: int, what: str) -> str:
    """`1 trial`, `12 trials`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def settings_line(settings: Mapping[str, Any]) -> str:
    """Settings in one line."""
    return " ".join(f"{key}={setting(value)}" for key, value in settings.items())


def network_line(keys: Sequence[str], settings: Mapping[str, Any]) -> str:
    """A network by some of its settings, without those that it doesn't read."""
    return settings_line({key: settings[key] for key in keys if key in settings and not is_unread(settings, key)})
