"""Fuzz one target, led by the code that is covered: `python -m tests.fuzz.run TARGET [libFuzzer's options] CORPUS`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris


def main() -> None:
    """Fuzz until the options say stop; whatever a reader raises that is none of gradlab's errors ends it."""
    with atheris.instrument_imports(include=["gradlab.config", "gradlab.store", "gradlab.engine", "yaml", "zipfile"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as folder:
        atheris.Setup(sys.argv, lambda content: target(Path(folder), content))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
