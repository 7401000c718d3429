"""One writer for a run directory, or for a part of it, at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradlab.errors import MachineError
from gradlab.store.atomic import machine_errors

try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".lock"

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class HeldError(MachineError):
    """Another writer holds what is to be locked."""


@contextmanager
def locked(folder: Path, name: str = LOCK_NAME, wait: bool = False) -> Iterator[None]:
    """Holds `folder` for this process; the system lets go of it when the process ends, however it ends.

    Where the system or the file system knows no locks, nothing is locked.

    Args:
        name: of the file in `folder` that is locked; who locks files of other names don't mind each other.
        wait: until nobody else holds it, instead of raising.

    Raises:
        HeldError: another process holds it, or another thread of this one.
        MachineError: the lock file cannot be written.
    """
    if fcntl is None:
        yield
        return
    descriptor = _acquire(folder, name, wait)
    try:
        yield
    finally:
        os.close(descriptor)


def _acquire(folder: Path, name: str, wait: bool) -> int:
    path = folder / name
    while True:
        with machine_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return descriptor
            holder = _holder(descriptor)
            os.close(descriptor)
            raise HeldError(
                f"{folder}: another gradlab run{holder} is writing to this directory; "
                "wait for it or stop it, or choose another folder with --out"
            ) from error
        if _still_there(path, descriptor):
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            return descriptor
        # The directory was started over between opening and locking: this lock guards nothing.
        os.close(descriptor)


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _holder(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        text = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        return f" ({text})" if text else ""
    return ""
