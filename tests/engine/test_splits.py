"""Splits and shipped data against scikit-learn's own functions, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_moons
from sklearn.model_selection import train_test_split

from gradlab.config.schema import Data
from gradlab.engine import shipped
from gradlab.engine.datasets import load_arrays
from gradlab.engine.splits import split_indices
from gradlab.errors import SettingError

COUNTS = st.integers(2, 400)
FRACTIONS = st.floats(0.001, 0.999)
SEEDS = st.integers(0, 2**32 - 1)


def originals(count: int, fraction: float, seed: int, classes: Any = None) -> list[list[int]]:
    parts = train_test_split(np.arange(count), test_size=fraction, random_state=seed, stratify=classes)
    return [part.tolist() for part in parts]


def ours(count: int, fraction: float, seed: int, classes: Any = None) -> list[list[int]]:
    return [part.tolist() for part in split_indices(count, fraction, seed, classes)]


@given(COUNTS, FRACTIONS, SEEDS)
@settings(max_examples=300, deadline=None)
def test_without_classes(count: int, fraction: float, seed: int) -> None:
    try:
        expected = originals(count, fraction, seed)
    except ValueError:
        with pytest.raises(ValueError, match="train on"):
            split_indices(count, fraction, seed)
    else:
        assert ours(count, fraction, seed) == expected


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), FRACTIONS, SEEDS, SEEDS)
@settings(max_examples=500, deadline=None)
def test_of_classes_of_any_sizes(sizes: list[int], fraction: float, seed: int, order: int) -> None:
    classes = np.random.default_rng(order).permutation(np.repeat(np.arange(len(sizes)), sizes))
    try:
        expected = originals(len(classes), fraction, seed, classes)
    except ValueError:
        with pytest.raises(ValueError, match=r"class|train on"):
            split_indices(len(classes), fraction, seed, classes)
    else:
        assert ours(len(classes), fraction, seed, classes) == expected


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.5, 0.55])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_equal_classes_whose_remainders_tie(classes: int, fraction: float) -> None:
    labels = np.arange(1003) % classes
    for seed in range(20):
        assert ours(1003, fraction, seed, labels) == originals(1003, fraction, seed, labels)


@pytest.mark.parametrize(("count", "noise", "seed"), [(10, 0.0, 0), (101, 0.1, 3), (1000, 2.5, 2**32 - 1)])
def test_moons(count: int, noise: float, seed: int) -> None:
    x, y = make_moons(count, noise=noise, random_state=seed)
    x_train, x_eval, y_train, y_eval = train_test_split(x, y, test_size=0.3, random_state=seed, stratify=y)
    arrays = load_arrays(Data(name="moons", n_samples=count, noise=noise, split_seed=seed, eval_fraction=0.3), Path())
    for found, expected in (
        (arrays.x_train, x_train),
        (arrays.y_train, y_train),
        (arrays.x_eval, x_eval),
        (arrays.y_eval, y_eval),
    ):
        np.testing.assert_array_equal(found, expected)
        assert found.strides == expected.strides


def test_shipped_data_are_scikit_learns_number_by_number() -> None:
    bunch = load_digits()
    pairs = [
        (shipped.digits(), (bunch.images[:, None], bunch.target)),
        (shipped.breast_cancer(), load_breast_cancer(return_X_y=True)),
        (shipped.diabetes(), load_diabetes(return_X_y=True, scaled=False)),
    ]
    for found, expected in pairs:
        for array, original in zip(found, expected, strict=True):
            np.testing.assert_array_equal(array, original)
            assert array.dtype == original.dtype


def test_a_missing_file_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(shipped, "find_spec", lambda name: Spec())
    with pytest.raises(SettingError, match=r"scikit-learn.*digits\.csv\.gz") as caught:
        shipped.digits()
    assert caught.value.setting == "data.name"
    monkeypatch.setattr(shipped, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="not installed"):
        shipped.diabetes()
