"""Fuzz one target, led by the code that is covered: `python -m tests.fuzz.run TARGET [libFuzzer's options] CORPUS`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

INSTRUMENTED = ["gradlab.config", "gradlab.store", "gradlab.engine", "yaml", "zipfile"]


def main() -> None:
    """Fuzz until the options say stop; whatever a reader raises that is none of gradlab's errors ends it."""
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with atheris.instrument_imports(include=INSTRUMENTED):
            from tests.fuzz.targets import TARGETS

            # What a target imports when it is first called takes longer than any file may.
            TARGETS[name](folder, b"")
        atheris.Setup(sys.argv, lambda content: TARGETS[name](folder, content))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
