"""`gradlab check --base-ref`: the same config on the code of another git revision, here and now."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.check.project import CONFIG, MODEL, SEEDS, Project, change
from tests.end_to_end.commands import Answer, invoke, write_config

BLOCKS = f"blocks_{uuid.uuid4().hex[:8]}"
"""The project's package: under a name of its own, since this process keeps what it has imported."""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)


def against(reference: str, config: Path, *options: str) -> Answer:
    answer = invoke("check", config, f"--base-ref={reference}", "--workers", "1", *options)
    assert "Traceback" not in answer.stderr
    return answer


def verdict(reference: str, config: Path, *options: str, code: int) -> dict[str, Any]:
    answer = against(reference, config, "--json", *options)
    assert answer.code == code, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository in whose last commit the package beside the model has lost a gain; the config is in a folder."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text("__pycache__\n")
    write_config(folder, CONFIG, "gradlab.yaml")
    (folder / "model.py").write_text(MODEL.replace("GAIN = 1.0", f"from {BLOCKS}.gains import GAIN"))
    (folder / BLOCKS).mkdir()
    (folder / BLOCKS / "__init__.py").write_text("")
    (folder / BLOCKS / "gains.py").write_text("GAIN = 1.0\n")
    commit(folder, "as it should be")
    (folder / BLOCKS / "gains.py").write_text("GAIN = 0.2\n")
    commit(folder, "a bug")
    return Project(folder)


@pytest.fixture
def repository(history: Project, tmp_path: Path) -> Project:
    """A copy of it, to be changed."""
    return Project(Path(shutil.copytree(history.folder, tmp_path / "project")))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go, here and in processes that are started; gradlab leaves none there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    assert list(folder.glob("gradlab*")) == []


def test_a_bug_of_the_last_commit(history: Project, temporary: Path) -> None:
    answer = against("HEAD~1", history.config)
    assert answer.code == 1, answer.stderr
    assert answer.stdout.startswith("regression: ")
    assert "HEAD~1" in answer.stdout
    assert "layer 2's weights start 5x smaller" in answer.stdout
    assert git(history.folder, "status", "--porcelain") == ""
    assert len(git(history.folder, "worktree", "list").splitlines()) == 1


def test_nothing_has_changed_since_the_last_commit(history: Project) -> None:
    """Overrides and fresh seeds hold for both sides."""
    found = verdict("HEAD", history.config, "--set", "train.lr=0.3", "--seeds-from", "40", code=0)
    assert found["verdict"] == "pass"
    assert found["baseline"] == "HEAD"
    assert found["paired"] is True
    assert found["seeds"]["baseline"] == found["seeds"]["now"] == list(range(40, 40 + SEEDS))


def test_a_change_that_isn_t_committed_yet(repository: Project) -> None:
    change(repository, ("mul_(GAIN)", "mul_(3 * GAIN)"))
    (row, *_) = (row for row in verdict("HEAD", repository.config, code=1)["rows"] if row["statistic"] == "weight_norm")
    assert row["ratio"] == pytest.approx(3, rel=1e-3)


def test_a_config_that_isn_t_in_git(history: Project, repository: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written for this check, in a folder that the revision hasn't got; named from within it."""
    folder = repository.folder / "configs" / "new"
    write_config(folder, CONFIG.replace("model.py:make", "../../model.py:make"), "mine.yaml")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(repository.folder))
    assert against("HEAD~1", Path("mine.yaml")).code == 1


def test_a_package_under_src(repository: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an editable installation, the package is found outside the config's folder."""
    package = f"src_{BLOCKS}"
    (repository.folder / "src" / package).mkdir(parents=True)
    module = repository.folder / "src" / package / "model.py"
    module.write_text(MODEL)
    (repository.folder / "gradlab.yaml").write_text(
        repository.config.read_text().replace("model.py:", f"{package}.model:")
    )
    commit(repository.folder, "a package")
    module.write_text(MODEL.replace("GAIN = 1.0", "GAIN = 4.0"))
    monkeypatch.syspath_prepend(str(repository.folder / "src"))
    monkeypatch.setenv("PYTHONPATH", str(repository.folder / "src"))
    (row, *_) = (row for row in verdict("HEAD", repository.config, code=1)["rows"] if row["statistic"] == "weight_norm")
    assert row["ratio"] == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("reference", ["no-such-branch", "HEAD~99", "--help", "-x", "HEAD:model.py", ""])
def test_a_revision_that_there_isn_t(reference: str, history: Project, temporary: Path) -> None:
    answer = against(reference, history.config)
    assert (answer.code, answer.stdout) == (3, "")
    assert "fetch-depth: 0" in answer.stderr


def test_a_config_outside_of_any_repository(made: Project) -> None:
    answer = against("HEAD", made.config)
    assert (answer.code, answer.stdout) == (3, "")
    assert "git" in answer.stderr


def test_code_that_didn_t_work_then(repository: Project, temporary: Path) -> None:
    """There is nothing to compare with, and so nothing passes."""
    model = (repository.folder / "model.py").read_text()
    (repository.folder / "model.py").write_text("raise RuntimeError('out of luck')")
    commit(repository.folder, "broken")
    (repository.folder / "model.py").write_text(model)
    answer = against("HEAD", repository.config)
    assert (answer.code, answer.stdout) == (3, "")
    assert "out of luck" in answer.stderr
    assert "HEAD" in answer.stderr
