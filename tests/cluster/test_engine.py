"""`gradlab run --engine ray` on a real instance of Ray with two workers: the same tables, whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cluster.instance import ray_instance
from tests.end_to_end.commands import (
    Answer,
    identities,
    only_run,
    parts,
    read,
    same,
    same_runs,
    start,
    train,
    wait_for,
    write_config,
)

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="an extra: gradlab-runner[ray]"),
    pytest.mark.slow,  # an instance of Ray, and a process for each driver and worker
]

SWEEP = """
    name: spread
    data: {name: moons, n_samples: 60}
    model: {depth: 2}
    train: {steps: 10, batch_size: 10}
    record: {every: 3}
    seeds: 2
    sweep:
      grid:
        model.width: [4, 5, 6, 7, 8, 9]
        model.activation: [sigmoid, relu]
    """
LONG = ("--set", "train.steps=600", "--set", "record.every=200")

NET = """\
import faulthandler
import os
import signal

import torch

from beside import HIDDEN

faulthandler.disable()


class Net(torch.nn.Sequential):
    seed = None

    def forward(self, x):
        if self.seed == 3 and self.training and len(x) == 8:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.seed == 5 and self.training and len(x) == 8:
            raise ValueError("not this one")
        return super().forward(x)


def make(in_features, out_features, deadly=False):
    net = Net(torch.nn.Linear(in_features, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, out_features))
    net.seed = torch.initial_seed() if deadly else None
    return net


def phi(z):
    return torch.tanh(HIDDEN * z)
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ray_instance(tmp_path_factory.mktemp("ray")) as found:
        yield found


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("spread"), SWEEP)


def on_ray(config: Path, out: Path, address: str, *options: str) -> subprocess.Popen[str]:
    return start("run", config, "--out", out, "--engine", "ray", "--ray-address", address, *options)


def finished(process: subprocess.Popen[str]) -> Answer:
    stdout, stderr = process.communicate(timeout=900)
    return Answer(process.returncode, stdout, stderr)


def own_code(folder: Path, settings: str) -> Path:
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "beside.py").write_text("HIDDEN = 3\n")
    data = "name: own\ndata: {name: moons, n_samples: 40}\ntrain: {steps: 4, batch_size: 8}\nrecord: {every: 2}\n"
    return write_config(folder, data + settings)


def worker_at(parts: set[str]) -> int | None:
    """A process that is working on one of these parts: Ray shows the name of its task."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            shown = (entry / "cmdline").read_bytes().partition(b"\0")[0].decode().strip()
        except (OSError, UnicodeDecodeError):
            continue
        if shown.startswith("ray::gradlab ") and shown.split()[1] in parts:
            return int(entry.name)
    return None


def test_the_same_tables_as_on_this_machine(address: str, config: Path, tmp_path: Path) -> None:
    answer = finished(on_ray(config, tmp_path / "there", address, "--json"))
    assert answer.code == 0, answer.stderr
    assert json.loads(answer.stdout)["groups"], "nothing of Ray's is on stdout"
    assert [line for line in answer.stderr.splitlines() if "ray" in line.lower() and str(tmp_path) not in line] == []
    there, here = only_run(tmp_path / "there"), train(config, tmp_path / "here")
    same_runs(there, here)
    assert identities(there).keys() == identities(here).keys()
    info = json.loads((there / "run.json").read_text())
    assert (info["engine"], info["device"]) == ("ray", "cpu")
    assert info["end"] is not None


def test_code_of_the_user_s_own_travels(address: str, tmp_path: Path) -> None:
    """A factory and an activation, and the module that they import; workers see no file of the config's folder."""
    sweep = "model: {activation: 'net.py:phi', width: 4}\nseeds: 2\n"
    config = own_code(tmp_path / "configs", sweep)
    answer = finished(on_ray(config, tmp_path / "there", address))
    assert answer.code == 0, answer.stderr
    same_runs(only_run(tmp_path / "there"), train(config, tmp_path / "here"))


def test_one_trial_that_ends_its_process(address: str, tmp_path: Path) -> None:
    """One part of six trials; the fourth is fatal, the sixth raises: both fail alone, as on this machine."""
    config = own_code(
        tmp_path / "configs", "model: {family: custom, factory: 'net.py:make', kwargs: {deadly: true}}\nseeds: 6\n"
    )
    answer = finished(on_ray(config, tmp_path / "there", address))
    assert answer.code == 4, answer.stderr
    there, here = only_run(tmp_path / "there"), train(config, tmp_path / "here", code=4)
    trials = read(there, "trials").set_index("seed")
    assert trials["status"].tolist() == ["completed"] * 3 + ["failed", "completed", "failed"]
    assert "its worker process died" in trials.loc[3, "error"]
    assert trials.loc[5, "error"] == read(here, "trials").set_index("seed").loc[5, "error"], "with the place in net.py"
    for table in ("steps", "layers"):
        same(read(there, table), read(here, table))


def test_a_worker_that_is_killed_costs_nothing(address: str, config: Path, tmp_path: Path) -> None:
    here = train(config, tmp_path / "here", *LONG)
    planned = {path.stem for path in (here / "trials").glob("*.parquet")}
    process = on_ray(config, tmp_path / "there", address, *LONG)
    wait_for(lambda: worker_at(planned) is not None, process, 600)
    victim = worker_at(planned)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    answer = finished(process)
    assert answer.code == 0, answer.stderr
    same_runs(only_run(tmp_path / "there"), here)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_driver_that_ends_is_continued(number: int, address: str, config: Path, tmp_path: Path) -> None:
    process = on_ray(config, tmp_path, address, *LONG)
    wait_for(lambda: len(parts(tmp_path)) > 0, process, 600)
    process.send_signal(number)
    answer = finished(process)
    assert answer.code == (130 if number == signal.SIGINT else -number), answer.stderr
    assert "Traceback" not in answer.stderr
    files = identities(only_run(tmp_path))
    trained = len(parts(tmp_path))
    assert 0 < trained < 12
    again = finished(on_ray(config, tmp_path, address, *LONG))
    assert again.code == 0, again.stderr
    assert "finished before and kept" in again.stderr
    assert files.items() <= identities(only_run(tmp_path)).items()
    assert len(read(only_run(tmp_path), "trials")) == 24


def test_resources_that_no_machine_has(address: str, config: Path, tmp_path: Path) -> None:
    answer = finished(on_ray(config, tmp_path, address, "--resources-per-stack", "gpu=0.25"))
    assert answer.code == 5
    assert "no machine of the cluster has CPU=1, GPU=0.25" in answer.stderr


def test_an_instance_of_its_own(config: Path, tmp_path: Path) -> None:
    answer = finished(on_ray(config, tmp_path / "there", "local", "--workers", "2"))
    assert answer.code == 0, answer.stderr
    same_runs(only_run(tmp_path / "there"), train(config, tmp_path / "here"))
