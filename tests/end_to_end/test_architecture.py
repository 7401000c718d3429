"""The arrows between the packages run one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradlab

ROOT = Path(gradlab.__file__).parent

TABLE_WING = {"analysis", "store", "config", "errors"}
MAY_IMPORT = {
    "errors": set(),
    "printable": set(),
    "sighting": set(),
    "config": {"errors"},
    "theory": {"config"},
    "engine": {"theory", "config", "errors", "sighting"},
    "store": {"config", "errors"},
    "analysis": TABLE_WING | {"theory"},
    "report": TABLE_WING | {"printable", "sighting", "theory"},
    "export": TABLE_WING,
    "executors": {"errors"},
    "tabulate": TABLE_WING | {"engine"},
    "observe": TABLE_WING | {"engine"},
    "observe_run": TABLE_WING | {"engine", "observe"},
    "gate_run": TABLE_WING | {"observe_run"},
    "provenance": set(),
    "execution": {"config", "engine", "executors", "sighting"},
    "preparing": {"config", "engine", "errors", "execution", "executors"},
    "runner": TABLE_WING | {"engine", "execution", "interrupts", "preparing", "provenance", "tabulate"},
    "watching": TABLE_WING | {"engine", "provenance", "tabulate"},
    "revision": {"store", "errors"},
    "gate": TABLE_WING | {"engine", "execution", "observe", "revision", "runner"},
    "updating": set(),
    "guard": TABLE_WING | {"engine", "gate", "observe", "report", "updating"},
    "pytest_plugin": TABLE_WING | {"gate", "guard", "report", "runner", "updating"},
    "lightning": {"errors", "watching"},
    "huggingface": {"errors", "watching"},
    "terminal": {"errors", "printable", "store"},
    "commands": TABLE_WING
    | {"engine", "export", "gate", "gate_run", "interrupts", "printable", "report", "runner", "terminal"},
    "cli": {"commands", "interrupts", "terminal"},
    "interrupts": set(),
    "__main__": {"cli"},
}
"""Part -> the parts that it may import, beside itself and the version in `gradlab` itself."""

MAY_IMPORT_TORCH = {
    "engine",
    "provenance",
    "execution",
    "preparing",
    "runner",
    "gate",
    "guard",
    "pytest_plugin",
    "watching",
    "lightning",
    "huggingface",
}

MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield from (f"gradlab.{alias.name}" for alias in node.names) if module == "gradlab" else [module]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imports(path):
        top, _, rest = module.partition(".")
        if top == "gradlab":
            assert rest.split(".")[0] in MAY_IMPORT[part] | {part, "__version__"}, f"{part} imports {module}"
        if top == "torch":
            assert part in MAY_IMPORT_TORCH, f"{part} imports torch"
