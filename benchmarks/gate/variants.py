"""The guarded project after a change of its code: a clean project and the edits that somebody makes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

PROJECT = HERE / "project"
"""Three networks in plain PyTorch, their data, and their configs; `built_in_*.yaml` are the same networks again."""

NETWORKS = ("mlp", "residual", "cnn")
"""What is guarded, each by the config of its name."""


@dataclass(frozen=True)
class Edit:
    """Lines of a file that are replaced by others."""

    file: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """The file's text after the edit.

        Raises:
            ValueError: the lines are not there, or more than once: the edit was written for other code.
        """
        old, new = (f"\n{lines}\n" if lines else "\n" for lines in (self.old, self.new))
        if text.count(old) != 1:
            raise ValueError(f"{self.file} has not once, but {text.count(old)} times:\n{self.old}")
        return text.replace(old, new)


@dataclass(frozen=True)
class Variant:
    """The project with one network changed.

    Attributes:
        kind: what sort of change it is; variants of one kind differ in where it is made.
        network: whose config checks it.
    """

    kind: str
    network: str
    edits: tuple[Edit, ...]

    def write(self, folder: Path) -> Path:
        """Write the changed project to an empty folder; returns the config that checks it."""
        shutil.copytree(PROJECT, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for edit in self.edits:
            path = folder / edit.file
            path.write_text(edit.apply(path.read_text()))
        return folder / f"{self.network}.yaml"


def bugs() -> list[Variant]:
    """Everything in `bugs.diff`."""
    return list(_read(HERE / "bugs.diff"))


def refactors() -> list[Variant]:
    """Everything in `refactors.diff`."""
    return list(_read(HERE / "refactors.diff"))


def _read(path: Path) -> Iterator[Variant]:
    """The variants of a file: `# kind: network`, then hunks of a unified diff, each below `@@ file`."""
    for section in f"\n{path.read_text()}".split("\n# ")[1:]:
        heading, *hunks = section.split("\n@@ ")
        kind, network = heading.strip().split(": ")
        yield Variant(kind, network, tuple(map(_edit, hunks)))


def _edit(hunk: str) -> Edit:
    file, *lines = hunk.rstrip("\n").split("\n")
    old, new = ("\n".join(line[1:] for line in lines if not line.startswith(sign)) for sign in "+-")
    return Edit(file, old, new)
