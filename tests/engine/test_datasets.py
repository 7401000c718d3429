"""The data sets by name: what they hold, what can be learnt of them, and that nothing is downloaded."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import PolynomialFeatures

from gradlab.config.schema import Data
from gradlab.engine.datasets import ARRAYS, Arrays, load_arrays
from gradlab.errors import SettingError

HERE = Path(__file__).parent

SHAPES: dict[str, tuple[str, int, tuple[int, ...]]] = {
    "digits": ("multiclass", 1797, (1, 8, 8)),
    "breast_cancer": ("binary", 569, (30,)),
    "diabetes": ("regression", 442, (10,)),
    "moons": ("binary", 1000, (2,)),
    "spirals": ("binary", 1000, (2,)),
    "gaussian": ("binary", 1000, (20,)),
    "multilabel": ("multilabel", 1000, (20,)),
}
GENERATED = ["moons", "spirals", "gaussian", "multilabel"]


def load(name: str, **options: Any) -> Arrays:
    return load_arrays(Data(name=name, **options), HERE)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a data set asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_task_and_split(name: str) -> None:
    task, count, shape = SHAPES[name]
    arrays = load(name)
    held_out = -(-count // 5)
    assert arrays.task == task
    assert arrays.x_train.shape == (count - held_out, *shape)
    assert arrays.x_eval.shape == (held_out, *shape)
    labels = (5,) if task == "multilabel" else ()
    assert arrays.y_train.shape == (count - held_out, *labels)
    assert arrays.y_eval.shape == (held_out, *labels)


def rows(x: Any) -> list[Any]:
    """The examples of both splits in an order of their own."""
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    return sorted(map(tuple, flat.tolist()))


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("digits", lambda: load_digits().data),
        ("breast_cancer", lambda: load_breast_cancer().data),
        ("diabetes", lambda: load_diabetes(scaled=False).data),
    ],
)
def test_shipped_data_is_scikit_learns_every_example_once(name: str, original: Any) -> None:
    arrays = load(name)
    assert rows(np.concatenate([arrays.x_train, arrays.x_eval])) == rows(original())


def test_digits_are_images_row_by_row_beside_their_labels() -> None:
    arrays, bunch = load("digits"), load_digits()
    known = {image.tobytes(): label for image, label in zip(bunch.images, bunch.target, strict=True)}
    for x, y in ((arrays.x_train, arrays.y_train), (arrays.x_eval, arrays.y_eval)):
        assert [known[np.ascontiguousarray(image[0]).tobytes()] for image in x] == y.tolist()


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "moons", "spirals", "gaussian"])
def test_classes_have_the_same_share_in_both_splits(name: str) -> None:
    arrays = load(name)
    for label in np.unique(arrays.y_train):
        share = float((arrays.y_train == label).mean())
        assert abs(float((arrays.y_eval == label).mean()) - share) < 1.5 / len(arrays.y_eval)


def test_targets_of_a_regression_are_standardised_by_the_training_split() -> None:
    arrays = load("diabetes")
    assert arrays.y_train.mean() == pytest.approx(0, abs=1e-12)
    assert arrays.y_train.std() == pytest.approx(1)
    original = load_diabetes(scaled=False).target
    both = np.concatenate([arrays.y_train, arrays.y_eval])
    assert np.corrcoef(np.sort(both), np.sort(original))[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("name", SHAPES)
def test_the_split_seed_alone_decides(name: str) -> None:
    first, again, other = load(name), load(name), load(name, split_seed=1)
    for array in ARRAYS:
        assert np.array_equal(getattr(first, array), getattr(again, array))
    assert not np.array_equal(first.x_train, other.x_train)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_sizes(name: str) -> None:
    options = {"n_samples": 50, "eval_fraction": 0.3}
    sizes = {"gaussian": {"n_features": 7}, "multilabel": {"n_features": 7, "n_labels": 3}}
    arrays = load(name, **options, **sizes.get(name, {}))
    features = 7 if name in sizes else 2
    assert (arrays.x_train.shape, arrays.x_eval.shape) == ((35, features), (15, features))
    assert arrays.y_eval.shape == ((15, 3) if name == "multilabel" else (15,))


@pytest.mark.parametrize("name", ["moons", "spirals", "gaussian"])
def test_two_balanced_classes(name: str) -> None:
    arrays = load(name)
    assert set(arrays.y_train) == {0, 1}
    assert arrays.y_train.mean() == pytest.approx(0.5, abs=0.001)


def test_multilabel_has_balanced_labels_that_differ() -> None:
    arrays = load("multilabel")
    labels = np.concatenate([arrays.y_train, arrays.y_eval])
    assert set(np.unique(labels)) == {0, 1}
    assert labels.mean(axis=0) == pytest.approx([0.5] * 5, abs=0.001)
    agreement = np.corrcoef(labels.T)[~np.eye(5, dtype=bool)]
    assert np.abs(agreement).max() < 0.9


def scores(arrays: Arrays, classifier: Any) -> float:
    fitted = classifier.fit(arrays.x_train, arrays.y_train)
    return float((fitted.predict(arrays.x_eval) == arrays.y_eval).mean())


@pytest.mark.parametrize(("name", "gap"), [("spirals", 0.25), ("moons", 0.05)])
def test_neighbours_tell_apart_what_a_straight_line_cannot(name: str, gap: float) -> None:
    arrays = load(name)
    near, line = scores(arrays, KNeighborsClassifier(5)), scores(arrays, LogisticRegression())
    assert near > 0.95
    assert near > line + gap


def test_more_turns_leave_neighbours_right_and_a_straight_line_at_chance() -> None:
    arrays = load("spirals", turns=3.0, n_samples=4000)
    assert scores(arrays, KNeighborsClassifier(3)) > 0.9
    assert scores(arrays, LogisticRegression()) < 0.65


@pytest.mark.parametrize(("separation", "expected"), [(0.0, 0.5), (2.0, 0.8413), (4.0, 0.9772)])
def test_gaussian_classes_are_told_apart_as_well_as_their_distance_allows(separation: float, expected: float) -> None:
    # The best rule is right with probability Phi(separation / 2).
    arrays = load("gaussian", separation=separation, n_samples=20_000)
    assert scores(arrays, LogisticRegression()) == pytest.approx(expected, abs=0.02)


def test_labels_of_multilabel_follow_from_the_features() -> None:
    arrays = load("multilabel", n_samples=4000, n_features=5)
    curves = PolynomialFeatures(3)
    x_train, x_eval = curves.fit_transform(arrays.x_train), curves.transform(arrays.x_eval)
    for label in range(5):
        fitted = LogisticRegression(max_iter=2000).fit(x_train, arrays.y_train[:, label])
        assert (fitted.predict(x_eval) == arrays.y_eval[:, label]).mean() > 0.85


def test_noise_is_a_standard_deviation_of_the_coordinates() -> None:
    quiet, noisy = (load("spirals", noise=noise, n_samples=5000) for noise in (0.0, 0.3))
    assert (noisy.x_train - quiet.x_train).std() == pytest.approx(0.3, rel=0.05)


def test_a_split_without_one_example_per_class_names_the_setting() -> None:
    with pytest.raises(SettingError, match="classes") as caught:
        load("digits", eval_fraction=0.001)
    assert caught.value.setting == "data.eval_fraction"
