"""The data sets that scikit-learn ships, read from its files: importing it would take as long as importing torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.errors import SettingError

Array = NDArray[Any]


def digits() -> tuple[Array, Array]:
    """1797 handwritten digits [example, 1, 8, 8] and their classes."""
    table = _table("digits.csv.gz")
    return table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)


def breast_cancer() -> tuple[Array, Array]:
    """569 tumours by 30 measurements, and whether they are benign."""
    table = _table("breast_cancer.csv", titles=1)
    return table[:, :-1], table[:, -1].astype(np.int64)


def diabetes() -> tuple[Array, Array]:
    """442 patients by 10 measurements in their own units, and the progression of their disease."""
    return _table("diabetes_data_raw.csv.gz", delimiter=None), _table("diabetes_target.csv.gz")


def _table(name: str, titles: int = 0, delimiter: str | None = ",") -> Array:
    """The numbers in a file of the installed scikit-learn.

    Raises:
        SettingError: it is not there.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise SettingError("data.name", "scikit-learn, which ships this data set, is not installed")
    file = Path(package.origin).parent / "datasets" / "data" / name
    try:
        return np.loadtxt(file, delimiter=delimiter, skiprows=titles)
    except OSError as error:
        raise SettingError("data.name", f"scikit-learn's file of this data set can't be read ({error})") from error
