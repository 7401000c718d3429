"""The file of a baseline: written whole, read with care, never in place of something else."""

from __future__ import annotations

import os
from pathlib import Path

from gradlab.config.bounded import UnreadableFileError, check_regular, read_bounded
from gradlab.errors import BaselineError, UsageError
from gradlab.store.atomic import machine_errors, write_text
from gradlab.store.baseline_reading import from_text
from gradlab.store.baseline_text import FIRST_KEY, to_text
from gradlab.store.measurement import Measurement

MAX_BYTES = 2**28
"""The largest baseline that is read."""


def refuse_in_ci(otherwise: str = "") -> None:
    """Keep a CI system from updating baselines, which would make every check pass.

    Args:
        otherwise: how to insist.

    Raises:
        UsageError: the environment variable CI is set.
    """
    if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        raise UsageError(f"where CI is set no baseline is updated: people make and review them{otherwise}")


def check_target(path: Path) -> None:
    """Make sure that a baseline can be written to `path`, before the work that makes it.

    Raises:
        UsageError: something else stands there; a pipe or a device is something else, too.
        MachineError: its folder can't be made.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            return
        check_regular(path)
        with path.open("rb") as stream:
            head = stream.read(1 << 16)
    begins = b"".join(head.split())
    key = f'{{"{FIRST_KEY}"'.encode()
    if f'"{FIRST_KEY}"'.encode() not in head and not key.startswith(begins):
        raise UsageError(f"{path} is no baseline of gradlab, and is left as it is; name another file")


def write_baseline(path: Path, measured: Measurement) -> None:
    """Write a baseline, whole or not at all; its folder is made if need be.

    Raises:
        UsageError: something else stands there.
        MachineError: disk full, no permission.
    """
    check_target(path)
    write_text(path, to_text(measured))


def read_baseline(path: Path, remedy: str) -> Measurement:
    """Read a baseline.

    Args:
        remedy: the command that would make a right one, for messages.

    Raises:
        BaselineError: there is none, or the file is none that can be compared.
    """
    try:
        text = read_bounded(path, MAX_BYTES).decode()
    except UnreadableFileError as error:
        none = isinstance(error.cause, FileNotFoundError)
        raise BaselineError(f"{path}: {'there is no such baseline' if none else error.reason}; {remedy}") from None
    except UnicodeDecodeError:
        raise BaselineError(f"{path}: cannot be read (not UTF-8 text); {remedy}") from None
    return from_text(text, str(path), remedy)
