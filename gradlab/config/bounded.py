"""Whole files into memory, only where they are files and of a size that makes sense."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gradlab.errors import UsageError


class UnreadableFileError(UsageError):
    """A file that can't be read whole.

    Attributes:
        path: the file.
        reason: why, without the path, the remedy in it where there is one.
        cause: the system's error, where it is one.
    """

    def __init__(self, path: Path, reason: str, cause: OSError | None = None) -> None:
        self.path, self.reason, self.cause = path, reason, cause
        super().__init__(f"{path}: {reason}")


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a regular file.

    A pipe or a device is never waited for and never read: it may say nothing, or have no end.

    Args:
        most: the largest size in bytes that is read.

    Raises:
        UnreadableFileError: there is no such file, it can't be read, is no regular file or is larger.
    """
    try:
        check_regular(path)
        # Something else may stand there by now: opening must not wait, and what was opened is looked at again.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as stream:
            _check_mode(path, os.fstat(descriptor).st_mode)
            content = stream.read(most + 1)
    except FileNotFoundError as error:
        raise UnreadableFileError(path, "there is no such file", error) from None
    except OSError as error:
        raise UnreadableFileError(path, f"cannot be read ({error.strerror or error})", error) from None
    except ValueError as error:
        raise UnreadableFileError(path, f"cannot be read ({error})") from None
    if len(content) > most:
        raise UnreadableFileError(path, f"is larger than {_in_words(most)}, the most that is read")
    return content


def check_regular(path: Path) -> None:
    """Make sure that `path` is a regular file, or a link to one, without opening it.

    Raises:
        UnreadableFileError: it is something else.
        OSError: there is nothing, or it can't be looked at.
    """
    _check_mode(path, os.stat(path).st_mode)


def _check_mode(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UnreadableFileError(path, "is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise UnreadableFileError(path, "is no regular file (a pipe or a device); name a file")


def _in_words(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size:,} bytes"
