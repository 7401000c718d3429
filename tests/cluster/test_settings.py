"""What the options of `--engine ray` mean, and what is wrong with them: told before anything is loaded."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gradlab.cluster import settings
from gradlab.cluster.connection import _look_for
from gradlab.cluster.settings import ClusterSettings
from gradlab.cluster.sources import MOST_BYTES, staged
from gradlab.errors import MachineError, UsageError
from tests.end_to_end.commands import invoke, write_config


@pytest.fixture(autouse=True)
def _there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is installed, whether it is or not."""
    monkeypatch.setattr(settings, "find_spec", lambda name: name)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("text", "resources"),
    [
        (None, {"CPU": 1}),
        ("gpu=0.25", {"CPU": 1, "GPU": 0.25}),
        ("cpu=0, GPU=2", {"CPU": 0, "GPU": 2}),
        ("cpu=2,fast=1", {"CPU": 2, "fast": 1}),
    ],
)
def test_resources(text: str | None, resources: dict[str, float]) -> None:
    assert ClusterSettings.of(None, text) == ClusterSettings("local", resources)


@pytest.mark.parametrize(
    "text",
    ["", "gpu", "gpu=", "gpu=x", "gpu=-1", "gpu=0", "gpu=1.5", "gpu=nan", "gpu=inf", "cpu=1,cpu=2", "=1", "memory=1"],
)
def test_what_are_no_resources(text: str) -> None:
    with pytest.raises(UsageError, match="--resources-per-stack"):
        ClusterSettings.of(None, text)


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ClusterSettings.of("head:6379", None).address == "head:6379"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert ClusterSettings.of(None, None).address == "10.0.0.1:6379"
    assert ClusterSettings.of("local", None).address == "local"
    for wrong in ("ray://head:10001", "http://head:8265", "head", "head:", ":6379", ""):
        with pytest.raises(UsageError, match="--ray-address"):
            ClusterSettings.of(wrong, None)


@pytest.mark.parametrize(
    ("wanted", "resources", "device"),
    [("auto", None, "cpu"), ("auto", "gpu=0.5", "cuda"), ("cpu", None, "cpu"), ("cuda", "gpu=1", "cuda")],
)
def test_tasks_train_on_what_they_are_given(wanted: str, resources: str | None, device: str) -> None:
    assert ClusterSettings.of(None, resources).device(wanted) == device


@pytest.mark.parametrize(("wanted", "resources"), [("cuda", None), ("cpu", "gpu=0.5"), ("mps", None)])
def test_and_on_nothing_else(wanted: str, resources: str | None) -> None:
    with pytest.raises(UsageError, match=f"--device {wanted}"):
        ClusterSettings.of(None, resources).device(wanted)


@contextmanager
def answering(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that answers its first caller; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_who_answers_as_a_head_does_is_let_pass() -> None:
    with answering(lambda connection: connection.sendall(bytes([0, 0, 6, 4, 0, 0, 0, 0, 0]))) as address:
        _look_for(address)


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0", b""])
def test_who_answers_otherwise_is_no_head(words: bytes) -> None:
    with (
        answering(lambda connection: connection.sendall(words)) as address,
        pytest.raises(MachineError, match=f"--ray-address {address}: "),
    ):
        _look_for(address)


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    for address in (f"127.0.0.1:{free}", "127.0.0.1:999999", "no-such-host.invalid:1"):
        with pytest.raises(MachineError, match="no Ray cluster can be reached"):
            _look_for(address)
    config = write_config(tmp_path, {"data": {"name": "moons", "n_samples": 20}, "train": {"steps": 1}, "seeds": 1})
    answer = invoke("run", config, "--out", tmp_path / "runs", "--engine", "ray", "--ray-address", f"127.0.0.1:{free}")
    assert (answer.code, answer.stdout) == (5, "")
    assert f"127.0.0.1:{free}: no Ray cluster can be reached there" in answer.stderr


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    answer = invoke("run", write_config(tmp_path, {"seeds": 1}), "--engine", "ray")
    assert answer.code == 2
    assert "pip install 'gradlab-runner[ray]'" in answer.stderr


@pytest.mark.parametrize("option", ["--ray-address=head:1", "--resources-per-stack=gpu=1"])
def test_options_without_their_engine(option: str, tmp_path: Path) -> None:
    answer = invoke("run", write_config(tmp_path, {"seeds": 1}), option)
    assert answer.code == 2
    assert "--engine ray" in answer.stderr


def test_a_dry_run_asks_no_cluster(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"seeds": 1})
    plain = invoke("run", config, "--dry-run")
    answer = invoke("run", config, "--dry-run", "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert (answer.code, answer.stdout) == (0, plain.stdout)


def test_what_travels(tmp_path: Path) -> None:
    folder, target = tmp_path / "configs", tmp_path / "staged"
    kept = ["net.py", "words.txt", "package/__init__.py", "package/deep/layer.py"]
    left = [".git/config", ".secret", "__pycache__/net.pyc", "env/pyvenv.cfg", "env/lib/x.py"]
    left += ["runs/a-01/config.yaml", "runs/a-01/trials/p.parquet"]
    for name in (*kept, *left):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    staged(folder, target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()) == sorted(kept)
    with (folder / "large.bin").open("wb") as file:
        file.truncate(MOST_BYTES)
    with pytest.raises(UsageError, match=r"64 MiB; give the config and its code a folder of their own"):
        staged(folder, target)
