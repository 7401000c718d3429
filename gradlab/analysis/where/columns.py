"""Columns of the trials table as a condition sees them: numbers, text or flags, and where there is no value."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias
from typing import Literal as Choice

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from gradlab.store.tables import TRIALS

Flags: TypeAlias = npt.NDArray[np.bool_]
Kind: TypeAlias = Choice["numbers", "text", "flags", "nothing"]

_EXAMPLES = 12
"""Values of a column that a message lists."""
_MAX_SHOWN = 60
"""Characters of a text that a message shows."""

_DECLARED: dict[pa.DataType, Kind] = {
    pa.int64(): "numbers",
    pa.float64(): "numbers",
    pa.string(): "text",
    pa.bool_(): "flags",
}
_INFERRED: dict[str, Kind] = {
    "boolean": "flags",
    "integer": "numbers",
    "floating": "numbers",
    "mixed-integer-float": "numbers",
}


@dataclass(frozen=True)
class Values:
    """What an expression is for every trial; arrays of length 1 where it is the same for all.

    Attributes:
        kind: what the values are; `nothing` where every one is null and no column says what it would be.
        data: `[trial]`, int64 or float64, object (text) or bool; of no meaning where `null`.
        null: `[trial]`, where there is no value.
    """

    kind: Kind
    data: npt.NDArray[Any]
    null: Flags

    @cached_property
    def texts(self) -> frozenset[str]:
        """The different texts among the values."""
        return frozenset(self.data[~self.null]) if self.kind == "text" else frozenset()

    def described(self) -> str:
        """What a column with these values holds."""
        if self.kind == "text":
            return "holds text" + (f" ({listed(self.texts)})" if self.texts else "")
        if self.kind == "flags":
            return "holds true and false"
        present = self.data[~self.null]
        if not len(present):
            return "is null in every trial"
        return f"holds numbers ({present.min():.6g} to {present.max():.6g})"


def read_column(column: pd.Series[Any]) -> Values:
    """The values of a column of the trials table."""
    null = np.asarray(column.isna(), np.bool_)
    kind = _kind(column, null)
    if kind == "numbers":
        # Whole numbers stay whole: float64 would take two large seeds for one.
        exact = pd.api.types.is_integer_dtype(column.dtype) and not null.any()
        return Values(kind, column.to_numpy(np.int64) if exact else column.to_numpy(np.float64, na_value=np.nan), null)
    if kind == "text":
        return Values(kind, np.array([str(value) for value in column], object), null)
    return Values(kind, np.where(null, False, column).astype(np.bool_), null)


def _kind(column: pd.Series[Any], null: Flags) -> Kind:
    if pd.api.types.is_bool_dtype(column.dtype):
        return "flags"
    if pd.api.types.is_numeric_dtype(column.dtype):
        return "numbers"
    if isinstance(column.dtype, pd.StringDtype):
        return "text"
    if null.all():
        return _DECLARED[TRIALS[str(column.name)]] if column.name in TRIALS else "nothing"
    return _INFERRED.get(pd.api.types.infer_dtype(column, skipna=True), "text")


def unknown_column(trials: pd.DataFrame, name: str) -> str:
    """That the table has no such column, and what may have been meant."""
    known = [str(column) for column in trials.columns]
    holder = next((column for column in known if name in read_column(trials[column]).texts), None)
    if holder:
        return f"no column {name}; the text that {holder} holds stands in quotes: '{name}'"
    same_end = [column for column in known if column.split(".")[-1] == name.split(".")[-1]]
    near = same_end or difflib.get_close_matches(name, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return f"no column {shortened(name)}; {hint}"


def unknown_text(values: Values, sought: str) -> str:
    """What the column has instead of a text that no trial has."""
    if not values.texts:
        return "it is null in every trial"
    near = difflib.get_close_matches(sought, values.texts, 3)
    return f"did you mean {' or '.join(map(_quoted, near))}?" if near else f"there are {listed(values.texts)}"


def listed(texts: frozenset[str]) -> str:
    """The texts in a sentence, a few of them where they are many."""
    more = f" and {len(texts) - _EXAMPLES} more" if len(texts) > _EXAMPLES else ""
    return ", ".join(map(_quoted, sorted(texts)[:_EXAMPLES])) + more


def shortened(text: str) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _quoted(text: str) -> str:
    return repr(shortened(text))
