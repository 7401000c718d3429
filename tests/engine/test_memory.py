"""How much memory there is, how much a trial takes, and what happens where the one is less than the other."""

from __future__ import annotations

import ctypes
import multiprocessing
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from gradlab import execution
from gradlab.config.load import load
from gradlab.config.schema import Experiment
from gradlab.config.sweep import Trial, expand
from gradlab.engine.footprint import PLANNED, PROCESS, in_pieces, recorded, records_of, share, working
from gradlab.engine.memory import available, in_gib, require
from gradlab.engine.stacks import Part, Stack, plan
from gradlab.engine.train import train
from gradlab.engine.work import Workshop
from gradlab.errors import MachineError
from gradlab.runner import Options, run

MIB, GIB = 2**20, 2**30
UNLIMITED = 2**63 - 4096

# What there is: faked files of the system, as Linux writes them.


def system(folder: Path, files: dict[str, str]) -> int | None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return available(None, folder / "proc", folder / "cgroup")


def version_1(path: str, limit: int, usage: int, inactive: int = 0) -> dict[str, str]:
    group = f"cgroup/memory{path}"
    return {
        f"{group}/memory.limit_in_bytes": f"{limit}\n",
        f"{group}/memory.usage_in_bytes": f"{usage}\n",
        f"{group}/memory.stat": f"inactive_file 1\ntotal_cache 7\ntotal_inactive_file {inactive}\n",
    }


def version_2(path: str, limit: int | str, usage: int, inactive: int = 0) -> dict[str, str]:
    group = f"cgroup{path}"
    return {
        f"{group}/memory.max": f"{limit}\n",
        f"{group}/memory.current": f"{usage}\n",
        f"{group}/memory.stat": f"anon 5\ninactive_file {inactive}\nactive_file 3\n",
    }


MEMINFO = {"proc/meminfo": "MemTotal:       24683656 kB\nMemFree:  100 kB\nMemAvailable:   8388608 kB\nBuffers: 9 kB\n"}
IN_V1 = {"proc/self/cgroup": "9:name=systemd:/\n4:memory:/a/b\n3:cpuset,memory2:/z\n0::/\n"}
IN_V2 = {"proc/self/cgroup": "0::/a/b\n"}

SYSTEMS: list[tuple[str, dict[str, str], int | None]] = [
    ("no such files", {}, None),
    ("the machine", MEMINFO, 8 * GIB),
    ("version 1", MEMINFO | IN_V1 | version_1("/a/b", 3 * GIB, GIB), 2 * GIB),
    ("version 1, no limit", MEMINFO | IN_V1 | version_1("/a/b", UNLIMITED, GIB), 8 * GIB),
    ("version 1, a group above", MEMINFO | IN_V1 | version_1("/a/b", UNLIMITED, 5) | version_1("/a", GIB, 9), GIB - 9),
    ("version 1, a container", MEMINFO | IN_V1 | version_1("", 2 * GIB, GIB), GIB),
    ("version 1, cached files", MEMINFO | IN_V1 | version_1("/a/b", 3 * GIB, 2 * GIB, GIB), 2 * GIB),
    ("version 2", MEMINFO | IN_V2 | version_2("/a/b", 3 * GIB, GIB), 2 * GIB),
    ("version 2, no limit", MEMINFO | IN_V2 | version_2("/a/b", "max", GIB), 8 * GIB),
    ("version 2, a group above", MEMINFO | IN_V2 | version_2("/a/b", "max", 5) | version_2("/a", GIB, 9), GIB - 9),
    ("version 2, a container", MEMINFO | IN_V2 | version_2("", 2 * GIB, GIB), GIB),
    ("version 2, cached files", MEMINFO | IN_V2 | version_2("/a/b", 3 * GIB, 2 * GIB, GIB), 2 * GIB),
    ("more taken than allowed", MEMINFO | IN_V2 | version_2("/a/b", GIB, 2 * GIB), 0),
    ("more on the machine", MEMINFO | IN_V2 | version_2("/a/b", 64 * GIB, GIB), 8 * GIB),
    ("a group alone", IN_V2 | version_2("/a/b", 3 * GIB, GIB), 2 * GIB),
    ("a path that leads out", MEMINFO | {"proc/self/cgroup": "0::/../../a\n"} | version_2("/a", GIB, 0), GIB),
    ("rubbish", {"proc/meminfo": "MemAvailable: much\n", "proc/self/cgroup": "0\n:::\n"}, None),
    (
        "a limit of address space",
        MEMINFO
        | {
            "proc/self/limits": "Limit  Soft Limit  Units\nMax address space   4294967296  unlimited  bytes\n",
            "proc/self/status": "VmPeak: 9 kB\nVmSize:    1048576 kB\n",
        },
        3 * GIB,
    ),
    (
        "no limit of address space",
        MEMINFO
        | {
            "proc/self/limits": "Max address space   unlimited  unlimited  bytes\n",
            "proc/self/status": "VmSize: 1 kB\n",
        },
        8 * GIB,
    ),
]


@pytest.mark.parametrize(("files", "left"), [case[1:] for case in SYSTEMS], ids=[case[0] for case in SYSTEMS])
def test_the_least_of_what_machine_and_control_groups_leave(
    files: dict[str, str], left: int | None, tmp_path: Path
) -> None:
    assert system(tmp_path, files) == left


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't say how much memory there is")
def test_this_machine_has_some_memory() -> None:
    assert 0 < (available() or 0) < 2**50


def test_what_does_not_fit_is_refused_with_both_numbers() -> None:
    require(5 * GIB, "it", "wait", 5 * GIB)
    require(5 * GIB, "it", "wait", None)
    with pytest.raises(MachineError, match=r"^it needs about 5 GiB of memory, and 2.5 GiB is available; wait$"):
        require(5 * GIB, "it", "wait", 5 * GIB // 2)
    assert (in_gib(1e6 * GIB), in_gib(1234.4 * GIB), in_gib(0.5 * GIB)) == ("1.0e+06 GiB", "1,234 GiB", "0.5 GiB")


# What a trial takes, against what it was seen to take.

ADDING = {"name": "adding", "n_samples": 300}
CHAOTIC = {"name": "normal", "sigma_w": 3.0}
SHAPES: dict[str, dict[str, Any]] = {
    "weights": {"model": {"width": 1200, "depth": 3}},
    "weights, measured in float64": {
        "model": {"width": 800, "depth": 4, "activation": "tanh", "init": CHAOTIC},
        "train": {"optimizer": "adam"},
    },
    "activations": {
        "model": {"width": 64, "depth": 60, "activation": "gelu", "norm": "layer", "residual": True, "init": CHAOTIC},
        "train": {"batch_size": 1437},
        "record": {"probe": 64},
    },
    "many narrow ones": {"seeds": 48, "model": {"width": 128, "depth": 8}},
    "images": {"model": {"family": "cnn", "width": 32, "depth": 8}, "train": {"batch_size": 256}},
    "images, normalised": {
        "model": {
            "family": "cnn",
            "width": 8,
            "depth": 8,
            "norm": "batch",
            "residual": True,
            "activation": "tanh",
            "init": CHAOTIC,
        },
        "train": {"batch_size": 256},
    },
    "records": {
        "model": {"width": 8, "depth": 8, "activation": "tanh"},
        "train": {"steps": 700, "batch_size": 16},
        "record": {"every": 1, "probe": 16},
    },
    "time steps": {"data": ADDING, "model": {"family": "rnn", "width": 64, "depth": 2, "sequence_length": 50}},
    "gated cells": {
        "data": ADDING,
        "model": {"family": "rnn", "cell": "lstm", "width": 64, "depth": 2, "sequence_length": 30},
    },
    "several of them": {
        "data": ADDING,
        "model": {"family": "transformer", "width": 32, "depth": 2},
        "seeds": 6,
    },
    "attention": {"data": ADDING, "model": {"family": "transformer", "width": 64, "depth": 2, "sequence_length": 20}},
}


def experiment(settings: dict[str, Any]) -> Experiment:
    return Experiment.model_validate({"seeds": 1} | settings | {"train": {"steps": 2} | settings.get("train", {})})


def prepared(settings: dict[str, Any]) -> tuple[Workshop, list[Part]]:
    trials = expand(experiment(settings))
    shop = Workshop.prepare(trials, Path(), torch.device("cpu"))
    return shop, plan(trials, shop.positions)


def of_process(key: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(key))


def peak(settings: dict[str, Any], connection: Any) -> None:
    """Send the growth of this process's resident memory while it trains."""
    shop, parts = prepared(settings)
    small = settings.get("model", {}) | {"width": 4, "depth": 2}
    warm_shop, warm = prepared(settings | {"model": small, "seeds": 1, "train": {}, "record": {}})
    for part in warm:
        warm_shop.run(part)
    # What earlier tests left on the heap, free but resident, would be used again without growth.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = of_process("VmRSS")
    for part in parts:
        shop.run(part)
    connection.send(of_process("VmHWM") - before)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a while")
@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
def test_the_footprint_is_what_training_takes_within_a_factor_of_three(settings: dict[str, Any]) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=peak, args=(settings, theirs))
    process.start()
    seen = ours.recv()
    process.join()
    ours.close()
    theirs.close()
    shop, parts = prepared(settings)
    told = max(
        max(working(stack.trials, shop.task(stack.trials[0])) for stack in part.stacks) + records_of(part.stacks)
        for part in parts
    )
    assert seen > 10 * MIB, "large enough to tell"
    assert seen / 3 < told < 3 * seen


def test_records_grow_with_steps_and_layers() -> None:
    def of(steps: int, every: int, depth: int, family: str = "mlp") -> int:
        settings = {"model": {"family": family, "depth": depth}, "train": {"steps": steps}, "record": {"every": every}}
        return recorded(expand(experiment(settings)))

    assert of(10**9, 1, 10) > 10**12
    assert of(10**9, 10**9, 10) < MIB
    assert of(1000, 10, 40) > of(1000, 10, 20) > of(1000, 20, 20)
    assert of(10**9, 1, 2, "transformer") > 10**12


# What becomes of trials that don't fit.

SWEEP = """
name: small
data: {name: moons, n_samples: 200}
train: {steps: 8, batch_size: 32}
record: {every: 3, probe: 50}
seeds: 6
sweep:
  grid: {model.depth: [1, 3], model.width: [16, 33], model.activation: [relu, tanh]}
"""


class Quiet:
    sighted = None

    def begin(self, trials: Sequence[Trial], finished: Collection[str], parts: int) -> None: ...

    def progress(self, share: float) -> None: ...

    def stored(self, statuses: Mapping[str, str]) -> None: ...


def tables(folder: Path, text: str, workers: int = 1) -> dict[str, bytes]:
    """The files of the tables of a run, by their names."""
    folder.mkdir()
    (folder / "c.yaml").write_text(text)
    outcome = run(load(folder / "c.yaml"), folder / "runs", Options(workers=workers), Quiet())
    assert (outcome.failed, outcome.missing) == (0, 0)
    root = outcome.directory.path
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("*/*.parquet"))}


def limit(monkeypatch: pytest.MonkeyPatch, there: int) -> None:
    monkeypatch.setattr(execution, "available", lambda device: there)


def test_a_run_in_little_memory_has_smaller_stacks_and_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def counted(stack: Stack, *arguments: Any) -> Any:
        sizes.append(len(stack.trials))
        return train(stack, *arguments)

    monkeypatch.setattr("gradlab.engine.work.train", counted)
    expected = tables(tmp_path / "plenty", SWEEP)
    plenty, sizes[:] = max(sizes), []
    shop, parts = prepared_file(tmp_path / "plenty" / "c.yaml")
    least = max(
        records_of(part.stacks) + max(working(stack.trials[:1], shop.task(stack.trials[0])) for stack in part.stacks)
        for part in parts
    )
    limit(monkeypatch, int(least / PLANNED) + 1)
    assert tables(tmp_path / "little", SWEEP) == expected
    assert max(sizes) < plenty
    # More workers than there is memory for: the part ids, which name the files, and the bits stay.
    assert tables(tmp_path / "workers", SWEEP, workers=2) == expected


def prepared_file(path: Path) -> tuple[Workshop, list[Part]]:
    config = load(path)
    shop = Workshop.prepare(config.trials, path.parent, torch.device("cpu"))
    return shop, plan(config.trials, shop.positions)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("model: {depth: 10000, width: 65536}", ["depth 10,000, width 65,536", "model.width"]),
        ("train: {steps: 1000000000}\nrecord: {every: 1}", ["1,000,000,000 steps", "record.every is 1"]),
        ("model: {family: cnn, width: 60000}", ["cnn, depth 10, width 60,000"]),
        ("model: {family: rnn, width: 60000, depth: 9}", ["rnn, depth 9, width 60,000"]),
        ("model: {family: transformer, width: 60000, depth: 9}", ["transformer, depth 9"]),
        ("train: {batch_size: 1000000000}\ndata: {name: moons}", []),
    ],
)
def test_a_trial_too_large_is_refused_before_training_with_the_numbers(
    changes: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any) -> Any:
        raise AssertionError("something was trained")

    monkeypatch.setattr(Workshop, "run", never)
    limit(monkeypatch, 4 * GIB)
    (tmp_path / "c.yaml").write_text(f"seeds: 1\n{changes}\n")
    if not words:
        with pytest.raises(AssertionError, match="something was trained"):
            run(load(tmp_path / "c.yaml"), tmp_path / "runs", Options(workers=1), Quiet())
        return
    with pytest.raises(MachineError) as caught:
        run(load(tmp_path / "c.yaml"), tmp_path / "runs", Options(workers=1), Quiet())
    assert caught.value.exit_code == 5
    for word in ["GiB of memory, and 4 GiB is available", *words]:
        assert word in str(caught.value)


def test_workers_share_the_memory_there_is() -> None:
    shop, parts = prepared({"seeds": 40, "model": {"width": 200}, "data": {"name": "moons"}})
    least = max(records_of(part.stacks) + working(part.trials[:1], shop.task(part.trials[0])) for part in parts)
    for workers in (1, 2, 7):
        there = int(workers * (least + PROCESS + MIB) / PLANNED)
        able, room = share(parts, shop.task, there, 16)
        assert able == workers
        assert room >= least
        assert able * room <= there
    assert share(parts, shop.task, 100 * GIB, 16)[0] == 16
    assert share(parts, shop.task, least, 16)[0] == 1
    with pytest.raises(MachineError):
        share(parts, shop.task, least - 1, 16)


def test_pieces_of_a_stack_fit_and_keep_the_order() -> None:
    shop, parts = prepared({"seeds": 30, "model": {"width": 100, "depth": 3}, "data": {"name": "moons"}})
    stack = max((stack for part in parts for stack in part.stacks), key=lambda stack: len(stack.trials))
    task = shop.task(stack.trials[0])
    for room in (0, working(stack.trials[:2], task), working(stack.trials, task) // 3, working(stack.trials, task)):
        pieces = in_pieces(stack, task, room)
        assert tuple(trial for piece in pieces for trial in piece.trials) == stack.trials
        assert all(len(piece.trials) == 1 or working(piece.trials, task) <= room for piece in pieces)
    assert in_pieces(stack, task, working(stack.trials, task)) == [stack]
    assert max(len(piece.trials) for piece in in_pieces(stack, task, 0)) == 1
