"""Driving gradlab as a user does, and reading what it left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml
from typer.testing import CliRunner

from gradlab.commands.application import app
from gradlab.store.tables import OPTIONAL, TABLES

COMMAND = shutil.which("gradlab", path=str(Path(sys.executable).parent)) or "gradlab"

KEYS = {
    "trials": ["trial_id"],
    "steps": ["trial_id", "step"],
    "layers": ["trial_id", "step", "layer"],
    "regions": ["trial_id", "step", "kind", "x", "y"],
}


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    stdout: str
    stderr: str


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what changes the look of output."""
    hidden = {"NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "COLUMNS", "LINES", "TTY_COMPATIBLE", "PYTHONWARNINGS"}
    return {key: value for key, value in os.environ.items() if key not in hidden} | changes


def invoke(*arguments: str | Path) -> Answer:
    """A command in this process: quick, where no process of its own is needed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=dict.fromkeys(["NO_COLOR"], "1"))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def gradlab(*arguments: str | Path, cwd: Path | None = None, **changes: str) -> Answer:
    """The installed command in a process of its own."""
    done = subprocess.run(  # noqa: S603
        [COMMAND, *map(str, arguments)], cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=60
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """The installed command, started in a session of its own, as a terminal would."""
    return subprocess.Popen(  # noqa: S603
        [COMMAND, *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def write_config(folder: Path, text: str | dict[str, Any], name: str = "config.yaml") -> Path:
    """A config in `folder`, from YAML text or from a dict."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(textwrap.dedent(text) if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
    return path


def train(config: Path, out: Path, *options: str, code: int = 0) -> Path:
    """`gradlab run` in this process; the run directory."""
    answer = invoke("run", config, "--out", out, "--quiet", *options)
    assert answer.code == code, answer.stderr
    return only_run(out)


def only_run(out: Path) -> Path:
    """The one run directory in `out`."""
    (found,) = (path for path in out.iterdir() if not path.name.startswith("."))
    return found


def read(run: Path, table: str) -> pd.DataFrame:
    """A table of a run as anyone reads it, in the order of its keys; without rows where the run has no such table."""
    if table in OPTIONAL and not any((run / table).glob("*.parquet")):
        return pa.schema(TABLES[table].items()).empty_table().to_pandas()
    return pd.read_parquet(run / table).sort_values(KEYS[table], ignore_index=True)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Both tables hold the same rows, to the last bit."""
    ignored = ["run"]
    pd.testing.assert_frame_equal(
        one.drop(columns=ignored, errors="ignore"), other.drop(columns=ignored, errors="ignore"), check_exact=True
    )


def same_runs(one: Path, other: Path) -> None:
    """All tables of both runs hold the same rows, to the last bit."""
    for table in KEYS:
        same(read(one, table), read(other, table))


def identities(run: Path) -> dict[str, tuple[int, int]]:
    """Part file -> inode and time of its last change."""
    return {
        str(path.relative_to(run)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in run.glob("*/*.parquet")
    }


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Poll until the condition holds; the process must not end before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the process ended too early: " + "".join(process.communicate())
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def parts(out: Path, table: str = "trials") -> Sequence[Path]:
    """The finished part files of the runs in `out`; a folder that is being made, .NAME, may be gone in a moment."""
    return list(out.glob(f"[!.]*/{table}/[!.]*.parquet"))
