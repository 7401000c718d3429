"""The run directory as its writer sees it: create, continue, add parts."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from gradlab.errors import MachineError, UsageError
from gradlab.store.atomic import machine_errors, write_whole
from gradlab.store.locking import HeldError, locked
from gradlab.store.opening import NewerPartError, UnreadablePartError, declared, opened, unreadable_version
from gradlab.store.row_groups import PartFiles
from gradlab.store.run_info import read_run_info
from gradlab.store.tables import SCHEMA_VERSION, TABLES

CONFIG_NAME = "config.yaml"
INFO_NAME = "run.json"
WATCHED = "watched"
"""The fact of run.json that tells directories of `gradlab.watch` from those of `gradlab run`."""

_NUMBERED = re.compile(r"(?P<part>.+)-(?P<number>\d{4,})")

_ABANDONED_AFTER = 600.0
"""Seconds after which a directory that was never renamed into place is a leftover; making one takes milliseconds."""

_ALWAYS = ("layers", "steps", "trials")
"""Tables of which every run has a folder."""

_WRITE_ORDER = ("layers", "regions", "steps", "trials")
"""Trials last: a trial is finished once it stands in `trials/`, so everything else must stand before."""


@dataclass(frozen=True)
class RunDirectory:
    """One run on disk.

    Attributes:
        path: the directory.
        label: what tells this run from others read beside it; the directory's name where that is enough.
    """

    path: Path
    label: str = ""

    @property
    def name(self) -> str:
        """The run as tables show it."""
        return self.label or self.path.name

    @classmethod
    def create_or_continue(
        cls, out: Path, name: str, digest: str, config_yaml: str, fresh: bool = False
    ) -> RunDirectory:
        """The run directory of a config under `out`, made if it isn't there: see `held`."""
        with cls.held(out, name, digest, config_yaml, fresh) as run:
            return run

    @classmethod
    @contextmanager
    def held(cls, out: Path, name: str, digest: str, config_yaml: str, fresh: bool = False) -> Iterator[RunDirectory]:
        """The run directory of a config under `out`, made if it isn't there, with this process as its one writer.

        Args:
            out: the folder of runs.
            name: the experiment's name.
            digest: the config's digest in full; its first 8 digits stand in the directory's name.
            config_yaml: the resolved config.
            fresh: delete what an earlier run of the same config left.

        Raises:
            UsageError: what stands there is no run directory, or one of another config or a newer gradlab.
            MachineError: the machine said no, or another process is writing there.
        """
        run = cls(out / f"{name}-{digest[:8]}")
        with ExitStack() as writer:
            with machine_errors(run.path):
                out.mkdir(parents=True, exist_ok=True)
                remove_asides(run.path)
                if is_something(run.path):
                    run._check_ours(digest, fresh)
                    if fresh:
                        with run._contended_lock():
                            _delete(run.path)
                if not is_something(run.path):
                    run.make(config_yaml, {"config_digest": digest})
                writer.enter_context(run._contended_lock())
                run._tidy(digest)
            yield run

    def lock(self) -> AbstractContextManager[None]:
        """Holds this directory as its one writer; raises MachineError where another process does."""
        return locked(self.path)

    @contextmanager
    def _contended_lock(self) -> Iterator[None]:
        """As `lock`, where the directory was there a moment ago: another process may have started it over since."""
        with ExitStack() as writer:
            try:
                writer.enter_context(self.lock())
            except MachineError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
                told = f"{self.path}: another gradlab run is starting over in this directory"
                remedy = "wait for it or stop it, or choose another folder with --out"
                raise HeldError(f"{told}; {remedy}") from error
            yield

    def parts(self, table: str) -> list[Path]:
        """The part files of a table, by name."""
        folder = self.path / table
        return sorted(p for p in folder.glob("*.parquet") if not p.name.startswith(".")) if folder.is_dir() else []

    def files_of(self, table: str, parts: Iterable[str]) -> dict[str, list[Path]]:
        """Part -> its files in a table, in their order.

        A part has one file of its own name, or several with numbers, `<part>-0000.parquet` and so on. One of which
        there is none has the file that is missing, and so has one that lacks numbers in between.

        Args:
            parts: the names of the parts, as their `trials` files have them, without `.parquet`.
        """
        found: dict[str, dict[int, Path]] = {part: {} for part in parts}
        for path in self.parts(table):
            numbered = _NUMBERED.fullmatch(path.stem)
            if path.stem in found:
                found[path.stem][-1] = path
            elif numbered and numbered["part"] in found:
                found[numbered["part"]][int(numbered["number"])] = path
        folder = self.path / table
        for part, files in found.items():
            for number in range(max(files, default=-1)):
                files.setdefault(number, folder / f"{part}-{number:04d}.parquet")
        return {
            part: [files[number] for number in sorted(files)] or [folder / f"{part}.parquet"]
            for part, files in found.items()
        }

    def write_part(self, part_id: str, trials: pa.Table, steps: pa.Table, layers: pa.Table) -> None:
        """Add finished trials by their rows: see `place_part` and `PartFiles.of`."""
        self.place_part(part_id, PartFiles.of({"trials": trials, "steps": steps, "layers": layers}))

    def place_part(self, part_id: str, files: PartFiles) -> None:
        """Add finished trials: a part file of each of their tables, which appears whole or not at all.

        A file that stands already, from a run that was stopped between two tables, is left as it is.

        Args:
            part_id: names the files. Take it from the trials that the part holds, so that it means the same
                trials when a run is continued.

        Raises:
            MachineError: the machine said no; parts written before are kept.
            UsageError: a part of this name holds other trials.
        """
        for table in (table for table in _WRITE_ORDER if table in files.content):
            target, content = self.path / table / f"{part_id}.parquet", files.content[table]
            standing = _trial_ids(target)
            if standing is None:
                with machine_errors(target.parent):
                    target.parent.mkdir(exist_ok=True)
                write_whole(target, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
            elif not standing <= files.trial_ids or (table == "trials" and standing != files.trial_ids):
                told = "holds other trials than its name says: it was edited, or belongs to another run"
                raise UsageError(f"{target} {told}; put it back as it was, or start over with --fresh")

    def finished_trials(self) -> dict[str, str]:
        """Trial id -> status of every trial that is written."""
        finished: dict[str, str] = {}
        for part in self.parts("trials"):
            table = _columns(part, ["trial_id", "status"])
            if table is not None:
                finished.update(zip(table["trial_id"].to_pylist(), table["status"].to_pylist(), strict=True))
        return finished

    def unfinished_parts(self) -> dict[str, tuple[str, ...]]:
        """Part id -> its trials, for parts that a crash left without their `trials` table.

        Running these very trials again as that part completes it; under another part their rows would stand twice.
        """
        found: dict[str, tuple[str, ...]] = {}
        finished = [part.stem for part in self.parts("trials") if _trial_ids(part) is not None]
        owned = {path for files in self.files_of("layers", finished).values() for path in files}
        for part in self.parts("layers"):
            if part not in owned and (ids := _trial_ids(part)):
                found[part.stem] = tuple(sorted(ids))
        return found

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Replace `run.json` in one step; what identifies the run is kept."""
        known = self.read_info()
        identity = {key: known[key] for key in ("schema_version", "config_digest", WATCHED) if key in known}
        text = json.dumps({"schema_version": SCHEMA_VERSION} | identity | dict(info), indent=2, default=str)
        write_whole(self.path / INFO_NAME, lambda stream: stream.write(f"{text}\n".encode()))

    def read_info(self) -> dict[str, Any]:
        """The facts of `run.json`, each of its shape; empty where it is missing or broken."""
        return read_run_info(self.path / INFO_NAME).facts

    def make(self, config_yaml: str, info: Mapping[str, Any]) -> None:
        """Make this directory with a config, what run.json says at first, and empty tables; whole or not at all.

        Where another process made a run directory here in this moment, that is left as it is.

        Raises:
            OSError: the machine said no, or something else stands here.
        """
        made = RunDirectory(self.path.with_name(f".{self.path.name}.new-{os.getpid()}-{threading.get_ident()}"))
        try:
            for table in _ALWAYS:
                (made.path / table).mkdir(parents=True)
            write_whole(made.path / CONFIG_NAME, lambda stream: stream.write(config_yaml.encode()))
            made.write_info(info)
            made.path.rename(self.path)
        except BaseException as error:
            shutil.rmtree(made.path, ignore_errors=True)
            taken = isinstance(error, OSError) and error.errno in {errno.ENOTEMPTY, errno.EEXIST}
            if not taken or not is_run_directory(self.path):
                raise

    def _check_ours(self, digest: str, fresh: bool) -> None:
        if not is_run_directory(self.path) and is_something(self.path):  # another process may just have deleted it
            raise UsageError(
                f"{self.path} is no gradlab run directory; move it away or choose another folder with --out"
            )
        if self.read_info().get(WATCHED):
            raise UsageError(f"{self.path} was written by gradlab.watch; choose another folder with --out")
        if fresh:
            return
        info = self.read_info()
        if info.get("config_digest", digest) != digest:
            raise UsageError(f"{self.path} belongs to another config; choose another folder with --out, or --fresh")
        if reason := unreadable_version(info.get("schema_version", SCHEMA_VERSION)):
            raise UsageError(f"{self.path} {reason}, or start over with --fresh")

    def _tidy(self, digest: str) -> None:
        for table in _ALWAYS:
            (self.path / table).mkdir(exist_ok=True)
        for folder in (self.path, *(self.path / table for table in TABLES)):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
        if not self.read_info():
            self.write_info({"config_digest": digest})


def is_run_directory(path: Path) -> bool:
    """Whether gradlab made this directory: it has a config and the folder of trials."""
    return (path / CONFIG_NAME).is_file() and (path / "trials").is_dir()


def is_something(path: Path) -> bool:
    """Whether anything but an empty folder stands at `path`."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _delete(path: Path) -> None:
    # Renamed first: readers and a crash see the whole run or none of it.
    real = path.resolve()
    aside = real.with_name(f".{path.name}.old-{os.getpid()}")
    real.rename(aside)
    if path.is_symlink():
        path.unlink()
    shutil.rmtree(aside, ignore_errors=True)


def remove_asides(path: Path) -> None:
    """Remove what a crash left of making or deleting the run at `path`; another process may be making it right now."""
    for pattern, age in ((".old-*", 0.0), (".new-*", _ABANDONED_AFTER)):
        for aside in path.parent.glob(f".{path.name}{pattern}"):
            with suppress(FileNotFoundError):
                if time.time() - aside.stat().st_mtime >= age:
                    shutil.rmtree(aside, ignore_errors=True)


def _columns(part: Path, columns: list[str]) -> pa.Table | None:
    """Columns of a part file; None where it is missing, broken or foreign.

    Raises:
        UsageError: a newer gradlab wrote it.
    """
    table = part.parent.name
    try:
        with opened(part, table) as file:
            return declared(file.read(columns=columns), table)
    except NewerPartError as error:
        raise UsageError(f"{part} {error}, or start over with --fresh") from None
    except UnreadablePartError:
        return None


def _trial_ids(part: Path) -> set[str] | None:
    table = _columns(part, ["trial_id"])
    return None if table is None else set(table["trial_id"].to_pylist())
