"""What is quick must stay quick: torch is only imported where something is trained or predicted."""

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
heavy = [name for name in ("torch", "sklearn", "matplotlib") if name in sys.modules]
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["run", "--help"],
        ["schema"],
        ["init", "{new}"],
        ["run", "{config}", "--dry-run"],
        ["run", "{config}", "--dry-run", "--json"],
        ["show", "{run}"],
        ["compare", "{run}"],
    ],
    ids=" ".join,
)
def test_torch_is_not_imported(command: list[str], finished: Finished, tmp_path: Path) -> None:
    names = {"new": tmp_path / "new.yaml", "config": finished.config, "run": finished.path}
    arguments = [word.format(**names) for word in command]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60)  # noqa: S603
    assert done.returncode == 0, done.stderr
