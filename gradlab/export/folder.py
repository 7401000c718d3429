"""The folder of an export: its files appear once all of them are complete, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradlab.errors import UsageError
from gradlab.store.atomic import machine_errors

_STAGING = ".gradlab-export-"


@contextmanager
def whole_folder(target: Path, force: bool = False, replaced: str | None = None) -> Iterator[Path]:
    """A folder to write to; what it holds at the end is put into `target`, if nothing was raised.

    Args:
        target: where the files will stand; made if need be.
        force: write into a folder that holds something; files of the same names are replaced, others kept.
        replaced: the name of files that an earlier export may have left in `target` or in its folders, and that go
            with it even where no new one takes their place.

    Raises:
        UsageError: `target` holds something, or is no folder.
        MachineError: disk full, no permission.
    """
    with machine_errors(target):
        _check(target, force)
        made = not target.exists()
        target.mkdir(parents=True, exist_ok=True)
        try:
            # Inside the target: the same file system, whatever the target is a link to or mounted on.
            staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=target))
            try:
                yield staging
                _flush(staging)
                _clear(target, staging, replaced)
                _move(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        except BaseException:
            if made:
                with contextlib.suppress(OSError):
                    target.rmdir()
            raise


def files_of(folder: Path) -> list[Path]:
    """The files in `folder` and in its folders, as paths within it, in order."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def _check(target: Path, force: bool) -> None:
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file; name a folder with --out")
    if not force and target.is_dir() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty; name another folder with --out, or write into it with --force")


def _flush(folder: Path) -> None:
    """Bring the files to the disk: none may appear under its name before what it holds."""
    for file in files_of(folder):
        with (folder / file).open("rb+") as stream:
            os.fsync(stream.fileno())


def _clear(target: Path, staging: Path, replaced: str | None) -> None:
    """Remove what earlier exports left, one that was killed among them."""
    for leftover in target.glob(f"{_STAGING}*"):
        if leftover != staging:
            shutil.rmtree(leftover, ignore_errors=True)
    if replaced is None:
        return
    for old in [*target.glob(replaced), *target.glob(f"*/{replaced}")]:
        if old.parent != staging:
            old.unlink()
            with contextlib.suppress(OSError):
                old.parent.rmdir()


def _move(staging: Path, target: Path) -> None:
    for file in files_of(staging):
        (target / file).parent.mkdir(exist_ok=True)
        (staging / file).replace(target / file)
