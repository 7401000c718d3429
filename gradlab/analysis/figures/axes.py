"""Factors as axes of a plane: numbers where they are numbers, also inside of settings such as `normal(sigma_w=1.5)`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.analysis.factors import rank
from gradlab.analysis.wording import setting
from gradlab.config.choices import ACTIVATIONS, INITS

_CHOICE = re.compile(r"(?P<name>\w+)(\((?P<parameters>[^()]*)\))?")


@dataclass(frozen=True)
class Axis:
    """A factor, and where each network stands along it.

    Attributes:
        name: of the factor.
        label: what stands beside the axis.
        values: `[group]`, numbers or texts; None where the network doesn't have the factor.
        numeric: whether they are numbers.
    """

    name: str
    label: str
    values: tuple[float | str | None, ...]
    numeric: bool

    @property
    def ticks(self) -> list[float | str]:
        """The distinct values in their order."""
        return sorted({value for value in self.values if value is not None}, key=rank)


def axes(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[Axis]:
    """The factors as axes; of several that always change together one, of numbers if there is such a one."""
    found: list[Axis] = []
    for name in names:
        axis = _axis(name, [known.get(name) for known in settings])
        twin = next((place for place, other in enumerate(found) if _change_together(axis, other)), None)
        if twin is None:
            found.append(axis)
        elif _plainness(axis) > _plainness(found[twin]):
            found[twin] = axis
    return found


def _axis(name: str, values: Sequence[Any]) -> Axis:
    if all(_is_number(value) or value is None for value in values):
        return Axis(name, name.removeprefix("model.").removeprefix("train."), tuple(values), True)
    parameter, numbers = _one_parameter(values)
    if parameter:
        return Axis(name, f"{name} {parameter}", numbers, True)
    return Axis(name, name, tuple(None if value is None else setting(value) for value in values), False)


def _plainness(axis: Axis) -> int:
    """Numbers that are settings themselves before such that stand inside of settings, and these before names."""
    return axis.numeric + (axis.numeric and " " not in axis.label)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _one_parameter(values: Sequence[Any]) -> tuple[str, tuple[float | None, ...]]:
    """The one parameter in which choices of one name differ, and its values; nothing where there are more."""
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    parsed = {value: _parse(value) for value in distinct}
    choices = [choice for choice in parsed.values() if choice is not None]
    if len(choices) < len(distinct) or len({name for name, _ in choices}) != 1:
        return "", ()
    keys = dict.fromkeys(key for _, parameters in choices for key in parameters)
    varying = [key for key in keys if len({parameters.get(key) for _, parameters in choices}) > 1]
    if len(varying) != 1 or any(varying[0] not in parameters for _, parameters in choices):
        return "", ()
    known = {value: choice[1][varying[0]] for value, choice in parsed.items() if choice is not None}
    return varying[0], tuple(known.get(value) for value in values)


def _parse(value: Any) -> tuple[str, dict[str, float]] | None:
    """Name and parameters of a choice as tables show it, defaults filled in."""
    match = _CHOICE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    parameters = dict((ACTIVATIONS | INITS).get(match["name"], {}))
    try:
        for part in filter(None, (match["parameters"] or "").split(", ")):
            key, _, number = part.partition("=")
            parameters[key] = float(number)
    except ValueError:
        return None
    return match["name"], parameters


def _change_together(one: Axis, other: Axis) -> bool:
    pairs = set(zip(one.values, other.values, strict=True))
    return len(pairs) == len(set(one.values)) == len(set(other.values)) > 1


def nearest_few(axis: Axis, most: int) -> set[float | str]:
    """At most so many of an axis' values, spread evenly, the ends among them."""
    ticks = axis.ticks
    places = np.linspace(0, len(ticks) - 1, min(most, len(ticks))).round().astype(int)
    return {ticks[place] for place in places}
