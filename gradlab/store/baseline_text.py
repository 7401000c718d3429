"""A baseline as JSON text: one line for each statistic and layer, so that a review can compare."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.store.measurement import WHOLE_NETWORK, Measurement, NetworkStatistics, is_logarithmic

BASELINE_VERSION = 1
"""Raised when a number in the file changes its meaning."""

FIRST_KEY = "gradlab_baseline"
"""Tells a baseline from other JSON."""

PLAIN_EXPONENTS = 300
"""Powers of ten that floats hold."""


def to_text(measured: Measurement) -> str:
    """The baseline as JSON, one line for each statistic and layer."""
    content = {
        FIRST_KEY: BASELINE_VERSION,
        "made_by": dict(measured.made_by),
        "config": measured.config,
        "settings": {name: _on_one_line(value) for name, value in measured.settings.items()},
        "seeds": _Line(list(measured.seeds)),
        "networks": [_network_content(network) for network in measured.networks],
    }
    return "".join(_dumped(content, "")) + "\n"


class _Line(list[Any]):
    """A list that is written on one line."""


def _network_content(network: NetworkStatistics) -> dict[str, Any]:
    statistics: dict[str, dict[str, Any]] = {}
    for key, values in network.values.items():
        shown = _shown(values, is_logarithmic(key.statistic))
        of_step = statistics.setdefault(key.step, {})
        if key.layer == WHOLE_NETWORK:
            of_step[key.statistic] = shown
        else:
            of_step.setdefault(key.statistic, {})[str(key.layer)] = shown
    prints = {
        str(index + 1): _collapsed([_decimal(value, ".4f") for value in row])
        for index, row in enumerate(network.weight_prints.tolist())
    }
    return {
        "settings": {name: _on_one_line(value) for name, value in network.settings.items()},
        "layers": _Line(network.layers),
        "weights": _Line(network.weight_counts),
        "parameters": dict(network.parameters),
        "steps": dict(network.steps),
        "diverged": _collapsed(list(network.diverged)),
        "weight_prints": prints,
        "statistics": statistics,
    }


def _on_one_line(value: Any) -> _Verbatim:
    return _Verbatim(json.dumps(value))


class _Verbatim(str):
    """JSON text that is written as it is."""

    __slots__ = ()


def _shown(values: NDArray[np.float64], logarithmic: bool) -> Any:
    """Numbers with six digits, a single one where all seeds have the same."""
    if logarithmic:
        return _collapsed([_power(value) for value in values.tolist()])
    return _collapsed([_decimal(value, ".6g") for value in values.tolist()])


def _power(log10: float) -> _Verbatim:
    """10^log10 as JSON, beyond the range of a float too."""
    if math.isnan(log10) or log10 == math.inf:
        return _decimal(log10, "")
    if log10 == -math.inf:
        return _Verbatim("0")
    if abs(log10) < PLAIN_EXPONENTS:
        return _decimal(10.0**log10, ".6g")
    exponent = math.floor(log10)
    return _Verbatim(f"{10.0 ** (log10 - exponent):.5f}e{exponent}")


def _decimal(value: float, form: str) -> _Verbatim:
    if math.isnan(value):
        return _Verbatim('"nan"')
    return _Verbatim(format(value, form)) if math.isfinite(value) else _Verbatim('"inf"')


def _collapsed(values: list[Any]) -> Any:
    return values[0] if len(set(values)) == 1 else _Line(values)


def _dumped(value: Any, indent: str) -> Iterator[str]:
    """JSON text, indented by two, but for a `_Line`."""
    inner = indent + "  "
    if isinstance(value, _Verbatim):
        yield str(value)
    elif isinstance(value, _Line):
        yield "[" + ", ".join("".join(_dumped(one, inner)) for one in value) + "]"
    elif isinstance(value, dict | list) and value:
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        yield opening + "\n"
        items = [(f"{json.dumps(key)}: ", one) for key, one in value.items()] if isinstance(value, dict) else None
        for number, (prefix, one) in enumerate(items if items is not None else [("", one) for one in value]):
            yield (",\n" if number else "") + inner + prefix
            yield from _dumped(one, inner)
        yield f"\n{indent}{closing}"
    else:
        yield json.dumps(value)
