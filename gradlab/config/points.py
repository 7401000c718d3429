"""The points of a sweep, each resolved to validated sections or to what is wrong with it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from gradlab.config.choices import Choice
from gradlab.config.fields import SECTIONS, coerce
from gradlab.config.model import MODEL_READS
from gradlab.config.schema import DEFAULT_SEQUENCE_LENGTH, SEQUENCES, Data, Model, Section, Sweep, Train


def points(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """The points of a sweep as {field path: raw value}: grid x zip, then include; `exclude` is not yet applied."""
    axes: list[list[dict[str, Any]]] = [[{path: value} for value in values] for path, values in sweep.grid.items()]
    for mapping in sweep.zip:
        axes.append([dict(zip(mapping, row, strict=True)) for row in zip(*mapping.values(), strict=True)])
    if axes or not sweep.include:
        for combination in itertools.product(*axes):
            yield {path: value for part in combination for path, value in part.items()}
    yield from sweep.include


def count_points(sweep: Sweep) -> int:
    """How many points `points` yields, without making them."""
    sizes = [len(values) for values in sweep.grid.values()]
    sizes += [max((len(values) for values in mapping.values()), default=0) for mapping in sweep.zip]
    return (math.prod(sizes) if sizes or not sweep.include else 0) + len(sweep.include)


def place(raw: dict[str, Any], path: str, value: Any) -> None:
    """Set the field at a dotted `path` of a raw config in place; a choice given by its name becomes a mapping."""
    *parents, last = path.split(".")
    for key in parents:
        inner = raw.get(key)
        if isinstance(inner, str):
            inner = {"name": inner}
        raw[key] = dict(inner) if isinstance(inner, dict) else {}
        raw = raw[key]
    raw[last] = value


@dataclass(frozen=True)
class Failure:
    """Settings that are valid one by one but not together.

    Attributes:
        point: the swept values of the first point at which they meet.
        include: the index of the `include` entry that the point is; None for a point of grid x zip.
        section: the section that cannot have these settings; None where two sections disagree.
        error: a pydantic.ValidationError of the section, or a ValueError that says how two disagree.
    """

    point: Mapping[str, Any]
    include: int | None
    section: str | None
    error: ValueError


@dataclass(frozen=True)
class Resolved:
    """A section at some values of the sweep: itself and its canonical text, or what is wrong with it."""

    section: Section | None
    canonical: bytes = b""
    error: ValueError | None = None


@dataclass(frozen=True)
class Step:
    """One point of a sweep: its sections, what fails in it, and the `exclude` entries that match it, as bits."""

    sections: dict[str, Resolved]
    failures: dict[Any, Failure]
    matches: int

    @property
    def excluded(self) -> bool:
        """Whether the point is no part of the sweep."""
        return self.matches != 0


def walk(sweep: Sweep, base: Mapping[str, Section]) -> Iterator[Step]:
    """Every point of the sweep, resolved."""
    resolve = _Resolver(base)
    matcher = _Matcher(sweep.exclude, base)
    grid_points = count_points(sweep) - len(sweep.include)
    for number, point in enumerate(points(sweep)):
        include = number - grid_points if number >= grid_points else None
        sections = resolve(point)
        failures: dict[Any, Failure] = {}
        for name, known in sections.items():
            if known.error:
                failures[(id(known.error), include)] = Failure(point, include, name, known.error)
        if not failures and (told := _conflict(sections)):
            failures[(told, include)] = Failure(point, include, None, ValueError(told))
        yield Step(sections, failures, matcher(point, sections) if include is None else 0)


def _conflict(sections: Mapping[str, Resolved]) -> str | None:
    """How two sections disagree, if they do; the setting to blame is named first."""
    data, model, train = (sections[name].section if name in sections else None for name in ("data", "model", "train"))
    if not isinstance(model, Model):
        return None
    if isinstance(train, Train) and model.family == "mlp" and model.norm == "batch" and train.batch_size == 1:
        # A batch norm over units cannot work on one example, which has no variance.
        return "train.batch_size must be at least 2 where model.norm is 'batch' (it is 1)"
    if isinstance(data, Data) and data.name in SEQUENCES and not model.reads("sequence_length"):
        readers = ", ".join(name for name, reads in MODEL_READS.items() if "sequence_length" in reads)
        told = f"model.family must be one of {readers} where data.name is '{data.name}', a data set of sequences"
        return f"{told} (it is '{model.family}')"
    return None


class _Resolver:
    """Resolves points to validated sections, each distinct section once.

    Values are told apart by identity: they belong to the sweep, which outlives the walk.
    """

    def __init__(self, base: Mapping[str, Section]) -> None:
        self._base = {name: section.given() for name, section in base.items()}
        self._known: dict[tuple[Any, ...], Resolved] = {}
        self._lengthened: dict[int, Resolved] = {}
        self._paths: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {}

    def __call__(self, point: Mapping[str, Any]) -> dict[str, Resolved]:
        keys = tuple(point)
        if keys not in self._paths:
            # Sorted, so that `model.init` is set before `model.init.sigma_w` inside it.
            self._paths[keys] = {
                name: tuple(sorted(path for path in keys if path.startswith(f"{name}."))) for name in self._base
            }
        sections = {}
        for name, paths in self._paths[keys].items():
            key = (name, paths, *[id(point[path]) for path in paths])
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = self._resolve(name, paths, point)
            sections[name] = known
        data, model = sections.get("data"), sections.get("model")
        if data and model and isinstance(data.section, Data) and data.section.name in SEQUENCES:
            sections["model"] = self._with_length(model)
        return sections

    def _with_length(self, known: Resolved) -> Resolved:
        """The model beside generated sequences: where it doesn't say how long these are, the default says it."""
        model = known.section
        if not isinstance(model, Model) or model.sequence_length is not None or not model.reads("sequence_length"):
            return known
        if id(known) not in self._lengthened:
            longer = _canonical(model.model_copy(update={"sequence_length": DEFAULT_SEQUENCE_LENGTH}))
            self._lengthened[id(known)] = longer
        return self._lengthened[id(known)]

    def _resolve(self, name: str, paths: tuple[str, ...], point: Mapping[str, Any]) -> Resolved:
        raw: dict[str, Any] = {name: dict(self._base[name])}
        for path in paths:
            place(raw, path, point[path])
        try:
            section = SECTIONS[name].model_validate(raw[name]).resolved()
        except ValidationError as error:
            return Resolved(None, error=error)
        return _canonical(section)


def _canonical(section: Section) -> Resolved:
    return Resolved(section, json.dumps(section.model_dump(exclude_none=True), sort_keys=True).encode())


class _Matcher:
    """Which `exclude` entries match a point: by its values as swept, or as they are once resolved.

    Entries are bits of a number, and each path that they name has a table of its values: thousands of entries cost a
    point no more than one look at each path.
    """

    def __init__(self, exclude: list[dict[str, Any]], base: Mapping[str, Section]) -> None:
        self._base = base
        self._keys: dict[tuple[str, int], Any] = {}
        self._bits: dict[tuple[str, int], int] = {}
        self._everything = (1 << len(exclude)) - 1
        named: dict[str, list[tuple[int, Any]]] = {}
        for index, entry in enumerate(exclude):
            for path, wanted in entry.items():
                named.setdefault(path, []).append((1 << index, wanted))
        self._tables = {path: (path.split("."), _Entries(path, own, self._everything)) for path, own in named.items()}

    def __call__(self, point: Mapping[str, Any], known: Mapping[str, Resolved]) -> int:
        if not self._everything:
            return 0
        matches = self._everything
        for path, (keys, entries) in self._tables.items():
            own = self._resolved(path, keys, entries, known)
            if path in point:
                own |= entries.at(self._swept(path, point[path]))
            matches &= own
            if not matches:
                break
        return matches

    def _resolved(self, path: str, keys: list[str], entries: _Entries, known: Mapping[str, Resolved]) -> int:
        """The entries that allow what a field has once it is resolved, found once for each distinct section."""
        name = keys[0]
        section = (known[name].section or self._base[name]) if name in self._base else None
        bits = self._bits.get((path, id(section)))
        if bits is None:
            bits = entries.at(_match_key(value_at({name: section}, keys)))
            self._bits[path, id(section)] = bits
        return bits

    def _swept(self, path: str, value: Any) -> Any:
        key = (path, id(value))
        if key not in self._keys:
            self._keys[key] = _match_key(coerce(path, value))
        return self._keys[key]


class _Entries:
    """Which `exclude` entries allow which values of one field: those that name the value, or not the field at all.

    Args:
        named: the bits of the entries that name the field, and what they say of it.
        everything: the bits of all entries.
    """

    def __init__(self, path: str, named: list[tuple[int, Any]], everything: int) -> None:
        self._otherwise = everything & ~sum(bit for bit, _ in named)
        self._at: dict[Any, int] = {}
        for bit, wanted in named:
            for option in _options(path, wanted):
                self._at[option] = self._at.get(option, self._otherwise) | bit

    def at(self, value: Any) -> int:
        """The bits of the entries that allow `value`, a match key."""
        return self._at.get(value, self._otherwise)


def _options(path: str, wanted: Any) -> set[Any]:
    """What an exclude value matches; a list means any of its values, or itself where a field holds lists."""
    options = {_match_key(coerce(path, value)) for value in (wanted if isinstance(wanted, list) else [wanted])}
    return options | ({_match_key(wanted)} if isinstance(wanted, list) else set())


def _match_key(value: Any) -> Any:
    """A hashable stand-in for a setting, equal for equal settings; True is not 1."""
    if isinstance(value, dict | list):
        return ("json", json.dumps(value, sort_keys=True))
    return ("flag", value) if isinstance(value, bool) else value


def value_at(sections: dict[str, Any], keys: list[str]) -> Any:
    """The resolved value at a field path; None where the path leads nowhere."""
    value: Any = sections
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, Choice):
            value = dict(value.parameters).get(key)
        else:
            value = getattr(value, key, None)
    return value
