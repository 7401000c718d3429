"""The same config on the code of another git revision, in a copy of its tree beside this one."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradlab.errors import BaselineError
from gradlab.store.atomic import machine_errors


@dataclass(frozen=True)
class Tree:
    """The files of a revision.

    Attributes:
        root: the folder that holds them.
        config: the config, as it is now, at its place among them.
        folder: what corresponds to the folder that the command runs in.
        environment: environment variables with which Python imports from these files first.
    """

    root: Path
    config: Path
    folder: Path
    environment: Mapping[str, str]


def measure_at(revision: str, config: Path, arguments: Sequence[str]) -> str:
    """The text of the baseline that `gradlab check` makes of a config with the code of `revision`.

    Whatever Python finds in the repository (a factory beside the config, a package, gradlab itself) comes from the
    revision; the config itself does not, so that both sides train the same networks.

    Args:
        arguments: further options of `gradlab check`.

    Raises:
        BaselineError: there is no repository or no such revision, or its code could not be measured.
    """
    with _tree(revision, config) as tree:
        baseline = tree.root / ".gradlab-baseline.json"
        command = [sys.executable, "-m", "gradlab", "check", str(tree.config), "--baseline", str(baseline)]
        command += ["--update", "--force", "--quiet", *arguments]
        done = subprocess.run(  # noqa: S603
            command, cwd=tree.folder, env=dict(tree.environment), capture_output=True, text=True, check=False
        )
        if done.returncode or not baseline.exists():
            told = done.stderr.strip().replace(str(tree.root), revision) or f"exit code {done.returncode}"
            raise BaselineError(f"the code of {revision} could not be measured: {told}")
        return baseline.read_text(encoding="utf-8")


@contextmanager
def _tree(revision: str, config: Path) -> Iterator[Tree]:
    top = Path(_git(config.resolve().parent, "rev-parse", "--show-toplevel").decode().strip()).resolve()
    try:
        commit = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except BaselineError:
        remedy = "in GitHub Actions, check out with `fetch-depth: 0`"
        raise BaselineError(f"--base-ref {revision}: no such revision in {top}; {remedy}") from None
    with machine_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="gradlab-") as folder:
        root = Path(folder).resolve()
        with tarfile.open(fileobj=io.BytesIO(_git(top, "archive", "--format=tar", commit.decode().strip()))) as archive:
            archive.extractall(root, filter="data")
        place = root / config.resolve().relative_to(top)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(config, place)
        here = Path.cwd().resolve()
        yield Tree(root, place, _moved(here, top, root) or root, _environment(top, root))


def _environment(top: Path, root: Path) -> dict[str, str]:
    """This process's environment, but Python looks for modules among the revision's files first."""
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    moved = [str(_moved(Path(entry).resolve(), top, root) or entry) for entry in entries]
    first = [str(folder) for folder in (root, root / "src") if folder.is_dir()]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*first, *moved])}


def _moved(path: Path, top: Path, root: Path) -> Path | None:
    """The place among the revision's files that corresponds to `path`; None outside the repository."""
    if not path.is_relative_to(top):
        return None
    moved = root / path.relative_to(top)
    return moved if moved.is_dir() else None


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *arguments],  # noqa: S607
            capture_output=True,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        )
    except FileNotFoundError:
        raise BaselineError("--base-ref needs git, which is not installed") from None
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip() or f"git {arguments[0]} failed"
        raise BaselineError(f"--base-ref: {told}")
    return done.stdout
