"""The text of a baseline, read with care: what is damaged, or of another kind, is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gradlab.config.schema import MAX_SEED
from gradlab.errors import BaselineError
from gradlab.store.baseline_text import BASELINE_VERSION, FIRST_KEY
from gradlab.store.measurement import (
    ALWAYS,
    END,
    FIRST,
    LAST,
    LOGARITHMIC,
    LOSSES,
    MIDDLE,
    RECORDED,
    SHARES,
    WHOLE_NETWORK,
    Key,
    Measurement,
    NetworkStatistics,
)


def from_text(text: str, source: str, remedy: str) -> Measurement:
    """The measurement in the text of a baseline.

    Raises:
        BaselineError: text that is truncated, of another kind or of another version.
    """
    try:
        content = json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError, InvalidOperation) as error:
        early = isinstance(error, json.JSONDecodeError) and error.pos >= len(text) - 1 and "Extra" not in error.msg
        what = "it ends too early" if early else error
        raise BaselineError(f"{source}: no valid JSON, perhaps truncated or badly merged ({what}); {remedy}") from None
    version = content.get(FIRST_KEY) if isinstance(content, dict) else None
    if version is None:
        raise BaselineError(f"{source}: no baseline of gradlab; {remedy}")
    if version != BASELINE_VERSION:
        found = json.dumps(version, default=str)[:20]
        told = f"a baseline of version {found}; this gradlab reads version {BASELINE_VERSION}"
        raise BaselineError(f"{source}: {told}; {remedy}")
    try:
        return _measurement(_File.model_validate(content))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))[:200]
        raise BaselineError(f"{source}: a damaged baseline ({place}: {fault['msg']}); {remedy}") from None
    except (ValueError, ArithmeticError, RecursionError) as error:
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
    parameters: dict[str, _Count]
    steps: dict[str, _Count] = Field(min_length=1)
    diverged: _Count | list[_Count | None] | None
    weight_prints: dict[str, _Values]
    statistics: dict[str, dict[str, dict[str, _Values] | _Values]] = Field(min_length=1)


class _File(_Part):
    gradlab_baseline: int
    made_by: dict[str, str]
    config: str
    settings: dict[str, Any]
    seeds: list[Annotated[int, Field(ge=0, le=MAX_SEED)]] = Field(min_length=1)
    networks: list[_NetworkPart] = Field(min_length=1)


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
    if file.config != RECORDED:
        for part, network in zip(file.networks, networks, strict=True):
            _check_complete(part, network)
    if len({network.identity for network in networks}) < len(networks):
        raise ValueError("a network stands twice")
    return Measurement(file.config, file.made_by, tuple(file.seeds), networks, _plain(file.settings))


def _network(part: _NetworkPart, count: int) -> NetworkStatistics:
    numbers = [str(number) for number in range(1, len(part.layers) + 1)]
    diverged = part.diverged if isinstance(part.diverged, list) else [part.diverged] * count
    if len(diverged) != count:
        raise ValueError("diverged does not list every seed")
    if len(part.weights) != len(numbers) or sorted(part.weight_prints) != sorted(numbers):
        raise ValueError("weights or weight_prints are not those of its layers")
    if unknown := part.steps.keys() - {FIRST, MIDDLE, LAST}:
        raise ValueError(f"it names no step: {min(unknown)[:20]}")
    values = {key: _numbers(found, count, key.statistic) for key, found in _statistics(part, numbers).items()}
    if missing := part.steps.keys() - {key.step for key in values}:
        raise ValueError(f"it has no statistics at step '{min(missing)}'")
    return NetworkStatistics(
        settings=_plain(part.settings),
        layers=tuple(part.layers),
        steps=part.steps,
        values=values,
        weight_prints=_prints([part.weight_prints[number] for number in numbers], count),
        weight_counts=tuple(part.weights),
        diverged=tuple(diverged),
        parameters=part.parameters,
    )


def _check_complete(part: _NetworkPart, network: NetworkStatistics) -> None:
    """What is trained by a config has these statistics; of a recorded training some may have no meaning."""
    for step in part.steps:
        for number in range(1, len(part.layers) + 1):
            for statistic in ALWAYS:
                if Key(step, statistic, number) not in network.values:
                    raise ValueError(f"it lacks {statistic} of layer {number} at step '{step}'")
    if LAST in part.steps and any(Key(END, loss, WHOLE_NETWORK) not in network.values for loss in LOSSES):
        raise ValueError("it lacks the losses after training")
    if not network.weight_prints.shape[1]:
        raise ValueError("it lacks weight_prints")


def _prints(found: Sequence[_Values], count: int) -> NDArray[np.float64]:
    """`[layer, seed]`; `[layer, 0]` where none were taken."""
    if all(values == [] for values in found):
        return np.empty((len(found), 0))
    return np.array([_numbers(values, count, _PRINTS) for values in found])


def _statistics(part: _NetworkPart, numbers: Sequence[str]) -> dict[Key, _Values]:
    """What a network's statistics say, where they are those of a step, layer or network that there is."""
    found: dict[Key, _Values] = {}
    for step, statistics in part.statistics.items():
        for statistic, values in statistics.items():
            if isinstance(values, dict):
                if step not in part.steps or statistic not in (*LOGARITHMIC, *SHARES):
                    raise ValueError(f"it has no '{statistic[:40]}' of layers at '{step[:20]}'")
                if unknown := values.keys() - set(numbers):
                    raise ValueError(f"{statistic} names no layer: {min(unknown)[:20]}")
                found |= {Key(step, statistic, int(number)): by_seed for number, by_seed in values.items()}
            elif step == END and statistic in LOSSES:
                found[Key(step, statistic, WHOLE_NETWORK)] = values
            else:
                raise ValueError(f"it has no '{statistic[:40]}' at '{step[:20]}'")
    return found


_PRINTS = "weight_prints"


def _numbers(found: _Values, count: int, statistic: str) -> NDArray[np.float64]:
    numbers = found if isinstance(found, list) else [found] * count
    if len(numbers) != count:
        raise ValueError(f"{len(numbers)} values of {statistic} for {count} seeds")
    return np.array([_value(number, statistic) for number in numbers])


def _value(number: _Number, statistic: str) -> float:
    if isinstance(number, str):
        if statistic in SHARES and number == "inf":
            raise ValueError(f"{statistic} is infinite")
        return float(number)
    if statistic == _PRINTS:
        return float(number)
    if number < 0 or (statistic in SHARES and number > 1):
        raise ValueError(f"{statistic} is {str(number)[:20]}")
    if statistic in SHARES:
        return float(number)
    return -math.inf if number == 0 else float(Decimal(number).log10())
