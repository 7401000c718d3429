"""With several processes rank 0 records, and the training stays as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, DistributedSampler

from tests.frameworks import in_two_processes, lightning_trainings, recorded
from tests.frameworks.huggingface_trainings import Plain
from tests.frameworks.recorded import LossOf

pytestmark = [
    # Two processes of their own import torch and a framework, and form a group.
    pytest.mark.slow,
]


def lightnings_share() -> tuple[nn.Module, LossOf]:
    """The model and the loss of rank 0 at step 0."""
    net = lightning_trainings.Net()
    net[3] = nn.Identity()
    data = lightning_trainings.data()
    sampler: DistributedSampler[Any] = DistributedSampler(data, 2, 0, shuffle=True, seed=0)
    inputs, labels = next(iter(DataLoader(data, lightning_trainings.BATCH, sampler=sampler)))
    return net, lambda model: cross_entropy(model(inputs.double()), labels)


def run(framework: str, out: Path) -> None:
    program = [in_two_processes.__file__, framework, str(out)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run([*launcher, *program], capture_output=True, text=True, timeout=120, cwd=out.parent)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]


def transformers_share(folder: Path) -> tuple[nn.Module, LossOf]:
    batch = torch.load(folder / "batches-of-0.pt")[0]
    return Plain(), lambda model: model(**batch)["loss"]


@pytest.mark.parametrize("framework", ["lightning", "transformers"])
def test_the_share_of_rank_0_is_recorded(tmp_path: Path, framework: str) -> None:
    run(framework, tmp_path / "mine")
    assert len(recorded.trials(tmp_path / "mine")) == 1
    steps = recorded.steps(tmp_path / "mine")
    assert list(steps["step"]) == ([0, 2, 4] if framework == "lightning" else [0, 2, 4, 6, 8, 10])
    model, loss_of = lightnings_share() if framework == "lightning" else transformers_share(tmp_path)
    wanted = recorded.gradient_norms(model, loss_of)
    found = recorded.recorded_norms(tmp_path / "mine", 0)
    assert set(found) == set(wanted)
    for name in wanted:
        # The bias before a batch normalisation has no gradient but what rounding makes of it.
        assert found[name] == pytest.approx(wanted[name], rel=1e-4, abs=1e-7, nan_ok=True)
    assert steps["train_loss"][0] == pytest.approx(float(loss_of(model.double()).detach()), rel=1e-5)
