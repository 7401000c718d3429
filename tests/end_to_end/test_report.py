"""`gradlab report` as a user meets it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.commands import invoke
from tests.end_to_end.conftest import Finished

ALONE = """
import sys

class Blocker:
    def find_spec(self, name, *_):
        assert name.split(".")[0] not in {"torch", "sklearn", "matplotlib"}, name

sys.meta_path.insert(0, Blocker())
from gradlab.cli import main
main()
"""
"""The command in an interpreter in which nothing heavy can be imported."""


def test_a_page_with_all_groups(finished: Finished, tmp_path: Path) -> None:
    page = tmp_path / "new" / "out.html"
    answer = invoke("report", finished.path, "-o", page)
    assert (answer.code, answer.stdout) == (0, f"{page}\n")
    text = page.read_text(encoding="utf-8")
    groups = len(json.loads(invoke("compare", finished.path, "--json").stdout)["groups"])
    figures = len(re.findall("<figure", text))
    assert figures > 0
    assert f"written: {page} ({groups} groups, {figures} figures)" in answer.stderr
    assert len(re.findall("<tr data-group", text)) == groups
    assert f"gradlab report {finished.path} -o {page}" in text
    assert [path.name for path in page.parent.iterdir()] == ["out.html"]


def test_torch_is_not_imported_and_nothing_warns(finished: Finished, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", ALONE, "report", str(finished.path), "--quiet", "-o", "page.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (0, "page.html\n", "")


def test_json_says_what_was_written(finished: Finished, tmp_path: Path) -> None:
    answer = invoke("report", finished.path, "-o", tmp_path / "a.html", "--json", "--quiet")
    assert (answer.code, answer.stderr) == (0, "")
    told = json.loads(answer.stdout)
    assert (told["path"], told["files"]) == (str(tmp_path / "a.html"), [])
    assert len(set(told["figures"])) == len(told["figures"]) > 0


def test_figures_beside_it(finished: Finished, tmp_path: Path) -> None:
    where = "activation == 'relu' and depth == depth"
    folder = tmp_path / "drawn"
    answer = invoke("report", finished.path, "-o", tmp_path / "a.html", "--figures", folder, "--where", where, "--json")
    told = json.loads(answer.stdout)
    assert [Path(file).name for file in told["files"]] == [
        f"{name}.{ending}" for name in told["figures"] for ending in ("png", "svg", "csv")
    ]
    assert sorted(file.name for file in folder.iterdir()) == sorted(Path(file).name for file in told["files"])
    assert f"{len(told['files'])} files in {folder}" in answer.stderr
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "--where &#x27;activation ==" in text, "the page names the command that made it"


def test_where_chooses_trials(finished: Finished, tmp_path: Path) -> None:
    compared = json.loads(invoke("compare", finished.path, "--where", "seed == 0", "--json").stdout)
    answer = invoke("report", finished.path, "-o", tmp_path / "a.html", "--where", "seed == 0", "--json")
    assert json.loads(answer.stdout)["groups"] == len(compared["groups"])
    none = invoke("report", finished.path, "-o", tmp_path / "b.html", "--where", "seed > 1000")
    assert none.code == 2
    assert none.stderr.startswith("error: --where seed > 1000: none of ")
    assert not (tmp_path / "b.html").exists()


def test_what_is_there_is_replaced_but_never_a_folder(finished: Finished, tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text("older")
    assert invoke("report", finished.path, "-o", page).code == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    answer = invoke("report", finished.path, "-o", tmp_path)
    assert (answer.code, answer.stderr) == (2, f"error: {tmp_path} is a folder; name a file with --output\n")


@pytest.mark.parametrize("inside", ["", "layers/"])
def test_a_run_directory_holds_tables_only(inside: str, finished: Finished) -> None:
    page = finished.path / f"{inside}report.html"
    answer = invoke("report", finished.path, "-o", page)
    assert answer.code == 2
    assert answer.stderr.startswith(f"error: {page} is in the run directory {finished.path}")
    assert not page.exists()


def test_no_runs_and_no_permission(finished: Finished, tmp_path: Path) -> None:
    missing = invoke("report", tmp_path / "nowhere", "-o", tmp_path / "a.html")
    assert missing.code == 2
    assert "no run directory found" in missing.stderr
    (tmp_path / "file").write_text("")
    blocked = invoke("report", finished.path, "-o", tmp_path / "file" / "a.html")
    assert blocked.code == 5
    assert blocked.stderr.startswith(f"error: {tmp_path / 'file'}: ")
