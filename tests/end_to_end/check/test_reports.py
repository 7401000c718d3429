"""What `gradlab check` leaves for machines: JSON, JUnit, Markdown, GitHub Actions."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.end_to_end.check.project import LOST_GAIN, Project, change


def test_reports_in_files(project: Project) -> None:
    change(project, LOST_GAIN)
    junit, markdown = project.folder / "new" / "check.xml", project.folder / "new" / "check.md"
    rows = project.verdict("--junit", junit, "--markdown", markdown, code=1)["rows"]
    (suite,) = ElementTree.parse(junit).getroot().iter("testsuite")  # noqa: S314
    regressed = {row["statistic"] for row in rows if row["verdict"] == "regression"}
    assert {case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None} == regressed
    assert {case.get("name") for case in suite.iter("testcase")} == {row["statistic"] for row in rows}
    assert suite.get("failures") == str(len(regressed))
    lines = [line for line in markdown.read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + sum(row["verdict"] != "pass" for row in rows)


def test_a_report_that_can_t_be_written_is_the_machine_s_fault(made: Project, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for option in ("--junit", "--markdown"):
        assert made.check(option, tmp_path / "file" / "report").code == 5


def test_github_actions_gets_annotations_and_a_summary(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = project.folder / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.folder))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    change(project, LOST_GAIN)
    answer = project.check("--json")
    assert answer.code == 1
    rows = json.loads(answer.stdout)["rows"]
    annotations = [line for line in answer.stderr.splitlines() if line.startswith("::")]
    assert len(annotations) == 10, "GitHub drops the rest in silence"
    assert all(line.startswith("::error file=gradlab.yaml,") for line in annotations)
    regressed = sum(row["verdict"] == "regression" for row in rows)
    assert f"{regressed} " in annotations[-1]
    assert summary.read_text().startswith("before\n")
    assert "5x smaller" in summary.read_text()


def test_workers_make_no_difference(project: Project) -> None:
    change(project, LOST_GAIN)
    assert project.verdict("--workers", "2", code=1) == project.verdict(code=1)
