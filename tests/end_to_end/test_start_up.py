"""What is quick must stay quick: torch is only imported where something is trained or predicted, pandas where tables
are read, scikit-learn and scipy, which take as long as torch, not for training and its summary."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Finished

PROGRAM = """
import sys
from gradlab.cli import main
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
heavy = [name for name in {heavy!r} if name in sys.modules]
assert not heavy, heavy
"""
LIGHT = ("torch", "pandas", "sklearn", "scipy", "matplotlib")
TABLES = ("torch", "sklearn", "matplotlib")
TRAINING = ("sklearn", "scipy", "matplotlib")


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        ("--help", LIGHT),
        ("run --help", LIGHT),
        ("schema", LIGHT),
        ("init {new}", LIGHT),
        ("run {config} --dry-run", LIGHT),
        ("run {config} --dry-run --json", LIGHT),
        ("show {run}", TABLES),
        ("compare {run}", TABLES),
        ("report {run} -o {new}", TABLES),
        ("run {config} --set train.steps=1 --set name=short --out {new}", TRAINING),
    ],
)
def test_what_is_heavy_is_not_imported(
    command: str, heavy: tuple[str, ...], finished: Finished, tmp_path: Path
) -> None:
    names = {"new": tmp_path / "new.yaml", "config": finished.config, "run": finished.path}
    arguments = [word.format(**names) for word in command.split()]
    program = PROGRAM.format(heavy=heavy)
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)  # noqa: S603
    assert done.returncode == 0, done.stderr
