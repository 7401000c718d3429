"""The pytest plugin in test suites of its users: real runs of pytest, warnings being errors."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.commands import environment, gradlab, write_config

pytestmark = pytest.mark.slow  # every test starts pytest, and torch in it

CONFIG = """
    data: {name: moons, n_samples: 60}
    model: {family: custom, factory: "nets:make", kwargs: {width: 8}}
    train: {steps: 6, batch_size: 24, lr: 0.1}
    record: {every: 3, probe: 24}
    """

NETS = """
    import torch
    from torch import nn

    GAIN = 1.0

    def make(in_features, out_features, width):
        layers = [nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
        model = nn.Sequential(*layers, nn.Linear(width, out_features))
        with torch.no_grad():
            model[2].weight.mul_(GAIN)
        return model

    def fresh():
        return make(2, 2, 8)

    def batch():
        g = torch.Generator().manual_seed(0)
        return torch.randn(16, 2, generator=g), torch.randint(0, 2, (16,), generator=g)
    """

SUITE = """
    import pytest
    import torch
    from torch.nn.functional import cross_entropy

    import gradlab
    import nets

    def test_fixture(gradlab_check):
        gradlab_check("configs/ci.yaml", "baselines/ci.json")

    def test_other_settings(gradlab_check):
        gradlab_check("configs/ci.yaml", "baselines/wide.json", overrides=["model.kwargs.width=12"])

    def test_function(request):
        path = request.config.rootpath / "baselines" / "function.json"
        gradlab.check_gradients(nets.fresh, nets.batch(), cross_entropy, path)
    """

PATIENT = """
    import torch

    def test_fresh_seeds(gradlab_check):
        gradlab_check("configs/ci.yaml", "baselines/ci.json", seeds_from=100)

    def test_inconclusive(gradlab_check):
        tight = [f"check.{name}=1.0001" for name in ("weight_grad_norm", "delta_rms", "activation_rms")]
        gradlab_check("configs/ci.yaml", "baselines/ci.json", seeds_from=100, overrides=tight)

    def test_the_process_stays_as_it_is(gradlab_check):
        threads, state = torch.get_num_threads(), torch.random.get_rng_state()
        gradlab_check("configs/ci.yaml", "baselines/ci.json")
        assert torch.get_num_threads() == threads == 2
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_another_config(gradlab_check):
        gradlab_check("configs/ci.yaml", "baselines/ci.json", overrides=["train.steps=7"])

    def test_a_config_with_a_typo(gradlab_check):
        gradlab_check("configs/ci.yaml", "baselines/ci.json", overrides=["model.dept=7"])

    def test_a_patch_is_seen(gradlab_check, monkeypatch):
        monkeypatch.setattr("nets.GAIN", 3.0)
        gradlab_check("configs/ci.yaml", "baselines/ci.json")

    def test_a_failing_factory(gradlab_check, monkeypatch):
        monkeypatch.delattr("nets.make")
        gradlab_check("configs/ci.yaml", "baselines/ci.json")
    """

THREADS = """
    import torch

    torch.set_num_threads(2)
    """


@dataclass(frozen=True)
class Run:
    """A finished run of pytest: its exit code, what it said, and test -> the message of its failure (empty: passed)."""

    code: int
    said: str
    failures: Mapping[str, str]


def run_pytest(folder: Path, *arguments: str, **changes: str) -> Run:
    """pytest in a process of its own, as in a terminal."""
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}", *arguments]
    hidden = {"CI", "GRADLAB_UPDATE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"}
    variables = {key: value for key, value in environment(**changes).items() if key not in hidden or key in changes}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120)  # noqa: S603
    failures = {}
    if report.exists():
        for case in ET.parse(report).iter("testcase"):  # noqa: S314  pytest's own file
            failures[case.attrib["name"]] = "".join(found.text or "" for found in case if found.tag == "failure")
    return Run(done.returncode, done.stdout + done.stderr, failures)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a config, a model and tests, without baselines."""
    folder = tmp_path_factory.mktemp("suite")
    write_config(folder, "[pytest]\nfilterwarnings = error\n", "pytest.ini")
    write_config(folder / "configs", CONFIG, "ci.yaml")
    write_config(folder, NETS, "nets.py")
    write_config(folder, SUITE, "test_gradients.py")
    write_config(folder, THREADS, "conftest.py")
    return folder


@pytest.fixture(scope="module")
def updated(suite: Path) -> Path:
    """The same after `pytest --gradlab-update`, on two processes."""
    done = run_pytest(suite, "--gradlab-update", "-n", "2", "test_gradients.py")
    assert done.code == 0, done.said
    return suite


def test_without_baselines_tests_fail_with_the_remedy(suite: Path, tmp_path: Path) -> None:
    for name in ("configs/ci.yaml", "nets.py", "test_gradients.py", "pytest.ini"):
        write_config((tmp_path / name).parent, (suite / name).read_text(), Path(name).name)
    done = run_pytest(tmp_path, "-k", "fixture or function")
    assert done.code == 1
    assert set(done.failures) == {"test_fixture", "test_function"}
    for message in done.failures.values():
        assert "there is no such baseline" in message
        assert "pytest --gradlab-update" in message
    assert "Traceback" not in done.failures["test_fixture"]
    assert "another exception" not in done.said
    assert not (tmp_path / "baselines").exists()


def test_an_update_writes_what_the_command_writes(updated: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in (updated / "baselines").iterdir()) == ["ci.json", "function.json", "wide.json"]
    config, own = updated / "configs" / "ci.yaml", tmp_path / "own.json"
    answer = gradlab("check", config, "--baseline", own, "--update", "--force", PYTHONPATH=str(updated))
    assert answer.code == 0, answer.stderr
    written = json.loads((updated / "baselines" / "ci.json").read_text())
    assert written == json.loads(own.read_text())


def test_unchanged_code_passes(updated: Path) -> None:
    done = run_pytest(updated, "test_gradients.py", CI="true")
    assert done.code == 0, done.said
    assert done.failures == {"test_fixture": "", "test_other_settings": "", "test_function": ""}


def test_a_planted_bug_fails_with_the_report_from_other_processes_too(updated: Path) -> None:
    sound = (updated / "nets.py").read_text()
    try:
        (updated / "nets.py").write_text(sound.replace("GAIN = 1.0", "GAIN = 0.25"))
        done = run_pytest(updated, "-n", "2", "test_gradients.py")
    finally:
        (updated / "nets.py").write_text(sound)
    assert done.code == 1
    assert len(done.failures) == 3
    for message in done.failures.values():
        assert "regression: " in message
        assert "layer 2's weights start 4x smaller" in message
        assert "weight_norm" in message
    assert "gate.py" not in done.failures["test_fixture"], "the report, not a traceback"
    assert "guard.py" not in done.failures["test_function"]


def test_settings_seeds_patches_and_faults(updated: Path) -> None:
    write_config(updated, PATIENT, "test_patient.py")
    done = run_pytest(updated, "-W", "default::gradlab.InconclusiveWarning", "test_patient.py")
    messages = done.failures
    passing = ("test_fresh_seeds", "test_inconclusive", "test_the_process_stays_as_it_is")
    assert {name: messages.pop(name) for name in passing} == dict.fromkeys(passing, ""), done.said
    assert "InconclusiveWarning: inconclusive: " in done.said
    assert "test_patient.py:9" in done.said
    assert "another config" in messages.pop("test_another_config")
    assert "did you mean 'model.depth'" in messages.pop("test_a_config_with_a_typo")
    assert "layer 2's weights start 3x larger" in messages.pop("test_a_patch_is_seen")
    assert "nets has no function 'make'" in messages.pop("test_a_failing_factory")
    assert not messages


def test_a_ci_system_updates_nothing(updated: Path) -> None:
    before = (updated / "baselines" / "ci.json").read_bytes()
    refused = run_pytest(updated, "--gradlab-update", "test_gradients.py", CI="true")
    assert refused.code == pytest.ExitCode.USAGE_ERROR
    assert "--gradlab-update: where CI is set" in refused.said
    by_variable = run_pytest(updated, "-k", "fixture", "test_gradients.py", CI="true", GRADLAB_UPDATE="1")
    assert "where CI is set" in by_variable.failures["test_fixture"]
    assert (updated / "baselines" / "ci.json").read_bytes() == before


def test_the_plugin_costs_nothing_where_it_is_not_used() -> None:
    heavy = "('torch', 'numpy', 'pandas', 'pydantic', 'rich', 'typer')"
    program = f"import sys, gradlab.pytest_plugin; assert not [name for name in {heavy} if name in sys.modules]"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)  # noqa: S603
