"""The example repository as its user meets it: green as shipped, red for a bug, green for a refactor."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gradlab.store.measurement import SHARES
from tests.end_to_end.commands import Answer, environment, gradlab, invoke

EXAMPLE = Path(__file__).parents[2] / "examples" / "guarded-model"
CONFIG, BASELINE = "gradlab.yaml", "baselines/gradlab.json"

LAYERS = range(1, 11)
"""The stem, two layers in each of four blocks, the head."""

SEEDS = 12
IN_BLOCKS = range(2, 10)
WITH_ACTIVATION = (1, 2, 4, 6, 8)
START, MIDDLE = 0, 15

SAME_NETWORK = 1e-3
"""Largest relative difference of a mean that other kernels and processors make; measured: 1e-5. The check itself
forgives 25 %."""

Edits = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Bug:
    """A bug that somebody could make in `model.py`.

    Attributes:
        edits: what stood there, what stands there now.
        sentences: what is to be read on stdout: where along the network, and since when.
        first: statistic -> all the layers in which it regresses at the first step at which anything does.
        step: that step.
    """

    edits: Edits
    sentences: tuple[str, ...]
    first: dict[str, tuple[int, ...]]
    step: int


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example, to be edited."""
    copied = shutil.copytree(EXAMPLE, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(copied)


def check(project: Path, *options: str, **changes: str) -> Answer:
    """The check as the example's README has it, in a process of its own."""
    return gradlab("check", CONFIG, "--baseline", BASELINE, *options, cwd=project, **{"CI": ""} | changes)


def check_here(project: Path, *options: str) -> Answer:
    """The same in this process, which has imported torch already."""
    return invoke("check", project / CONFIG, "--baseline", project / BASELINE, *options)


def rows_of(answer: Answer) -> dict[tuple[str, int | None, int | None], dict[str, Any]]:
    """The rows of `--json` by statistic, layer and step."""
    return {(row["statistic"], row["layer"], row["step"]): row for row in json.loads(answer.stdout)["rows"]}


def edit(project: Path, edits: Edits) -> None:
    """Change the source text of the model, every place of it."""
    model = project / "model.py"
    text = model.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    model.write_text(text)


def test_green_as_shipped(project: Path) -> None:
    """On whatever machine and release of torch this runs: bits may differ, the networks don't."""
    answer = check(project, "--json")
    assert answer.code == 0, answer.stdout + answer.stderr
    found = json.loads(answer.stdout)
    assert found["verdict"] == "pass"
    assert found["paired"]
    assert_same_network(answer)


def test_green_on_kernels_that_round_otherwise(project: Path) -> None:
    answer = check(project, "--json", ATEN_CPU_CAPABILITY="default", MKL_CBWR="COMPATIBLE")
    assert answer.code == 0, answer.stdout + answer.stderr
    assert_same_network(answer)


def assert_same_network(answer: Answer) -> None:
    """Every mean is what it was but for rounding, so that the baseline leaves a wide margin to a false alarm."""
    rows = rows_of(answer).values()
    ratios, differences = ([row[kind] for row in rows if row[kind] is not None] for kind in ("ratio", "difference"))
    assert ratios
    assert differences
    np.testing.assert_allclose(ratios, 1, rtol=SAME_NETWORK)
    np.testing.assert_allclose(differences, 0, atol=SAME_NETWORK)


@pytest.mark.parametrize(
    ("ratio", "difference", "verdict"), [(1.2, 0.04, "pass"), (1.3, 0.0, "regression"), (1.0, 0.06, "regression")]
)
def test_what_the_baseline_forgives(ratio: float, difference: float, verdict: str, project: Path) -> None:
    """A baseline whose norms and losses are all off by a ratio, its shares by a difference, and each seed by some %."""
    random = np.random.default_rng(0)

    def moved(statistic: str, found: Any) -> Any:
        if isinstance(found, dict):
            return {layer: moved(statistic, values) for layer, values in found.items()}
        values, noise = np.broadcast_to(found, SEEDS), random.standard_normal(SEEDS)
        if statistic in SHARES:
            return np.clip(values + difference + 0.002 * noise, 0, 1).tolist()
        return (values * ratio * np.exp(0.02 * noise)).tolist()

    path = project / BASELINE
    content = json.loads(path.read_text())
    (network,) = content["networks"]
    network["statistics"] = {
        step: {statistic: moved(statistic, found) for statistic, found in statistics.items()}
        for step, statistics in network["statistics"].items()
    }
    path.write_text(json.dumps(content))
    answer = check_here(project)
    assert answer.stdout.startswith(f"{verdict}: ")


BUGS = {
    "lost gain": Bug(
        (('nonlinearity="relu"', 'nonlinearity="linear"'),),
        ("all weights start 1.4x smaller", "in every layer activations are 1.4x smaller", "it is there at step 0"),
        {"weight_norm": tuple(LAYERS), "activation_rms": WITH_ACTIVATION},
        START,
    ),
    "detached block": Bug(
        (("h = block(h)", "h = block(h.detach() if block is self.blocks[2] else h)"),),
        ("from layer 5 down the gradient is exactly 0 now", "it is there at step 0"),
        {"delta_rms": (1, 2, 3, 4, 5), "weight_grad_norm": (1, 2, 3, 4, 5), "update_ratio": (1, 2, 3, 4, 5)},
        START,
    ),
    "doubled residual": Bug(
        (("return h + self.scale", "return h + h + self.scale"),),
        ("in layers 2-9 the gradient is", "it is there at step 0"),
        {"delta_rms": tuple(IN_BLOCKS), "weight_grad_norm": tuple(IN_BLOCKS)},
        START,
    ),
    "frozen layer": Bug(
        (("    return model\n", "    model.blocks[1].down.weight.requires_grad_(False)\n    return model\n"),),
        (
            "in layer 5 updates are exactly 0 now",
            "at step 0 gradients and activations are as they were, updates are not",
        ),
        {"update_ratio": (5,), "delta_rms": (), "weight_grad_norm": (), "weight_norm": (), "activation_rms": ()},
        START,
    ),
    "branches that fade in training": Bug(
        (
            ("return h + self.scale", "h = h + self.scale"),
            ("* branch\n", "* branch\n        self.scale *= 0.9 if self.training else 1\n        return h\n"),
        ),
        ("in layers 2-9 the gradient is", "nothing changed at step 0 (first seen at step 15)"),
        {"delta_rms": tuple(IN_BLOCKS)},
        MIDDLE,
    ),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_red_with_a_bug(bug: Bug, project: Path) -> None:
    edit(project, bug.edits)
    answer = check(project)
    assert answer.code == 1
    assert answer.stdout.startswith("regression: ")
    for sentence in bug.sentences:
        assert sentence in answer.stdout

    told = check_here(project, "--json")
    assert told.code == 1
    rows = rows_of(told)
    regressed = [key for key, row in rows.items() if row["verdict"] == "regression"]
    assert min(step for _, _, step in regressed if step is not None) == bug.step
    for statistic, layers in bug.first.items():
        found = sorted(layer for name, layer, step in regressed if (name, step) == (statistic, bug.step) and layer)
        assert tuple(found) == layers, statistic


def test_the_numbers_of_a_bug(project: Path) -> None:
    """The gain of a ReLU is the root of 2: so much smaller are the weights, and the stem's activations in front."""
    edit(project, BUGS["lost gain"].edits)
    rows = rows_of(check_here(project, "--json"))
    for key in [*(("weight_norm", layer, START) for layer in LAYERS), ("activation_rms", 1, START)]:
        assert [rows[key][name] for name in ("ratio", "low", "high")] == pytest.approx([2**-0.5] * 3, rel=1e-4), key


REFACTORS = {
    "modules renamed": (
        ("self.blocks", "self.stages"),
        ("self.stem", "self.embedding"),
        ("self.up", "self.widen"),
        ("self.down", "self.narrow"),
    ),
    "activation called as a function": (
        ("        self.activation = nn.ReLU()\n", ""),
        ("self.activation(", "functional.relu("),
        ("import Tensor, nn\n", "import Tensor, nn\nfrom torch.nn import functional\n"),
    ),
    "initialised in another order": (("in model.modules()", "in reversed(list(model.modules()))"),),
}


@pytest.mark.parametrize("edits", REFACTORS.values(), ids=REFACTORS)
def test_green_after_an_honest_refactor(edits: Edits, project: Path) -> None:
    edit(project, edits)
    answer = check_here(project)
    assert answer.code == 0, answer.stdout + answer.stderr
    assert answer.stdout.startswith("pass: ")


@pytest.mark.parametrize("harm", ["deleted", "truncated"])
def test_without_a_baseline_it_says_how_to_make_one(harm: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 and a command, and that command makes it green again."""
    path = project / BASELINE
    if harm == "deleted":
        shutil.rmtree(path.parent)
    else:
        path.write_bytes(path.read_bytes()[:-1000])
    monkeypatch.chdir(project)
    monkeypatch.delenv("CI", raising=False)
    answer = invoke("check", CONFIG, "--baseline", BASELINE)
    assert answer.code == 3
    assert answer.stdout == ""
    _, _, command = answer.stderr.strip().rpartition("make it with: ")
    name, *arguments = shlex.split(command)
    assert (name, arguments[-1]) == ("gradlab", "--update")

    updated = invoke(*arguments)
    assert updated.code == 0, updated.stderr
    assert updated.stdout == ""
    assert check_here(project).code == 0


def test_the_readme_tells_the_truth(project: Path) -> None:
    """Its change of the model and what the check says of it, its commands and its files."""
    text = (project / "README.md").read_text()
    command, change, sentences, update = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert command.split() == ["gradlab", "check", CONFIG, "--baseline", BASELINE]
    assert update.splitlines()[0].split() == [*command.split(), "--update"]
    for name in re.findall(r"^\| `(.*?)`", text, re.MULTILINE):
        assert (project / name).is_file(), name

    (old,), (new,) = (re.findall(rf"^\{sign}(.*)", change, re.MULTILINE) for sign in "-+")
    edit(project, ((old, new),))
    answer = check_here(project)
    assert answer.code == 1
    assert sentences in answer.stdout


def test_the_workflow_uses_the_action_as_it_is(project: Path) -> None:
    text = (project / ".github" / "workflows" / "gradients.yml").read_text()
    inputs = yaml.safe_load((EXAMPLE.parents[1] / "action.yml").read_text())["inputs"]
    steps = yaml.safe_load(text)["jobs"]["check"]["steps"]
    (given,) = (step["with"] for step in steps if "/gradlab@" in step["uses"])
    assert given.keys() <= inputs.keys()
    assert given.keys() >= {name for name, about in inputs.items() if about.get("required")}
    assert (given["config"], given["baseline"]) == (CONFIG, BASELINE)
    assert re.findall(r"# - run: gradlab (.*)", text) == [f"check {CONFIG} --baseline {BASELINE}"]
    assert "base-ref" in inputs


def test_its_own_tests(project: Path) -> None:
    """pytest with the plugin: green, and red with a bug."""
    green = run_pytest(project)
    assert green.returncode == 0, green.stdout + green.stderr
    assert "2 passed" in green.stdout
    edit(project, BUGS["lost gain"].edits)
    red = run_pytest(project, "-k", "batch")
    assert red.returncode == 1
    assert "all weights start 1.4x smaller" in red.stdout


def run_pytest(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The project's own tests, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(  # noqa: S603
        command, cwd=project, env=environment(PYTEST_ADDOPTS=""), capture_output=True, text=True, timeout=120
    )
