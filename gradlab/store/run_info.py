"""The facts of a run's `run.json`, read with care: those that have their shape, and what is wrong with the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradlab.config.bounded import UnreadableFileError, read_bounded
from gradlab.config.document import shorten

MAX_BYTES = 2**26
"""The largest run.json that is read."""

_MAX_DEPTH = 16
"""Lists and mappings inside each other; gradlab writes four."""

_SECONDS = {"training_seconds", "recording_seconds"}


@dataclass(frozen=True)
class RunInfo:
    """What a run.json says.

    Attributes:
        facts: those that have their shape; none where the file is missing or broken.
        fault: what is wrong with it, as what follows the file's name; None where nothing is, or where there is no file.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None


def read_run_info(path: Path) -> RunInfo:
    """Read a run.json, whatever stands there."""
    try:
        content = json.loads(read_bounded(path, MAX_BYTES).decode())
    except UnreadableFileError as error:
        return RunInfo(fault=None if isinstance(error.cause, FileNotFoundError) else error.reason)
    except (ValueError, RecursionError) as error:
        return RunInfo(fault=f"is broken or no JSON ({shorten(str(error), 100)}); what made this run is not known")
    if not isinstance(content, dict):
        return RunInfo(fault="is no mapping; what made this run is not known")
    wrong = [name for name, value in content.items() if not _has_its_shape(name, value)]
    facts = {name: value for name, value in content.items() if name not in wrong}
    told = f"has facts of another shape, which are left out: {shorten(', '.join(wrong))}"
    return RunInfo(facts, told if wrong else None)


def _has_its_shape(name: str, value: Any) -> bool:
    if name == "schema_version":  # of any shape: who judges it refuses what it doesn't know
        return True
    return _is_text(name) and (value is None or (_is_plain(value) and _SHAPES.get(name, lambda _: True)(value)))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and type(value) is not bool and abs(value) < 2**63)


def _is_account(value: Any) -> bool:
    """What recording cost: seconds, and their ratio, which may be null."""
    return isinstance(value, dict) and all(
        _is_number(one) or (one is None and name not in _SECONDS) for name, one in value.items()
    )


def _is_recording(value: Any) -> bool:
    return _is_account(value) or (_mapping_of(_is_account)(value) and not _SECONDS & value.keys())


def _is_plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, dict):
        return all(map(_is_text, value)) and _is_plain(list(value.values()), depth)
    if isinstance(value, list):
        return depth < _MAX_DEPTH and all(_is_plain(one, depth + 1) for one in value)
    return not isinstance(value, str) or _is_text(value)


def _list_of(shape: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(shape, value))


def _mapping_of(shape: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(shape, value.values()))


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "config_digest": _is_text,
    "watched": lambda value: isinstance(value, bool),
    "start": _is_text,
    "code": _mapping_of(_is_text),
    "metrics": _mapping_of(_list_of(_is_text)),
    "notes": _mapping_of(_list_of(_is_text)),
    "weight_prints": _mapping_of(_list_of(lambda value: value is None or _is_number(value))),
    "recording": _is_recording,
}
"""What facts look like that gradlab works with; null is nothing, and others may be anything that is not too deep."""
