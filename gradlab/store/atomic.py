"""Files that appear whole or not at all, and what to do when the machine says no."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gradlab.errors import MachineError

_REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again; finished trials are kept",
    errno.EDQUOT: "free some of your quota and run the same command again; finished trials are kept",
    errno.EACCES: "choose a folder that you may write to with --out",
    errno.EPERM: "choose a folder that you may write to with --out",
    errno.EROFS: "the file system is read-only: choose another folder with --out",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n) or use fewer --workers",
    errno.ENFILE: "the machine has too many files open: close some programs and run the same command again",
    errno.EAGAIN: "no further process can be had: use fewer --workers, or raise the limit (ulimit -u)",
    errno.ENOMEM: "there is no memory for it: use fewer --workers",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another folder with --out",
    errno.EEXIST: "a file stands where a folder is needed: choose another folder with --out",
    errno.EISDIR: "a folder stands where a file is needed: name a file",
    errno.ENAMETOOLONG: "choose a shorter `name` in the config or a shorter --out",
}
_OTHER_REMEDY = "check the disk and run the same command again; finished trials are kept"


def machine_error(error: OSError, path: Path | None = None) -> MachineError:
    """What went wrong in one sentence, and what to do about it.

    Args:
        path: where; the file that the error names, if it isn't known better.
    """
    what = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno, _OTHER_REMEDY) if error.errno is not None else _OTHER_REMEDY
    place = path or error.filename
    return MachineError(f"{place}: {what}; {remedy}" if place else f"{what}; {remedy}")


@contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Turns an OSError inside into a MachineError that names `path`, unless the error names a file itself."""
    try:
        yield
    except OSError as error:
        named = Path(error.filename) if isinstance(error.filename, str) else path
        raise machine_error(error, named) from error


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Put a file in place such that no reader, and no crash, ever sees a part of it.

    Args:
        path: where the file will stand; a file of this name is replaced.
        write: writes the content to the stream that it is given.

    Raises:
        MachineError: disk full, no permission, too many open files.
    """
    # Parquet readers skip names that begin with a dot; the same folder makes the rename atomic. On another machine a
    # process may have this one's number.
    temporary = path.with_name(f".{path.name}.{secrets.randbelow(10**9)}.tmp")
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise machine_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Put a text file in place, whole or not at all; its folder is made if need be.

    Raises:
        MachineError: disk full, no permission.
    """
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda stream: stream.write(text.encode()))


def append_text(path: Path, text: str) -> None:
    """Add text to the end of a file that others add to, too.

    Raises:
        MachineError: disk full, no permission.
    """
    with machine_errors(path), path.open("a", encoding="utf-8") as stream:
        stream.write(text)


def _sync_folder(folder: Path) -> None:
    """Flush the renaming itself, where the system can: later files must not reach the disk before earlier ones."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
