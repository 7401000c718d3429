"""Arrays as text that takes little room in a page."""

from __future__ import annotations

import base64
import itertools
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Reals: TypeAlias = npt.NDArray[np.float64]
Packed: TypeAlias = list[Any] | None

_LEVELS = 65_534
"""Steps between the least and the greatest value of an array; one more code says that there is no value."""

_LARGEST = 1e300
"""What is beyond it is drawn there: a range must itself be a number."""

_LONGEST = 255
"""Equal values in a row that one pair of bytes tells of."""


class Pool:
    """Texts that parts of a page share: an array that several charts draw stands there once.

    Attributes:
        texts: all of them, by their number.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._places: dict[str, int] = {}

    def keep(self, content: bytes) -> int:
        """The number of a text that holds these bytes, as base64."""
        encoded = base64.b64encode(content).decode()
        if encoded not in self._places:
            self._places[encoded] = len(self.texts)
            self.texts.append(encoded)
        return self._places[encoded]

    def reals(self, values: Reals) -> Packed:
        """Numbers in two bytes each: right to 1/65534 of their range, which no eye sees.

        Args:
            values: any shape, row by row; what isn't finite has no value.

        Returns:
            The text's number, the least value and the step between two codes; None where there is no value at all.
        """
        finite = np.isfinite(values)
        if not finite.any():
            return None
        known = np.clip(values[finite], -_LARGEST, _LARGEST)
        low = float(known.min())
        step = (float(known.max()) - low) / _LEVELS
        codes = np.full(values.shape, _LEVELS + 1, "<u2")
        codes[finite] = np.rint((known - low) / step) if step > 0 else 0
        return [self.keep(codes.tobytes()), _short(low), _short(step)]

    def runs(self, codes: npt.NDArray[np.uint8]) -> int:
        """Small whole numbers that seldom change, as pairs of bytes: a number, and how many of it follow each other.

        Args:
            codes: one after the other.
        """
        edges = [*np.flatnonzero(np.diff(codes, prepend=codes[:1] + np.uint8(1))).tolist(), len(codes)]
        pairs = bytearray()
        for start, end in itertools.pairwise(edges):
            for left in range(end - start, 0, -_LONGEST):
                pairs += bytes((int(codes[start]), min(left, _LONGEST)))
        return self.keep(bytes(pairs))


def _short(value: float) -> float:
    """A number with nine significant digits: more than its codes tell."""
    return float(f"{value:.9g}")
