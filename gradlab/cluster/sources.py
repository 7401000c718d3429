"""Files of the user's own on their way to other machines: those of the config's folder, if they are few."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gradlab.errors import UsageError
from gradlab.store.rundir import is_run_directory

MOST_BYTES = 64 << 20
"""Of the files that travel; they are code and what it reads beside it, not data sets."""

_LEFT_BEHIND = {"__pycache__", "node_modules"}


def staged(folder: Path, target: Path) -> None:
    """Copy what lies in a config's folder to `target`, without hidden files, environments and run directories.

    Raises:
        UsageError: there is more of it than can travel.
    """
    size = 0
    for path in _files(folder):
        size += path.stat().st_size
        if size > MOST_BYTES:
            told = f"its files travel with the config's own code, and they are more than {MOST_BYTES >> 20} MiB"
            raise UsageError(f"{folder}: {told}; give the config and its code a folder of their own")
        (target / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / path.relative_to(folder))


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if name not in _LEFT_BEHIND and not _stays(here / name))
        yield from (here / name for name in sorted(names) if not name.startswith(".") and (here / name).is_file())


def _stays(folder: Path) -> bool:
    return folder.name.startswith(".") or (folder / "pyvenv.cfg").exists() or is_run_directory(folder)
