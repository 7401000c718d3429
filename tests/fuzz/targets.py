"""What is fuzzed: readers of files that anybody may have written. Each takes the bytes of a file.

A reader gives what it read, or one of gradlab's own errors; anything else that it raises is a bug.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest import mock

from gradlab.config import checks
from gradlab.config.load import load
from gradlab.config.schema import Data
from gradlab.errors import BaselineError, ConfigError, MachineError, SettingError

CORPUS = Path(__file__).parent / "corpus"

MAX_TRIALS = 300
"""A million trials take half a minute, which is their number and no hang: here a sweep may have fewer."""

MAGIC = b"\x93NUMPY"

NPZ = [Data(name="npz", path="file", task=task) for task in ("multiclass", "binary", "multilabel", "regression")]


def config(folder: Path, content: bytes) -> None:
    """A config and, in its last line if that begins with `#--set `, an override."""
    (folder / "file").write_bytes(content)
    last = content.rpartition(b"\n")[2].decode(errors="replace")
    overrides = [last.removeprefix("#--set ")] if last.startswith("#--set ") else []
    with mock.patch.object(checks, "MAX_TRIALS", MAX_TRIALS), suppress(ConfigError):
        load(folder / "file", overrides)


def npz(folder: Path, content: bytes) -> None:
    """The user's own arrays, for any task."""
    from gradlab.engine.datasets import load_arrays

    (folder / "file").write_bytes(content)
    for data in NPZ:
        with suppress(SettingError, MachineError):
            load_arrays(data, folder)


def npy(folder: Path, content: bytes) -> None:
    """The same, from the four arrays one after another: in an archive every byte has a checksum over it."""
    from gradlab.engine.datasets import ARRAYS

    arrays = content.split(MAGIC)[1:]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, array in zip(ARRAYS, arrays, strict=False):
            archive.writestr(f"{name}.npy", MAGIC + array)
    npz(folder, made.getvalue())


def baseline(folder: Path, content: bytes) -> None:
    """A baseline of `gradlab check`."""
    from gradlab.store.baseline import read_baseline

    (folder / "file").write_bytes(content)
    with suppress(BaselineError):
        read_baseline(folder / "file", "make it anew")


def run_info(folder: Path, content: bytes) -> None:
    """A run directory's `run.json`, which is never an error: it has facts or none."""
    from gradlab.store.rundir import INFO_NAME, RunDirectory

    (folder / INFO_NAME).write_bytes(content)
    RunDirectory(folder).read_info()


TARGETS: dict[str, Callable[[Path, bytes], None]] = {
    "config": config,
    "npz": npz,
    "npy": npy,
    "baseline": baseline,
    "run_info": run_info,
}
