"""A checksum of a Parquet file's footer, which Parquet itself has only for pages.

The footer says what the columns are called, where they stand and which rows can be skipped: one bit of it, and a column
is another. Its checksum stands right before it, where readers that don't know of it never look: they find the footer
from the file's end, and everything else by what it says.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

_MARK = b"GLF1"
_SEAL = struct.Struct("<4sI")
"""Mark and CRC-32 of the footer."""

_TAIL = struct.Struct("<I4s")
"""With these a Parquet file ends: the footer's length, and `PAR1`."""

_MAGIC = b"PAR1"


def sealed(content: bytes) -> bytes:
    """A Parquet file with the checksum of its footer."""
    length, _ = _TAIL.unpack(content[-_TAIL.size :])
    start = len(content) - _TAIL.size - length
    return content[:start] + _SEAL.pack(_MARK, zlib.crc32(content[start:])) + content[start:]


def seal_is_broken(path: Path) -> bool:
    """Whether the footer at the end of a Parquet file is not the one that it was written with.

    A file without such a checksum, of another program or an earlier gradlab, passes.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size < _TAIL.size:
            return False
        stream.seek(size - _TAIL.size)
        length, magic = _TAIL.unpack(stream.read(_TAIL.size))
        start = size - _TAIL.size - length
        if magic != _MAGIC or start < _SEAL.size:
            return False
        stream.seek(start - _SEAL.size)
        mark, checksum = _SEAL.unpack(stream.read(_SEAL.size))
        return bool(mark == _MARK and checksum != zlib.crc32(stream.read()))
