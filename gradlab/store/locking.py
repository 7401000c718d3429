"""One writer for a run directory, or for a part of it, at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gradlab.errors import MachineError
from gradlab.store.atomic import machine_error, machine_errors

try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".lock"

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}

_OWNER = re.compile(r"process (?P<process>\d+) on (?P<host>\S*) \((?P<started>.*)\)")

_LOOK_EVERY = 0.05
"""Seconds between two looks at a file that says who holds a directory."""

_NAMED_WITHIN = 10.0
"""Seconds within which who makes such a file has written its name into it."""


class HeldError(MachineError):
    """Another writer holds what is to be locked."""


@contextmanager
def locked(folder: Path, name: str = LOCK_NAME, wait: bool = False, shared: bool = False) -> Iterator[None]:
    """Holds `folder` for this process; the system lets go of it when the process ends, however it ends.

    Where the system or the file system knows no locks, a file beside says which process holds the folder; it counts
    for nothing once that process has ended. Only on another machine that cannot be told.

    Args:
        name: of the file in `folder` that is locked; who locks files of other names don't mind each other.
        wait: until nobody else holds it, instead of raising.
        shared: with others who share it, and with nobody else.

    Raises:
        HeldError: another process holds it, or another thread of this one.
        MachineError: the lock file cannot be written.
    """
    release = _lock(folder, name, wait, shared) or _sign(folder, name, wait, shared)
    try:
        yield
    finally:
        release()


def _lock(folder: Path, name: str, wait: bool, shared: bool) -> Callable[[], None] | None:
    """What releases the lock; None where there are none."""
    if fcntl is None:
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    path = folder / name
    while True:
        with machine_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            if error.errno in _UNSUPPORTED:
                return None
            raise _held(folder, holder) from error
        except BaseException:
            os.close(descriptor)
            raise
        if _still_there(path, descriptor):
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            return _HeldFile(descriptor).close
        # The directory was started over between opening and locking: this lock guards nothing.
        os.close(descriptor)


class _HeldFile:
    """A locked file. Forked processes close theirs: one that outlives this process must not go on holding the lock."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        os.register_at_fork(after_in_child=self.close)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _held(folder: Path, holder: str, remedy: str = "") -> HeldError:
    told = f"{folder}: another gradlab run{f' ({holder})' if holder else ''} is writing to this directory"
    return HeldError(f"{told}; wait for it or stop it, or choose another folder with --out{remedy}")


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _holder(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip()
    return ""


def _sign(folder: Path, name: str, wait: bool, shared: bool) -> Callable[[], None]:
    """Make the file that says that this process holds the folder; what releases it again.

    Who shares the folder has a file of its own beside. Everyone makes theirs first and looks for others then: of two
    that don't go together at most one stays.
    """
    path = folder / (f"{name}.{secrets.token_hex(4)}.owner" if shared else f"{name}.owner")
    own = f"process {os.getpid()} on {socket.gethostname()} ({_started(os.getpid())})"
    while True:
        in_the_way = path if not _made(path, own) else _first_held(folder, name, shared)
        if in_the_way is None:
            return lambda: _remove(path, own)
        if in_the_way != path:
            _remove(path, own)
        elif not _is_held(path):
            continue
        if not wait:
            holder = _read(in_the_way).partition(" (")[0]
            raise _held(folder, holder, f"; if it has ended, remove {in_the_way}")
        time.sleep(_LOOK_EVERY)


def _made(path: Path, own: str) -> bool:
    """Make the file, unless it is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    except OSError as error:
        raise machine_error(error, path) from error
    try:
        os.write(descriptor, own.encode())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise machine_error(error, path) from error
    finally:
        os.close(descriptor)
    return True


def _first_held(folder: Path, name: str, shared: bool) -> Path | None:
    """A file of someone who doesn't go together with who shares the folder, or has it alone."""
    others = [folder / f"{name}.owner"] if shared else folder.glob(f"{name}.*.owner")
    return next((other for other in others if _is_held(other)), None)


def _is_held(path: Path) -> bool:
    """Whether a process that has not ended stands behind the file; one that has leaves none."""
    _remove_stale(path)
    return path.exists()


def _remove_stale(path: Path) -> None:
    """Remove the file of a process that has ended."""
    text = _read(path)
    if not _is_stale(path, text):
        return
    # Renamed first: another process may have removed it in this moment, and what stands there now is its own.
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.rename(aside)
        if _read(aside) != text:
            os.link(aside, path)
        aside.unlink()


def _is_stale(path: Path, text: str) -> bool:
    found = _OWNER.fullmatch(text)
    if found is None:  # its maker died before it wrote its name, or is about to write it
        try:
            return time.time() - path.stat().st_mtime > _NAMED_WITHIN
        except OSError:
            return False
    if found["host"] != socket.gethostname():
        return False
    process = int(found["process"])
    return not _is_alive(process) or _started(process) != found["started"]


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _started(process: int) -> str:
    """When a process that runs was started, where the system tells: others may have had its number before."""
    with contextlib.suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        state, *others = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else f"{boot} {others[18]}"
    return ""


def _remove(path: Path, own: str) -> None:
    if _read(path) == own:
        path.unlink(missing_ok=True)


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[:400].decode(errors="replace")
    return ""
