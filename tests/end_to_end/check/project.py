"""A project with a model of its own that `gradlab check` guards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end.commands import Answer, invoke

MODEL = """
import torch
from torch import nn

GAIN = 1.0


def make(in_features, out_features, width=8):
    net = nn.Sequential(
        nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, out_features)
    )
    with torch.no_grad():
        net[2].weight.mul_(GAIN)
    return net
"""

CONFIG = """\
    name: guarded
    data: {name: moons, n_samples: 60}
    model: {family: custom, factory: "model.py:make"}
    train: {steps: 6, batch_size: 16, lr: 0.1}
    record: {every: 3, probe: 16}
    seeds: 2
    """

SEEDS = 12
"""Of a baseline: the config's two, and as many more as it takes."""

LOST_GAIN = ("GAIN = 1.0", "GAIN = 0.2")


@dataclass(frozen=True)
class Project:
    """A folder with a model, a config and, by default, a baseline."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "gradlab.yaml"

    @property
    def baseline(self) -> Path:
        return self.folder / "baselines" / "ci.json"

    def check(self, *options: str | Path) -> Answer:
        """The check, in this process."""
        answer = invoke("check", self.config, "--baseline", self.baseline, "--workers", "1", *options)
        assert "Traceback" not in answer.stderr
        return answer

    def verdict(self, *options: str | Path, code: int) -> dict[str, Any]:
        """What the check says as JSON, and nothing else on stdout."""
        answer = self.check("--json", *options)
        assert answer.code == code, answer.stderr
        found: dict[str, Any] = json.loads(answer.stdout, parse_constant=_no_json)
        return found


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def change(project: Project, *edits: tuple[str, str]) -> None:
    """Edit the project's model, where nothing else has loaded it."""
    code = (project.folder / "model.py").read_text()
    for old, new in edits:
        assert old in code
        code = code.replace(old, new)
    (project.folder / "model.py").write_text(code)


def configure(project: Project, line: str) -> None:
    """Add a line to the project's config."""
    project.config.write_text(project.config.read_text().rstrip() + f"\n{line}\n")
