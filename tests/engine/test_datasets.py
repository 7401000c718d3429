"""The data sets by name: what they hold, that nothing is downloaded, and every way in which arrays cannot be used."""

from __future__ import annotations

import io
import pickle
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


# npz


def good() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "x_train": random.standard_normal((6, 3)),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_eval": random.standard_normal((3, 3)),
        "y_eval": np.array([0, 1, 2]),
    }


def read(folder: Path, arrays: dict[str, Any], task: str = "multiclass") -> Arrays:
    np.savez(folder / "data.npz", **arrays)
    return load_arrays(Data(name="npz", path="data.npz", task=task), folder)  # type: ignore[arg-type]


def test_npz_arrays_come_as_they_are(tmp_path: Path) -> None:
    arrays = good()
    loaded = read(tmp_path, arrays)
    assert loaded.task == "multiclass"
    for name in ARRAYS:
        assert np.array_equal(getattr(loaded, name), arrays[name])


@pytest.mark.parametrize(
    ("task", "y"),
    [
        ("multiclass", np.array([0.0, 1.0, 2.0] * 2)),
        ("multiclass", np.array([[0], [1], [2]] * 2, dtype=np.uint8)),
        ("multiclass", np.array([True, False, True] * 2)),
        ("binary", np.array([True, False, True] * 2)),
        ("binary", np.array([[0.0], [1.0], [1.0]] * 2)),
        ("multilabel", np.array([[0, 1], [1, 1], [0, 0]] * 2)),
        ("multilabel", np.array([0, 1, 1] * 2)),
        ("regression", np.array([0.5, -1e6, 3] * 2)),
        ("regression", np.array([[0.5, 2], [-1, 4], [3, 3]] * 2, dtype=np.float16)),
    ],
)
def test_labels_of_any_sensible_type_and_shape(tmp_path: Path, task: str, y: Any) -> None:
    loaded = read(tmp_path, good() | {"y_train": y, "y_eval": y[:3]}, task)
    assert loaded.y_train.reshape(-1).tolist() == y.reshape(-1).astype(float).tolist()


x3, x6 = np.ones((3, 3)), np.ones((6, 3))

USELESS: list[tuple[str, str, dict[str, Any], str]] = [
    ("NaN in the features", "multiclass", {"x_train": np.full((6, 3), np.nan)}, "x_train"),
    ("inf in the features", "multiclass", {"x_eval": np.full((3, 3), np.inf)}, "x_eval"),
    ("NaN in the targets", "regression", {"y_train": np.array([0, 1, 2, 0, 1, np.nan])}, "y_train"),
    ("no examples", "multiclass", {"x_eval": np.ones((0, 3)), "y_eval": np.ones(0)}, "x_eval"),
    ("no features", "multiclass", {"x_train": np.ones((6, 0)), "x_eval": np.ones((3, 0))}, "x_train"),
    ("a single number", "multiclass", {"x_train": np.float64(3)}, "x_train"),
    ("other lengths", "multiclass", {"y_train": np.array([0, 1, 2])}, "6 examples"),
    ("other features", "multiclass", {"x_eval": np.ones((3, 4))}, "shape"),
    ("no feature axis", "multiclass", {"x_train": np.ones(6), "x_eval": np.ones(3)}, "x_train"),
    ("too many axes", "multiclass", {"x_train": np.ones((6, 1, 1, 1, 3))}, "x_train"),
    ("text", "multiclass", {"y_train": np.array(list("abcabc"))}, "y_train"),
    ("dates", "multiclass", {"x_eval": np.zeros((3, 3), "datetime64[s]")}, "x_eval"),
    ("complex numbers", "multiclass", {"x_eval": 1j * x3}, "x_eval"),
    ("negative classes", "multiclass", {"y_train": np.array([0, 1, -1, 0, 1, 2])}, "y_train"),
    ("classes between classes", "multiclass", {"y_eval": np.array([0, 0.5, 1])}, "y_eval"),
    ("one-hot classes", "multiclass", {"y_train": np.eye(6, 3)}, "y_train"),
    ("a third class of two", "binary", {}, "y_train"),
    ("labels -1 and 1", "binary", {"y_train": np.array([-1, 1] * 3), "y_eval": np.array([0, 1, 1])}, "y_train"),
    ("labels beyond 1", "multilabel", {"y_train": 2 * np.ones((6, 2)), "y_eval": np.ones((3, 2))}, "y_train"),
    ("other outputs", "regression", {"y_train": np.ones((6, 2)), "y_eval": np.ones((3, 3))}, "outputs"),
    ("targets of three axes", "regression", {"y_train": np.ones((6, 2, 2))}, "y_train"),
]


@pytest.mark.parametrize(("task", "change", "named"), [case[1:] for case in USELESS], ids=[case[0] for case in USELESS])
def test_useless_arrays_are_errors_of_the_setting(tmp_path: Path, task: str, change: Any, named: str) -> None:
    with pytest.raises(SettingError) as caught:
        read(tmp_path, good() | change, task)
    assert caught.value.setting == "data.path"
    assert named in str(caught.value)


@pytest.mark.parametrize("name", ARRAYS)
def test_missing_arrays_are_named(tmp_path: Path, name: str) -> None:
    arrays = good()
    del arrays[name]
    with pytest.raises(SettingError, match=name) as caught:
        read(tmp_path, arrays)
    assert caught.value.setting == "data.path"


class Bomb:
    """Says so when it is unpickled."""

    gone_off = False

    def __reduce__(self) -> Any:
        return _go_off, ()


def _go_off() -> None:
    Bomb.gone_off = True


def test_object_arrays_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb()))  # noqa: S301
    assert Bomb.gone_off, "the bomb works"
    Bomb.gone_off = False
    with pytest.raises(SettingError) as caught:
        read(tmp_path, good() | {"x_train": np.array([[Bomb()] * 3] * 6, dtype=object)})
    assert caught.value.setting == "data.path"
    assert not Bomb.gone_off


@pytest.mark.parametrize("name", ["missing.npz", "folder", "array.npy", "text.npz", "empty.npz", "pickle.npz"])
def test_files_that_are_no_npz_are_errors_of_the_setting(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "array.npy", x3)
    (tmp_path / "text.npz").write_text("x_train: 3\n")
    (tmp_path / "empty.npz").touch()
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(good()))
    with pytest.raises(SettingError) as caught:
        load_arrays(Data(name="npz", path=name, task="binary"), tmp_path)
    assert caught.value.setting == "data.path"
    assert name in str(caught.value)


def archive() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **good())
    return buffer.getvalue()


ARCHIVE = archive()


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(ARCHIVE) - 1), st.integers(1, 255), st.booleans())
def test_a_damaged_npz_is_read_or_is_an_error_of_the_setting(
    tmp_path_factory: pytest.TempPathFactory, place: int, flip: int, cut: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    damaged = ARCHIVE[:place] if cut else ARCHIVE[:place] + bytes([ARCHIVE[place] ^ flip]) + ARCHIVE[place + 1 :]
    (folder / "damaged.npz").write_bytes(damaged)
    with suppress(SettingError):
        load_arrays(Data(name="npz", path="damaged.npz", task="multiclass"), folder)


# custom

FACTORY = """
import numpy as np

def make(n=4, **changes):
    x = np.arange(3.0 * n).reshape(n, 3)
    y = np.arange(n) % 2
    return {"x_train": x, "y_train": y, "x_eval": x, "y_eval": y, "task": "binary"} | changes

def lists():
    return {name: make()[name].tolist() if name != "task" else "binary" for name in make()}

def short():
    return {"x_train": np.ones((4, 3))}

def broken():
    raise RuntimeError("out of milk")
"""


def custom(folder: Path, function: str, **kwargs: Any) -> Arrays:
    (folder / "own_data.py").write_text(FACTORY)
    return load_arrays(Data(name="custom", factory=f"own_data.py:{function}", kwargs=kwargs), folder)


def test_a_factory_of_data(tmp_path: Path) -> None:
    made = custom(tmp_path, "make", n=10)
    assert (made.task, made.x_train.shape, made.y_eval.tolist()) == ("binary", (10, 3), [0, 1] * 5)
    assert custom(tmp_path, "lists").x_train.shape == (4, 3)


@pytest.mark.parametrize(
    ("function", "kwargs", "message"),
    [
        ("short", {}, "y_train"),
        ("broken", {}, "out of milk"),
        ("make", {"task": "ranking"}, "ranking"),
        ("make", {"y_train": [0, 1, 2, 1]}, "y_train"),
        ("make", {"x_eval": [[float("nan")] * 3] * 4}, "x_eval"),
        ("make", {"x_eval": [["a", "b", "c"]] * 4}, "x_eval"),
        ("make", {"unknown": 1}, "keys"),
        ("nowhere", {}, "nowhere"),
    ],
)
def test_a_factory_of_useless_data(tmp_path: Path, function: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        custom(tmp_path, function, **kwargs)
    assert caught.value.setting == "data.factory"


def test_ragged_lists_are_an_error_of_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        custom(tmp_path, "make", x_train=[[1.0, 2.0], [3.0]])
    assert caught.value.setting == "data.factory"
