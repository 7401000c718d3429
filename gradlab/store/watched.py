"""The run directory of watched trainings: several writers add trials to it while they train."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from gradlab.errors import UsageError
from gradlab.store.atomic import machine_errors
from gradlab.store.finding import Skipped
from gradlab.store.locking import HeldError, locked
from gradlab.store.opening import unreadable_version
from gradlab.store.part_files import from_part, read_part
from gradlab.store.row_groups import write_table
from gradlab.store.rundir import (
    WATCHED,
    RunDirectory,
    is_run_directory,
    is_something,
    remove_asides,
)
from gradlab.store.tables import SCHEMA_VERSION
from gradlab.store.uniting import conformed, united_schema

_TABLES = ("trials", "steps", "layers")


@dataclass(frozen=True)
class WatchedRun:
    """A run directory as the recorders of watched trainings see it.

    Each training is a part of its own: `trials/<part_id>.parquet` is replaced as the training goes on, its rows stand
    in `steps/` and `layers/` as `<part_id>-0000.parquet`, `<part_id>-0001.parquet` and so on, none of which is ever
    rewritten. Recorders in one process or in several may add different parts at the same time.
    """

    directory: RunDirectory

    @property
    def path(self) -> Path:
        """Where it stands."""
        return self.directory.path

    @classmethod
    def open(cls, path: Path, config_yaml: str, info: Mapping[str, Any]) -> WatchedRun:
        """The run directory of watched trainings at exactly `path`, made if it isn't there.

        Args:
            path: the directory; its folder is made if need be.
            config_yaml: what `config.yaml` holds, where the directory is made now.
            info: facts of `run.json`, likewise.

        Raises:
            UsageError: something else stands there: files, a run of `gradlab run`, one of a newer gradlab.
            MachineError: the machine said no.
        """
        run = cls(RunDirectory(path))
        with machine_errors(path):
            run._check_place()
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_asides(path)
            if not is_something(path):
                run.directory.make(config_yaml, {WATCHED: True, **info})
        run._check_ours()
        return run

    def claim(self, part_id: str, fresh: bool = False, what: str = "a training of this name") -> ExitStack:
        """Become the one writer of a part, until the result is closed or the process ends.

        Rows that an earlier training left without its trials table are removed.

        Args:
            part_id: names the part's files.
            fresh: remove what an earlier training left under this name.
            what: the training, as messages call it.

        Raises:
            UsageError: a training of this name stands there, or is being recorded right now.
            MachineError: the machine said no.
        """
        held = ExitStack()
        with held:
            try:
                held.enter_context(locked(self.path / "trials", f".{part_id}.lock"))
            except HeldError:
                told = f"{self.path}: {what} is being recorded there right now"
                raise UsageError(f"{told}; give another seed or another folder (out=)") from None
            with machine_errors(self.path):
                if self._file("trials", part_id).exists() and not fresh:
                    told = f"{self.path}: {what} is recorded there already"
                    raise UsageError(f"{told}; give another seed, another folder (out=), or fresh=True to replace it")
                self._remove(part_id)
            return held.pop_all()
        raise AssertionError("unreachable")

    def write_rows(self, part_id: str, number: int, steps: pa.Table, layers: pa.Table) -> None:
        """Add rows of a part: one file of each table, each of which appears whole or not at all.

        Args:
            part_id: of the training, claimed before.
            number: of the files, from 0.
            steps: one row per recorded step.
            layers: one row per recorded step and layer.

        Raises:
            MachineError: the machine said no; files written before are kept.
            ValueError: a file of this number stands there.
        """
        for table, rows in (("layers", layers), ("steps", steps)):
            target = self._file(table, f"{part_id}-{number:04d}")
            if target.exists():
                raise ValueError(f"{target} is written already")
            write_table(target, rows)

    def replace_trials(self, part_id: str, trials: pa.Table) -> None:
        """Put a part's trials in place of those that stood there before, in one step.

        Readers of the whole folder take its columns from one file: so settings that only some trainings have are
        columns of all parts, those of others included, null where there is nothing to say.

        Raises:
            MachineError: the machine said no; what stood there is kept.
        """
        target = self._file("trials", part_id)
        with self._locked():
            if target.exists():
                # Others may have given it further columns.
                standing = from_part(target, "trials", lambda file: file.schema_arrow)
                known = [] if isinstance(standing, Skipped) else [standing]
                write_table(target, conformed(trials, united_schema([trials.schema, *known])))
                return
            found = {path: read_part(path, "trials", None) for path in self.directory.parts("trials")}
            others = {path: rows for path, rows in found.items() if not isinstance(rows, Skipped)}
            wanted = united_schema([trials.schema, *(other.schema for other in others.values())])
            for path, other in others.items():
                if not wanted.equals(united_schema([other.schema])):
                    write_table(path, conformed(other, wanted))
            write_table(target, conformed(trials, wanted))

    def update_info(self, facts: Mapping[str, Any]) -> None:
        """Add facts to `run.json`, in one step; mappings are merged, whatever other recorders write at the same time.

        Raises:
            MachineError: the machine said no.
        """
        with self._locked():
            self.directory.write_info(_merged(self.directory.read_info(), facts))

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.path, wait=True)

    def _file(self, table: str, name: str) -> Path:
        return self.path / table / f"{name}.parquet"

    def _remove(self, part_id: str) -> None:
        """Remove a part: its trials first, so that no reader finds a trial without its rows."""
        for table in _TABLES:
            number = "" if table == "trials" else r"(-\d{4,})?"
            own = re.compile(rf"\.?{re.escape(part_id)}{number}\.parquet(\.\d+\.tmp)?")
            for name in os.listdir(self.path / table):
                if own.fullmatch(name):
                    with contextlib.suppress(FileNotFoundError):
                        (self.path / table / name).unlink()

    def _check_place(self) -> None:
        if is_something(self.path) and not is_run_directory(self.path):
            raise UsageError(f"{self.path} is no run directory of gradlab; choose another folder (out=)")
        for parent in self.path.absolute().parents:
            if is_run_directory(parent):
                raise UsageError(f"{self.path} is in the run directory {parent}; choose another folder (out=)")

    def _check_ours(self) -> None:
        info = self.directory.read_info()
        if not info.get(WATCHED):
            raise UsageError(
                f"{self.path} is a run directory that gradlab.watch did not make; choose another folder (out=)"
            )
        if reason := unreadable_version(info.get("schema_version", SCHEMA_VERSION)):
            raise UsageError(f"{self.path} {reason}, or choose another folder (out=)")


def _merged(known: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(known)
    for key, value in facts.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
