"""What makes the check easy to use in CI: the composite action, the pre-commit hook, the page about it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from gradlab import errors
from gradlab.config.schema import Check
from tests.end_to_end.commands import COMMAND, Answer, environment, gradlab, write_config

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
PAGE = (ROOT / "docs" / "ci.md").read_text()

CONFIG = """
    name: tiny
    data: {name: moons, n_samples: 60}
    model: {depth: 2, width: 5, activation: tanh}
    train: {steps: 6, batch_size: 10}
    record: {every: 3, probe: 16}
    check: {seeds: 9}
    """


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A committed project with a config and its baseline."""
    folder = tmp_path_factory.mktemp("repository")
    write_config(folder / "configs", CONFIG, "ci.yaml")
    made = gradlab("check", "configs/ci.yaml", "--baseline", "baselines/ci.json", "--update", cwd=folder, CI="")
    assert made.code == 0, made.stderr
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@b.example commit -q -m start"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)  # noqa: S603, S607
    return folder


@pytest.fixture
def project(repository, tmp_path):
    """A copy of it that may be changed."""
    return shutil.copytree(repository, tmp_path / "project")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def bash(script, folder, **changes):
    """A script as GitHub runs it, with the installed command in reach."""
    path = f"{Path(COMMAND).parent}:{environment()['PATH']}"
    done = subprocess.run(  # noqa: S603
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],  # noqa: S607
        cwd=folder,
        env=environment(**({"PATH": path} | changes)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def step(name):
    (found,) = (step for step in ACTION["runs"]["steps"] if step.get("name") == name)
    return found


def evaluated(expression, inputs):
    """What GitHub makes of `${{ inputs.x }}` and `${{ github.action_path }}`."""
    context = {f"inputs.{name}": value.get("default", "") for name, value in ACTION["inputs"].items()}
    context |= {f"inputs.{name}": value for name, value in inputs.items()} | {"github.action_path": str(ROOT)}
    return re.sub(r"\$\{\{ (\S+) \}\}", lambda found: context[found[1]], expression)


def check(folder, changes=None, **inputs):
    """The action's check in a job."""
    checked = step("Check gradient statistics")
    inputs = {name.replace("_", "-"): value for name, value in inputs.items()}
    assert inputs.keys() <= ACTION["inputs"].keys()
    settings = {name: evaluated(expression, inputs) for name, expression in checked["env"].items()}
    return bash(checked["run"], folder, **settings, CI="true", **(changes or {}))


def installed(tmp_path, torch_is_there):
    """What the action's installation asks of pip, which only writes down what it is asked."""
    log, fake = tmp_path / "asked", tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {log}\ncase "$3" in show) exit {0 if torch_is_there else 1};; esac\n')
    fake.chmod(0o755)
    install = step("Install gradlab")
    settings = {name: evaluated(expression, {}) for name, expression in install["env"].items()}
    answer = bash(install["run"], tmp_path, **settings, PATH=f"{fake.parent}:{environment()['PATH']}")
    assert answer.code == 0, answer.stderr
    show, asked = log.read_text().splitlines()
    assert show == "-m pip show --quiet torch"
    return asked.split()


def test_nothing_is_interpolated_into_a_script():
    for one in ACTION["runs"]["steps"]:
        assert "${{" not in one.get("run", "")
        assert "run" not in one or one["shell"] == "bash"
    assert ACTION["runs"]["using"] == "composite"
    assert [name for name, value in ACTION["inputs"].items() if value.get("required")] == ["config"]
    used = "".join(map(str, ACTION["runs"]["steps"]))
    assert all(f"inputs.{name}" in used for name in ACTION["inputs"])


def test_python_is_set_up_only_where_asked():
    first = ACTION["runs"]["steps"][0]
    assert first["if"] == "inputs.python-version != ''"
    assert first["uses"].startswith("actions/setup-python@")


def test_the_action_installs_the_pinned_versions(tmp_path):
    asked = installed(tmp_path, torch_is_there=False)
    assert asked[:3] == ["-m", "pip", "install"]
    assert asked[-1] == str(ROOT)
    assert Path(asked[asked.index("--constraint") + 1]).is_file()


def test_the_action_leaves_the_jobs_own_libraries_alone(tmp_path):
    assert installed(tmp_path, torch_is_there=True) == ["-m", "pip", "install", "--quiet", str(ROOT)]


def test_the_action_passes_and_writes_what_is_asked_for(project):
    summary = project / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    answer = check(
        project,
        github,
        config="configs/ci.yaml",
        baseline="baselines/ci.json",
        junit="out/a b.xml",
        markdown="out/$(x).md",
        arguments="--set train.lr=0.05\n--workers 1",
    )
    assert answer.code == 0, answer.stderr
    assert answer.stdout.startswith("pass: ")
    assert "::" not in answer.stderr
    assert ElementTree.parse(project / "out" / "a b.xml").getroot().get("failures") == "0"  # noqa: S314
    assert (project / "out" / "$(x).md").read_text() == summary.read_text()


def test_the_action_fails_on_a_regression_and_says_where(project):
    file = project / "baselines" / "ci.json"
    known = json.loads(file.read_text())
    norms = known["networks"][0]["statistics"]["first"]["delta_rms"]
    norms["1"] = [40 * value for value in norms["1"]]
    file.write_text(json.dumps(known))
    summary = project / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    answer = check(project, github, config="configs/ci.yaml", baseline="baselines/ci.json", arguments="--json")
    assert answer.code == errors.EXIT_REGRESSION
    assert json.loads(answer.stdout)["verdict"] == "regression"
    first, last = (line for line in answer.stderr.splitlines() if line.startswith("::"))
    assert first.startswith("::error file=configs/ci.yaml,title=gradlab check%3A delta_rms::layer 1 ")
    assert "40x smaller" in last
    assert "40x smaller" in summary.read_text()


def test_the_action_compares_with_a_revision(project):
    answer = check(project, config="configs/ci.yaml", base_ref="HEAD")
    assert answer.code == 0, answer.stderr
    assert "against HEAD" in answer.stdout


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"config": "configs/ci.yaml", "baseline": "none.json"}, errors.EXIT_BASELINE),
        ({"config": "configs/ci.yaml"}, errors.EXIT_USAGE),
        ({"config": "configs/ci.yaml", "baseline": "baselines/ci.json", "arguments": "--update"}, errors.EXIT_USAGE),
        ({"config": "\"; touch pwned; $(touch pwned) `touch pwned` '", "baseline": "b"}, errors.EXIT_USAGE),
        ({"config": "--help", "baseline": "b"}, errors.EXIT_USAGE),
        ({"config": "configs/ci.yaml", "baseline": "$(touch pwned)"}, errors.EXIT_BASELINE),
        ({"config": "configs/ci.yaml", "base_ref": "--output=pwned"}, errors.EXIT_BASELINE),
        (
            {"config": "configs/ci.yaml", "baseline": "b", "arguments": "; touch pwned $(touch pwned)"},
            errors.EXIT_USAGE,
        ),
        ({"config": "configs/ci.yaml", "baseline": "b", "arguments": "*"}, errors.EXIT_USAGE),
    ],
)
def test_the_action_hands_inputs_on_as_they_are(project, inputs, code):
    answer = check(project, **inputs)
    assert answer.code == code, answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (project / "pwned").exists()


def test_the_hook_runs_the_installed_command():
    (hook,) = HOOKS
    assert (hook["id"], hook["language"], hook["pass_filenames"]) == ("gradlab-check", "python", False)
    command = hook["entry"].split()[0]
    assert command in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (repo,) = yaml.safe_load(next(block for block in blocks("yaml") if block.startswith("repos:")))["repos"]
    (used,) = repo["hooks"]
    assert used["id"] == hook["id"]
    # The same command is among those of the page, which tests/website/test_pages.py runs.
    assert f"{hook['entry']} {' '.join(used['args'])} " in blocks("sh")[0]


def test_the_page_tells_the_truth_about_settings_inputs_and_exit_codes():
    settings, workflow, _ = (yaml.safe_load(block) for block in blocks("yaml"))
    assert settings["check"] == Check().model_dump(exclude={"seeds"})
    checkout, used = workflow["jobs"]["gradients"]["steps"]
    assert checkout["uses"].startswith("actions/checkout@")
    assert used["with"].keys() <= ACTION["inputs"].keys()
    codes = {int(code) for code in re.findall(r"^\| (\d) \| ", PAGE, re.MULTILINE)}
    named = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert codes == {0, *named} - {errors.EXIT_INTERRUPTED}


def test_the_shipped_baseline_is_that_of_the_shipped_config():
    """gradlab guards itself: whatever machine and release of torch this is, the built-in networks are as they were."""
    answer = gradlab("check", "configs/ci.yaml", "--baseline", "baselines/ci.json", "--quiet", cwd=ROOT)
    assert answer.code == 0, answer.stdout + answer.stderr
    assert answer.stdout.startswith("pass: ")
