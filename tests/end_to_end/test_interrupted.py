"""SIGINT and SIGTERM, at any moment from the start of `main` on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.commands import (
    environment,
    only_run,
    parts,
    read,
    same_runs,
    start,
    train,
    wait_for,
    write_config,
)
from tests.end_to_end.test_continue import ended

CONFIG = """
    name: interrupted
    data: {name: moons, n_samples: 60}
    model: {depth: 3}
    train: {steps: 60, batch_size: 10}
    record: {every: 10}
    seeds: 2
    sweep: {grid: {model.width: [4, 5, 6, 7, 8, 9, 10, 11]}}
    """

UP = "from gradlab.cli import main; print('up', flush=True); main()"
"""The command, which says when its `main` begins: before that, signals are Python's."""


def start_main(*arguments: str | Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", UP, *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.slow  # thirty commands, each in a process of its own that imports torch
def test_at_random_moments(tmp_path: Path) -> None:
    """Whatever the command is doing, it ends with 130 and a word; the runs are continued, and come out right."""
    seed = time.time_ns()
    moments = random.Random(seed)  # noqa: S311
    config = write_config(tmp_path, CONFIG)
    options = ("--workers", "2", "--quiet", "--json")
    begun = time.monotonic()
    whole = start_main("run", config, "--out", tmp_path / "undisturbed", *options)
    assert "groups" in whole.communicate(timeout=60)[0]
    lifetime = time.monotonic() - begun
    for moment in range(30):
        out = tmp_path / f"runs-{moment % 3}"
        number = [signal.SIGINT, signal.SIGTERM][moment % 2]
        process = start_main("run", config, "--out", out, *options)
        time.sleep(moments.uniform(0, lifetime))
        os.killpg(process.pid, number) if moment % 4 < 2 else process.send_signal(number)
        _, stderr = process.communicate(timeout=20)
        assert process.returncode in (130, 0), f"seed {seed}: {process.returncode} {stderr}"
        assert "Traceback" not in stderr, f"seed {seed}: {stderr}"
        assert "Exception ignored" not in stderr, f"seed {seed}: {stderr}"
        assert process.returncode == 0 or stderr.startswith("interrupted"), f"seed {seed}: {stderr}"
        assert ended(process.pid, 5), "no worker outlives the command"
    for number in range(3):
        same_runs(train(config, tmp_path / f"runs-{number}"), only_run(tmp_path / "undisturbed"))


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    config, out = write_config(tmp_path, CONFIG), tmp_path / "runs"
    process = start("run", config, "--out", out, "--workers", "2", "--set", "train.steps=20000")
    wait_for(lambda: bool(list(out.glob("*/run.json"))), process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the same command continues" in stderr
    assert ended(process.pid, 5)


@pytest.mark.parametrize(
    ("within", "body"),
    [
        ("noted('told')", "    up()\n    time.sleep(600)\n"),
        (
            "raised()",
            "    while True:\n        try:\n            up()\n            time.sleep(600)\n"
            "        except BaseException: pass\n",
        ),
        ("noted('told')", "    up()\n    subprocess.run(['sleep', '600'])\n"),
    ],
    ids=["long call", "swallowed", "program beside"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_does_not_stop_is_ended(within: str, body: str, number: signal.Signals) -> None:
    """A safe point that never comes, an exception that gets lost: after a moment's grace the process ends anyway."""
    program = (
        "import subprocess, time\nfrom gradlab.interrupts import noted, raised, take_signals\n"
        f"def up(): print('up', flush=True)\ntake_signals()\nwith {within}:\n{body}"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        try:
            assert process.wait(20) == 130
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.stderr is not None
        assert process.stderr.read() in ("told\n", "interrupted\n")


@pytest.mark.parametrize("module", ["multiprocessing.context", "multiprocessing.process", "gradlab.runner", "torch._C"])
def test_interrupted_while_a_module_is_loaded(module: str) -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys
        class Finder:
            def find_spec(self, name, *_):
                if name == sys.argv[-1]:
                    os.kill(os.getpid(), signal.SIGTERM)
        sys.meta_path.insert(0, Finder())
        from gradlab.interrupts import take_signals
        take_signals()
        import gradlab.runner
        """
    )
    done = subprocess.run([sys.executable, "-c", program, module], capture_output=True, text=True, timeout=60)  # noqa: S603
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_program_that_did_not_ask_keeps_its_own_signals() -> None:
    program = textwrap.dedent(
        """
        import os, signal
        from gradlab.interrupts import noted, raised
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with raised(), noted("told") as stop_if_wanted:
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
            stop_if_wanted()
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000): pass
            except KeyboardInterrupt:
                print("raised")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, "raised\n"), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("when", ["built", "trained"])
def test_a_hanging_worker_does_not_outlive_its_killed_parent(when: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import pathlib, time, torch\n"
        "def hang():\n"
        "    pathlib.Path(__file__).with_name('hanging').touch()\n"
        "    time.sleep(3600)\n"
        "class Net(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        f"        hang() if {when == 'trained'} and self.training and len(x) == 8 else None\n"
        "        return super().forward(x)\n"
        "def make(in_features, out_features):\n"
        f"    hang() if {when == 'built'} else None\n"
        "    return Net(in_features, out_features)\n"
    )
    config = write_config(
        tmp_path,
        """
        data: {name: moons, n_samples: 40}
        model: {family: custom, factory: "net.py:make"}
        train: {steps: 4, batch_size: 8}
        seeds: 1
        """,
    )
    process = start("run", config, "--out", tmp_path / "runs", "--quiet")
    wait_for((tmp_path / "hanging").exists, process, 60)
    process.kill()
    process.communicate()
    assert ended(process.pid, 20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_hanging_factory_can_be_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import pathlib, time\ndef make():\n"
        "    pathlib.Path(__file__).with_name('hanging').touch()\n    time.sleep(3600)\n"
    )
    config = write_config(tmp_path, {"model": {"family": "custom", "factory": "net.py:make"}, "seeds": 1})
    process = start("run", config, "--out", tmp_path / "runs", "--quiet")
    wait_for((tmp_path / "hanging").exists, process, 60)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "continues" in stderr
    assert ended(process.pid, 20)


def test_interrupted_with_one_worker(tmp_path: Path) -> None:
    """Trained in the first process itself: what is finished is kept there, too."""
    config, out = write_config(tmp_path, CONFIG), tmp_path / "runs"
    process = start("run", config, "--out", out, "--workers", "1", "--set", "train.steps=2000")
    wait_for(lambda: bool(parts(out)), process, 60)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the same command continues" in stderr
    assert 0 < len(read(only_run(out), "trials")) < 16
