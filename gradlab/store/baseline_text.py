"""A baseline as JSON text: one line for each statistic and layer, so that a review can compare."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gradlab.errors import BaselineError
from gradlab.store.measurement import (
    END,
    LOGARITHMIC,
    LOSSES,
    SHARES,
    WHOLE_NETWORK,
    Key,
    Measurement,
    NetworkStatistics,
    is_logarithmic,
)

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
        "settings": {name: _Verbatim(json.dumps(value)) for name, value in measured.settings.items()},
        "seeds": _Line(list(measured.seeds)),
        "networks": [_network_content(network) for network in measured.networks],
    }
    return "".join(_dumped(content, "")) + "\n"


def from_text(text: str, source: str, remedy: str) -> Measurement:
    """The measurement in the text of a baseline.

    Raises:
        BaselineError: text that is truncated, of another kind or of another version.
    """
    try:
        content = json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError, InvalidOperation) as error:
        what = "it ends too early" if isinstance(error, json.JSONDecodeError) and error.pos >= len(text) - 1 else error
        raise BaselineError(f"{source}: no valid JSON, perhaps truncated or badly merged ({what}); {remedy}") from None
    version = content.get(FIRST_KEY) if isinstance(content, dict) else None
    if version is None:
        raise BaselineError(f"{source}: no baseline of gradlab; {remedy}")
    if version != BASELINE_VERSION:
        told = f"a baseline of version {str(version)[:20]}; this gradlab reads version {BASELINE_VERSION}"
        raise BaselineError(f"{source}: {told}; {remedy}")
    try:
        return _measurement(_File.model_validate(content))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))[:200]
        raise BaselineError(f"{source}: a damaged baseline ({place}: {fault['msg']}); {remedy}") from None
    except (ValueError, ArithmeticError) as error:
        raise BaselineError(f"{source}: a damaged baseline ({error}); {remedy}") from None


_Number = int | Decimal | Literal["nan", "inf"]
_Values = _Number | list[_Number]
_Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class _NetworkPart(_Part):
    settings: dict[str, Any]
    layers: list[str] = Field(min_length=1)
    weights: list[_Count]
    steps: dict[str, _Count] = Field(min_length=1)
    diverged: _Count | list[_Count | None] | None = None
    weight_prints: dict[str, _Values]
    statistics: dict[str, dict[str, dict[str, _Values] | _Values]] = Field(min_length=1)


class _File(_Part):
    gradlab_baseline: int
    made_by: dict[str, str]
    config: str
    settings: dict[str, Any] = {}
    seeds: list[_Count] = Field(min_length=1)
    networks: list[_NetworkPart] = Field(min_length=1)


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
        "settings": {name: _setting(value) for name, value in network.settings.items()},
        "layers": _Line(network.layers),
        "weights": _Line(network.weight_counts),
        "steps": dict(network.steps),
        "diverged": _collapsed(list(network.diverged)),
        "weight_prints": prints,
        "statistics": statistics,
    }


def _setting(value: Any) -> Any:
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


def _plain(value: Any) -> Any:
    """Settings with their numbers as floats."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _measurement(file: _File) -> Measurement:
    count = len(file.seeds)
    if len(set(file.seeds)) < count:
        raise ValueError("a seed stands twice")
    networks = tuple(_network(part, count) for part in file.networks)
    return Measurement(file.config, file.made_by, tuple(file.seeds), networks, _plain(file.settings))


def _network(part: _NetworkPart, count: int) -> NetworkStatistics:
    values: dict[Key, NDArray[np.float64]] = {}
    for step, statistics in part.statistics.items():
        if step not in {*part.steps, END}:
            raise ValueError(f"it names no step '{step[:20]}'")
        for statistic, found in statistics.items():
            if (statistic not in LOSSES) if not isinstance(found, dict) else (statistic not in (*LOGARITHMIC, *SHARES)):
                raise ValueError(f"unknown statistic '{statistic[:40]}'")
            by_layer = found if isinstance(found, dict) else {str(WHOLE_NETWORK): found}
            for layer, numbers in by_layer.items():
                key = Key(step, statistic, _layer(layer, part.layers, statistic))
                values[key] = _numbers(numbers, count, is_logarithmic(statistic))
    for step in part.steps:
        for number in range(1, len(part.layers) + 1):
            if Key(step, LOGARITHMIC[0], number) not in values:
                raise ValueError(f"it lacks {LOGARITHMIC[0]} of layer {number} at step '{step[:20]}'")
    if len(part.weights) != len(part.layers):
        raise ValueError("weights are not counted for every layer")
    rows = [part.weight_prints.get(str(index + 1), "nan") for index in range(len(part.layers))]
    diverged = part.diverged if isinstance(part.diverged, list) else [part.diverged] * count
    if len(diverged) != count:
        raise ValueError("diverged does not list every seed")
    return NetworkStatistics(
        _plain(part.settings),
        tuple(part.layers),
        part.steps,
        values,
        np.array([_numbers(row, count, False) for row in rows]),
        tuple(part.weights),
        tuple(diverged),
    )


def _layer(text: str, layers: Sequence[str], statistic: str) -> int:
    if statistic in LOSSES:
        return WHOLE_NETWORK
    if not text.isdecimal() or len(text) > 6 or not 1 <= int(text) <= len(layers):
        raise ValueError(f"{statistic} names no layer: {text[:20]}")
    return int(text)


def _numbers(found: _Values, count: int, logarithmic: bool) -> NDArray[np.float64]:
    numbers = found if isinstance(found, list) else [found] * count
    if len(numbers) != count:
        raise ValueError(f"{len(numbers)} values for {count} seeds")
    return np.array([_value(number, logarithmic) for number in numbers])


def _value(number: _Number, logarithmic: bool) -> float:
    if isinstance(number, str):
        return float(number)
    if not logarithmic:
        return float(number)
    if number < 0:
        raise ValueError(f"a norm or loss is negative: {str(number)[:20]}")
    return -math.inf if number == 0 else float(Decimal(number).log10())
