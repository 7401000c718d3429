"""Arrays out of an .npz file: looked at before they are read, since a small file can claim to hold anything."""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gradlab.config.bounded import UnreadableFileError, check_regular
from gradlab.engine.memory import available, in_gib, require
from gradlab.errors import SettingError

Array = NDArray[Any]

SETTING = "data.path"

CONVERTED = 40
"""Bytes that one number of a data set takes while it is standardised and converted, beside those it comes with."""

_UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    AttributeError,
    TypeError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise for a file that is damaged, no .npz, or holds objects."""


@dataclass(frozen=True)
class Header:
    """What an array's header says of it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.elements * self.dtype.itemsize

    def __str__(self) -> str:
        """Its name, shape and size, for people."""
        return f"{self.name} {list(self.shape)} of {in_gib(self.size)}"


def read_npz(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """The arrays of these names, all of them plain numbers; nothing is ever unpickled.

    Raises:
        SettingError: the file is missing, damaged or no .npz, lacks an array, or holds something else.
        MachineError: what it holds doesn't fit into memory.
    """
    try:
        check_regular(path)
    except UnreadableFileError as error:
        raise SettingError(SETTING, str(error)) from error
    except (OSError, ValueError) as error:
        remedy = "paths in a config are relative to the config's folder"
        raise SettingError(SETTING, f"{path}: no such file; {remedy}") from error
    try:
        headers = _headers(path, names)
        needed = sum(header.size + CONVERTED * header.elements for header in headers)
        largest = max(headers, key=lambda header: header.size)
        require(needed, f"{path} ({largest})", "keep fewer examples or features in it", available())
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except _UNREADABLE as error:
        raise SettingError(SETTING, f"{path}: not a readable .npz of plain arrays ({error})") from error


def _headers(path: Path, names: Sequence[str]) -> list[Header]:
    """What the file says of these arrays.

    Raises:
        SettingError: one is missing, or holds less than its header claims.
    """
    found = []
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = set(archive.namelist())
        missing = [name for name in names if f"{name}.npy" not in members]
        if missing:
            raise SettingError(SETTING, f"{path}: no array {', '.join(missing)}; it needs {', '.join(names)}")
        for name in names:
            info = archive.getinfo(f"{name}.npy")
            with archive.open(info) as member:
                header = _header(name, member)
                held = info.file_size - member.tell()
            if header.dtype.hasobject:
                raise ValueError(f"{name} holds objects, which are never unpickled")
            if min(header.shape, default=0) < 0 or header.size > held:
                told = f"the header of {name} claims {header.size:,} bytes {list(header.shape)}, and {held:,} are there"
                raise SettingError(SETTING, f"{path}: damaged: {told}; write the file anew")
            found.append(header)
    return found


def _header(name: str, stream: IO[bytes]) -> Header:
    """What stands before an array's numbers.

    Raises:
        ValueError: nothing that could be read.
    """
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        with warnings.catch_warnings():
            # Python warns of odd literals before it refuses them.
            warnings.simplefilter("ignore")
            shape, _, dtype = read(stream)
    except Exception as error:
        # It is a Python literal, and its tokenizer and parser have errors of their own, MemoryError among them.
        raise ValueError(f"the header of {name}: {error}") from error
    return Header(name, shape, dtype)
