"""A guarded project, its baseline, and copies of both to be changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.check.project import CONFIG, MODEL, Project
from tests.end_to_end.commands import gradlab, write_config


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project and its baseline, made by the installed command from another folder."""
    project = Project(tmp_path_factory.mktemp("check"))
    write_config(project.folder, CONFIG, "gradlab.yaml")
    (project.folder / "model.py").write_text(MODEL)
    answer = gradlab("check", project.config, "--baseline", project.baseline, "--update", CI="")
    assert (answer.code, answer.stdout) == (0, "")
    assert f"written: {project.baseline}" in answer.stderr
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """A copy of it, to be changed."""
    return Project(Path(shutil.copytree(made.folder, tmp_path / "project")))


@pytest.fixture(autouse=True)
def _outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
