"""The user's own code may end its process: that costs the trials that do so, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.commands import Answer, identities, invoke, only_run, read, same, train, write_config

NET = """\
import faulthandler
import os
import signal

import torch

faulthandler.disable()

WAYS = {
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "exit": lambda: os._exit(3),
}


class Net(torch.nn.Sequential):
    way = None

    def forward(self, x):
        if self.way and self.training and len(x) == 8:
            WAYS[self.way]()
        return super().forward(x)


def make(in_features, out_features, way, when):
    net = Net(torch.nn.Linear(in_features, 4), torch.nn.Tanh(), torch.nn.Linear(4, out_features))
    if way and when == "made":
        WAYS[way]()
    net.way = way
    return net


def by_seed(in_features, out_features):
    seed = torch.initial_seed()
    return make(in_features, out_features, [None, *WAYS][seed] if seed < 5 else None, "made")


def greedy(in_features, out_features):
    if torch.initial_seed() == 4:
        raise MemoryError
    return make(in_features, out_features, None, "made")


class Greedy(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        self.layer, self.seed = torch.nn.Linear(2, 1), seed

    def forward(self, x):
        if self.seed == 4 and self.training and len(x) == 8:
            bytearray(1 << 62)
        return self.layer(x)


def greedy_in_training():
    return Greedy(torch.initial_seed())
"""

REASONS = {
    "segv": "killed by SIGSEGV",
    "kill": "killed by SIGKILL",
    "abort": "killed by SIGABRT",
    "exit": "ended with exit code 3",
}


def config_in(folder: Path, factory: str, seeds: int, sweep: str = "{}") -> Path:
    (folder / "net.py").write_text(NET)
    return write_config(
        folder,
        f"""
        data: {{name: moons, n_samples: 40}}
        model: {{family: custom, factory: "net.py:{factory}"}}
        train: {{steps: 4, batch_size: 8}}
        seeds: {seeds}
        sweep: {sweep}
        """,
    )


def run(config: Path, *options: str) -> tuple[Answer, pd.DataFrame]:
    out = config.parent / "runs"
    answer = invoke("run", config, "--out", out, *options)
    return answer, read(only_run(out), "trials")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_in_many_parts(workers: str, tmp_path: Path) -> None:
    sweep = "{grid: {model.kwargs.way: [null, segv, kill, abort, exit], model.kwargs.when: [made, trained]}}"
    config = config_in(tmp_path, "make", 1, sweep)
    answer, trials = run(config, "--workers", workers)
    assert answer.code == 4, answer.stderr
    assert len(trials) == 10
    for way, its in trials.groupby("model.kwargs.way", dropna=False):
        assert set(its["status"]) == ({"failed"} if isinstance(way, str) else {"completed"})
        assert isinstance(way, float) or all(REASONS[way] in error for error in its["error"])
    assert "8 of 10 trials failed" in answer.stdout
    assert "killed by SIGSEGV" in answer.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_in_one_part(workers: str, tmp_path: Path) -> None:
    """One part of nine trials, four of which end their process: the other five are what they are without these."""
    config = config_in(tmp_path, "by_seed", 9)
    answer, trials = run(config, "--workers", workers)
    assert answer.code == 4, answer.stderr
    found = trials.set_index("seed")
    for seed, reason in enumerate(REASONS.values(), start=1):
        assert found.loc[seed, "status"] == "failed"
        assert reason in found.loc[seed, "error"]
    good = [0, 5, 6, 7, 8]
    assert set(found.loc[good, "status"]) == {"completed"}
    first, alone = only_run(tmp_path / "runs"), train(config, tmp_path / "alone", "--set", f"seeds={good}")
    for table in ("steps", "layers"):
        same(read(first, table), read(alone, table))
    before = identities(first)
    assert run(config)[0].code == 4, "they stay failed"
    assert identities(first) == before


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("factory", ["greedy", "greedy_in_training"])
def test_out_of_memory_in_one_trial_of_ten(factory: str, workers: str, tmp_path: Path) -> None:
    answer, trials = run(config_in(tmp_path, factory, 10), "--workers", workers)
    assert answer.code == 4, answer.stderr
    failed = trials[trials["status"] == "failed"]
    assert failed["seed"].tolist() == [4]
    assert "MemoryError" in failed["error"].item()
    assert set(trials.loc[trials["seed"] != 4, "status"]) == {"completed"}


def test_a_data_factory_that_ends_its_process(tmp_path: Path) -> None:
    """Nothing can be trained without data: a mistake in the config, found before any training."""
    (tmp_path / "data.py").write_text(
        "import faulthandler, os, signal\nfaulthandler.disable()\n"
        "def make():\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    config = write_config(tmp_path, {"data": {"name": "custom", "factory": "data.py:make"}, "seeds": 1})
    answer = invoke("run", config, "--out", tmp_path / "runs")
    assert answer.code == 2
    assert f"{config}:3:" in answer.stderr
    assert "killed by SIGSEGV" in answer.stderr
    assert not (tmp_path / "runs").exists()


def test_an_activation_that_ends_its_process(tmp_path: Path) -> None:
    (tmp_path / "phi.py").write_text("import os\ndef phi(z):\n    os._exit(0)\n")
    config = write_config(tmp_path, {"model": {"activation": "phi.py:phi"}, "seeds": 1})
    answer = invoke("run", config, "--out", tmp_path / "runs")
    assert answer.code == 2
    assert "exit code 0" in answer.stderr


def test_own_code_never_runs_in_the_first_process(tmp_path: Path) -> None:
    """Not even with one worker: each call leaves the number of its process in a file."""
    told = tmp_path / "processes"
    note = f"open({str(told)!r}, 'a').write(f'{{os.getpid()}}\\n')"
    (tmp_path / "own.py").write_text(
        f"import os\nimport numpy as np\nimport torch\n{note}\n"
        f"def data():\n    {note}\n    x, y = np.eye(20, 3), np.arange(20) % 2\n"
        "    return {'x_train': x, 'y_train': y, 'x_eval': x, 'y_eval': y, 'task': 'binary'}\n"
        f"def net(in_features, out_features):\n    {note}\n    return torch.nn.Linear(in_features, out_features)\n"
    )
    config = write_config(
        tmp_path,
        {
            "data": {"name": "custom", "factory": "own.py:data", "kwargs": {}},
            "model": {"family": "custom", "factory": "own.py:net"},
            "train": {"steps": 2, "batch_size": 4},
            "seeds": 2,
        },
    )
    train(config, tmp_path / "runs", "--workers", "1")
    numbers = told.read_text().split()
    assert len(numbers) >= 4
    assert str(os.getpid()) not in numbers
