"""The examples as their users meet them: copied, run, and looked at with the commands of their READMEs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.commands import environment, gradlab
from tests.frameworks import recorded

EXAMPLES = Path(__file__).parents[2] / "examples"

# A fresh process imports a framework, trains six networks, and two commands follow.
pytestmark = pytest.mark.slow


def followed(name: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """The run directory and what each command printed, after doing as the README says."""
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    block = re.search(r"```\n(pip install.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    _, *commands = block[1].strip().splitlines()
    assert commands[0] == "python train.py"
    offline = environment(HF_HUB_OFFLINE="1", COLUMNS="200")
    done = subprocess.run([sys.executable, "train.py"], cwd=folder, env=offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == commands[1]
    printed = {}
    for command in commands[1:]:
        program, *arguments = command.split()
        assert program == "gradlab"
        answer = gradlab(*arguments, cwd=folder, COLUMNS="200")
        assert answer.code == 0, answer.stderr
        printed[arguments[0]] = answer.stdout
    return folder / "runs" / "mine", printed


def by_setting(out: Path, setting: str, column: str) -> dict[str, list[float]]:
    return {str(value): list(rows[column]) for value, rows in recorded.trials(out).groupby(setting)}


def test_lightning(tmp_path: Path) -> None:
    out, printed = followed("in-lightning", tmp_path / "copied")
    decays = by_setting(out, "init", "gradient_decay")
    assert all(0.53 < decay < 0.61 for decay in decays["torch"])
    assert all(0.87 < decay < 0.95 for decay in decays["xavier"])
    assert recorded.trials(out).groupby("init")["diagnosis"].unique().map(list).to_dict() == {
        "torch": ["vanishing"],
        "xavier": ["healthy"],
    }
    losses = by_setting(out, "init", "final_eval_loss")
    assert max(losses["xavier"]) < 1.2 < 1.3 < min(losses["torch"])
    assert "hidden.38" in printed["show"]
    assert re.search(r"^torch +3 .*vanishing", printed["compare"], re.MULTILINE)


def test_transformers(tmp_path: Path) -> None:
    out, printed = followed("in-transformers", tmp_path / "copied")
    losses = by_setting(out, "norm", "final_eval_loss")
    assert max(losses["pre"]) < 0.4 < 0.6 < min(losses["post"])
    layers = pd.read_parquet(out / "layers").merge(recorded.trials(out)[["trial_id", "norm"]], on="trial_id")
    block = layers["name"].str.extract(r"layer\.(\d+)\.output\.dense$")[0]
    norms = layers.groupby([layers["norm"], "step", block.astype(float)])["weight_grad_norm"].mean()
    assert norms["post", 0, 7] / norms["pre", 0, 7] > 2.5
    assert norms["post", 30, 7] / norms["post", 30, 0] > 10
    assert norms["pre", 30, 7] / norms["pre", 30, 0] < 1
    assert "roberta.encoder.layer.7.output.dense" in printed["show"]
    assert re.search(r"^pre +3 ", printed["compare"], re.MULTILINE)
