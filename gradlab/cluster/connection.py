"""To a Ray cluster and away from it again, without a word from Ray and without hanging."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from gradlab.cluster.settings import LOCAL, ClusterSettings
from gradlab.cluster.sources import staged
from gradlab.errors import MachineError, UsageError

PATIENCE = 5.0
"""Seconds in which a cluster's head must answer."""

OBJECT_STORE = 256 << 20
"""Bytes of an own instance's object store: the driver takes results out of it as they come."""

_ALONE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "300", "RAY_AUTH_MODE": "token"}
"""What is set for an instance of its own, unless it is set already: it calls nobody, has time, lets nobody else in."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""With which a gRPC client begins; a server answers with a frame of the same type, 4: settings."""


@contextmanager
def connected(settings: ClusterSettings, workers: int, code: Path | None) -> Iterator[None]:
    """Within, this process is a driver of the cluster.

    Args:
        workers: processors of an instance of its own.
        code: the folder of the user's own files, if there are any: on other machines it is the workers' working
            directory.

    Raises:
        MachineError: the cluster can't be reached.
        UsageError: another version of Ray or Python is at work there; too many files to send.
    """
    own = settings.address == LOCAL
    if not own and settings.address != "auto" and os.environ.get("RAY_USE_TLS", "0") != "1":
        _look_for(settings.address)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray would warn of its own default
    for name, value in _ALONE.items() if own else ():
        os.environ.setdefault(name, value)
    if own and "RAY_AUTH_TOKEN_PATH" not in os.environ:  # else Ray would leave one in the user's home
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    with tempfile.TemporaryDirectory() as staging:
        options: dict[str, Any] = {"address": settings.address, "log_to_driver": False, "logging_level": logging.FATAL}
        if own:
            resources = {name: float(workers) for name in settings.resources if name not in {"CPU", "GPU"}}
            cores = max(1, round(workers * settings.resources["CPU"]))
            options |= {"num_cpus": cores, "resources": resources, "include_dashboard": False}
            options["object_store_memory"] = OBJECT_STORE
        elif code is not None:
            staged(code, Path(staging))
            options["runtime_env"] = {"working_dir": staging}
        try:
            with _own_signals(), _unheard():
                ray.init(**options)
        except (Exception, SystemExit) as error:  # Ray has no class of its own for what goes wrong here
            told = " ".join(str(error).split())
            if "ersion mismatch" in told:
                raise UsageError(
                    f"--ray-address {settings.address}: other versions are at work there: {told}"
                ) from error
            done = "an instance of Ray could not be started" if own else "no Ray cluster lets this process in there"
            remedy = "" if own else "; one that asks for a token takes that of RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token"
            raise MachineError(f"--ray-address {settings.address}: {done} ({told}){remedy}") from error
        # Ray prints what befalls its workers: on stdout, where data are expected.
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            try:
                yield
            finally:
                ray.shutdown()


def slots(settings: ClusterSettings) -> int:
    """Tasks that the cluster can work on at the same time, now."""
    return sum(_slots_of(node, settings.resources) for node in _machines())


def memory_per_slot(settings: ClusterSettings) -> tuple[float, float]:
    """Bytes that every task may have on the machine that has least for each, and all that the largest machine has.

    Infinite where no machine has a place for any: others are yet to come.
    """
    places = [(node.get("memory", 0.0), _slots_of(node, settings.resources)) for node in _machines()]
    able = [(memory / count, memory) for memory, count in places if count]
    return (min(each for each, _ in able), max(memory for _, memory in able)) if able else (math.inf, math.inf)


def _machines() -> list[dict[str, float]]:
    """What each machine of the cluster has, by Ray's names for it."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _slots_of(node: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    # Sums of shares of a GPU: a quarter fits four times, whatever rounding says.
    return min((int(node.get(name, 0.0) / amount + 1e-6) for name, amount in wanted.items() if amount), default=0)


def _look_for(address: str) -> None:
    """Raise a MachineError unless a gRPC server answers there: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as connection:
            connection.sendall(_PREFACE)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise MachineError(f"--ray-address {address}: no Ray cluster can be reached there ({error})") from error
    if len(answer) < 4 or answer[3] != 4:
        told = "something else than the head of a Ray cluster answers there; its port is 6379 unless it was set"
        raise MachineError(f"--ray-address {address}: {told}")


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM: what gradlab does about signals stays in force."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            with contextlib.suppress(ValueError, TypeError):  # in another thread than the first nothing was taken
                signal.signal(number, handler)


@contextmanager
def _unheard() -> Iterator[None]:
    """What Ray's libraries write to stderr while they connect goes nowhere: what went wrong is raised, too."""
    sys.stderr.flush()
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
