"""Values as JSON: at full precision, and of numbers that JSON lacks what every reader accepts."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: Any) -> str:
    """JSON text that every reader accepts."""
    return json.dumps(plain(value), indent=2, allow_nan=False, default=str)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN is null, an infinity is the string `inf` or `-inf`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value if math.isfinite(value) else "inf" if value > 0 else "-inf"
    return value


def _fields(value: Any) -> dict[str, Any]:
    from gradlab.analysis.estimates import GeometricMean  # here, because plain settings need no numpy

    fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, GeometricMean):
        return {**{name: plain(getattr(value, name)) for name in ("value", "low", "high")}, **fields}
    return fields
