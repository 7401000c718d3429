"""The user's own data: .npz files and factories, and every way in which their arrays cannot be used."""

from __future__ import annotations

import io
import math
import os
import pickle
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.config.schema import Data
from gradlab.engine import archives, datasets
from gradlab.engine.datasets import ARRAYS, Arrays, load_arrays
from gradlab.engine.tasks import make_task
from gradlab.errors import MachineError, SettingError

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
    ("more classes than examples", "multiclass", {"y_train": np.array([0, 1, 2, 0, 1, 999_999])}, "999,999"),
    ("more classes than examples, evaluated", "multiclass", {"y_eval": np.array([0, 1, 6])}, "y_eval holds class 6"),
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


def claiming(name: str, shape: tuple[int, ...], folder: Path, held: bytes | None = None) -> Path:
    """An .npz whose array `name` has a header of this shape, and holds zeros of this size, or something else."""
    path = folder / "claims.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, array in good().items():
            if other != name:
                with archive.open(f"{other}.npy", "w") as member:
                    np.lib.format.write_array(member, array)
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f8", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            if held is not None:
                member.write(held)
                return path
            left = 8 * math.prod(shape)
            while left:
                left -= member.write(bytes(min(left, 1 << 24)))
    return path


def refused(path: Path) -> tuple[type[Exception], str, int]:
    """What comes of an .npz, and the bytes that were allocated at most."""
    data = Data(name="npz", path=path.name, task="multiclass")
    tracemalloc.start()
    try:
        load_arrays(data, path.parent)
    except (SettingError, MachineError) as error:
        return type(error), str(error), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    raise AssertionError("it was read")


@pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6), (2**40, 2**40), (7, 3), (-1, 3)])
def test_a_header_that_claims_more_than_is_there_is_damage(shape: tuple[int, ...], tmp_path: Path) -> None:
    kind, message, peak = refused(claiming("x_train", shape, tmp_path, held=bytes(8 * 6 * 3)))
    assert kind is SettingError
    for word in ("claims.npz", "x_train", f"{8 * math.prod(shape):,} bytes", "144 are there", "anew"):
        assert word in message
    assert peak < 10**6


def test_a_zip_bomb_is_refused_with_the_numbers_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = claiming("x_eval", (2**20, 2**4), tmp_path)
    assert path.stat().st_size < 2**20
    monkeypatch.setattr(archives, "available", lambda: 2**28)
    kind, message, peak = refused(path)
    assert kind is MachineError
    for word in ("claims.npz", "x_eval [1048576, 16] of 0.12 GiB", "0.25 GiB is available"):
        assert word in message
    assert peak < 10**6


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    assert "no regular file" in refused(tmp_path / "pipe.npz")[1]


@pytest.mark.parametrize(
    "options",
    [
        {"name": "gaussian", "n_samples": 10**7, "n_features": 10**5},
        {"name": "multilabel", "n_samples": 10**7, "n_labels": 10**4},
        {"name": "delayed_recall", "n_samples": 10**7, "n_symbols": 10**4},
        {"name": "adding", "n_samples": 10**7},
    ],
)
def test_more_generated_data_than_there_is_memory_for_is_refused_at_once(
    options: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(MachineError, match=r"10,000,000 examples .* GiB of memory, and .*n_samples"):
        load_arrays(Data(**options), tmp_path, 10**5)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "gaussian", "n_features": 50},
        {"name": "multilabel", "n_features": 50, "n_labels": 3},
        {"name": "adding", "standardize": True},
        {"name": "delayed_recall", "n_symbols": 8},
        {"name": "npz", "path": "large.npz", "task": "regression"},
    ],
    ids=lambda options: options["name"],
)
def test_what_data_are_said_to_take_is_what_they_take_within_a_factor_of_three(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    for module in (archives, datasets):
        monkeypatch.setattr(module, "require", lambda needed, *words: told.append(needed))
    x = np.random.default_rng(0).standard_normal((20_000, 50))
    np.savez(tmp_path / "large.npz", x_train=x, y_train=x[:, 0], x_eval=x[:9], y_eval=x[:9, 0])
    samples = {} if options["name"] == "npz" else {"n_samples": 20_000}
    tracemalloc.start()
    task = make_task(Data(**(options | samples)), tmp_path)
    peak = tracemalloc.get_traced_memory()[1] + 4 * task.x_train.numel()
    tracemalloc.stop()
    assert peak / 3 < sum(told) < 3 * peak


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
