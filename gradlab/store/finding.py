"""Where run directories are: at the paths that a user names, or in folders of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gradlab.errors import UsageError
from gradlab.store.opening import unreadable_version
from gradlab.store.run_info import read_run_info
from gradlab.store.rundir import CONFIG_NAME, INFO_NAME, RunDirectory, is_run_directory
from gradlab.store.tables import SCHEMA_VERSION


@dataclass(frozen=True)
class Skipped:
    """Something that was not read, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def find_runs(paths: Iterable[Path]) -> tuple[tuple[RunDirectory, ...], tuple[Skipped, ...]]:
    """The runs at `paths`, each a run directory or a folder of them (two levels deep), every run once.

    Runs of one directory name get labels that tell them apart.

    Raises:
        UsageError: there is no run at all.
    """
    found: dict[Path, Path] = {}
    skipped: list[Skipped] = []
    for path in paths:
        runs, misses = _search(Path(path))
        skipped += misses
        for run in runs:
            found.setdefault(run.resolve(), run)
    if not found:
        reasons = "".join(f"\n  {miss}" for miss in skipped)
        raise UsageError(
            f"no run directory found{':' if reasons else ''}{reasons}\n"
            "name a run directory or a folder of them, or make one with `gradlab run CONFIG`"
        )
    labels = _labels(list(found))
    return tuple(RunDirectory(path, label) for path, label in zip(found.values(), labels, strict=True)), tuple(skipped)


def find_run(path: Path) -> tuple[RunDirectory, tuple[Skipped, ...]]:
    """The one run at `path`.

    Raises:
        UsageError: there is none, or several.
    """
    runs, skipped = find_runs([path])
    if len(runs) > 1:
        raise UsageError(f"{path} holds {len(runs)} runs; name one, such as {runs[0].path}")
    return runs[0], skipped


def _search(path: Path) -> tuple[list[Path], list[Skipped]]:
    try:
        if not path.exists():
            return [], [Skipped(path, "does not exist")]
        if is_run_directory(path):
            return _readable(path)
        owner = next((parent for parent in path.absolute().parents if is_run_directory(parent)), None)
        if owner is not None:
            return [], [Skipped(path, f"is a part of the run directory {owner}; name that")]
        if not path.is_dir():
            return [], [Skipped(path, "is a file, not a run directory")]
        found: list[Path] = []
        skipped: list[Skipped] = []
        for child in _folders(path):
            runs = [run for run in ((child,) if is_run_directory(child) else _folders(child)) if is_run_directory(run)]
            if not runs:
                skipped.append(Skipped(child, f"is no run directory (it has no {CONFIG_NAME} with trials/ beside it)"))
            for run in runs:
                good, bad = _readable(run)
                found += good
                skipped += bad
    except OSError as error:
        return [], [Skipped(path, f"cannot be read ({error.strerror or error})")]
    return found, skipped if found or skipped else [Skipped(path, "holds no run directory")]


def _readable(path: Path) -> tuple[list[Path], list[Skipped]]:
    info = read_run_info(path / INFO_NAME)
    if reason := unreadable_version(info.facts.get("schema_version", SCHEMA_VERSION)):
        return [], [Skipped(path, reason)]
    return [path], [Skipped(path / INFO_NAME, info.fault)] if info.fault else []


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    except PermissionError:
        return []


def _labels(paths: list[Path]) -> list[str]:
    """The shortest ends of the resolved paths that are all different where the last parts aren't."""
    labels = [path.name for path in paths]
    length = 1
    while (repeated := {label for label, count in Counter(labels).items() if count > 1}) and length < 100:
        length += 1
        labels = [
            "/".join(path.parts[-length:]) if label in repeated else label
            for path, label in zip(paths, labels, strict=True)
        ]
    return labels
