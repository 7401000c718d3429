"""Exit codes, and what is said with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradlab.errors import MachineError
from gradlab.store.rundir import RunDirectory
from tests.end_to_end.commands import COMMAND, Answer, gradlab, identities, invoke, only_run, read, train, write_config
from tests.end_to_end.conftest import Finished

TINY = """
    data: {name: moons, n_samples: 40}
    model: {depth: 2, width: 4}
    train: {steps: 4, batch_size: 8}
    seeds: 2
    """


def assert_usage_error(answer: Answer, *words: str) -> None:
    assert answer.code == 2, answer.stderr
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    for word in words:
        assert word in answer.stderr


def test_all_problems_of_a_config_at_once_each_with_its_place(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        """\
        data: {name: moon}
        model:
          dept: 3
          width: 0
        train: {lr: -1}
        train: {lr: 1}
        sweep: {grid: {model.depth: []}}
        seeds: 0
        """,
    )
    answer = invoke("run", config, "--out", tmp_path / "runs")
    assert_usage_error(answer, "did you mean 'moons'", "did you mean")
    for place in ("1:14", "3:3", "4:10", "6:1", "7:29", "8:8"):
        assert f"{config}:{place}:" in answer.stderr, place
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "model: {depth: 3}\nmodel: {depth: 4}\n"])
def test_unusable_files(text: str, tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(text)
    assert_usage_error(invoke("run", config), f"{config}:")


def test_a_missing_config(tmp_path: Path) -> None:
    assert_usage_error(invoke("run", tmp_path / "none.yaml"), "none.yaml")


def test_a_bad_override(tmp_path: Path) -> None:
    config = write_config(tmp_path, TINY)
    assert_usage_error(invoke("run", config, "--set", "model.dpeth=3"), "--set model.dpeth", "model.depth")
    assert_usage_error(invoke("run", config, "--set", "model.depth"), "--set")


def test_a_million_trials_are_an_error_found_early(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"seeds": 1000, "sweep": {"grid": {"train.lr": [i / 9999 for i in range(1001)]}}})
    assert_usage_error(invoke("run", config), f"{config}:", "1,001,000")


def test_a_missing_npz(tmp_path: Path) -> None:
    config = write_config(tmp_path, "data: {name: npz, path: none.npz, task: binary}\nseeds: 1\n")
    assert_usage_error(invoke("run", config, "--out", tmp_path / "runs"), f"{config}:1:", "none.npz")
    assert not (tmp_path / "runs").exists()


def test_an_npz_that_lacks_an_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=np.zeros((4, 2)), y_train=np.zeros(4), x_eval=np.zeros((4, 2)))
    config = write_config(tmp_path, "data: {name: npz, path: d.npz, task: binary}\nseeds: 1\n")
    assert_usage_error(invoke("run", config), f"{config}:1:", "y_eval")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("", "net.py"),
        ("def make(): raise ValueError('such a shame')", "such a shame"),
        ("def make(): return 3", "Module"),
        ("import torch\ndef make(): return torch.nn.Linear(2, 7)", "[2, 7]"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_bad_model_factory(body: str, word: str, tmp_path: Path) -> None:
    if body:
        (tmp_path / "net.py").write_text(body)
    config = write_config(
        tmp_path,
        """\
        data: {name: moons}
        model:
          family: custom
          factory: net.py:make
        """,
    )
    assert_usage_error(invoke("run", config, "--out", tmp_path / "runs"), f"{config}:4:", word)
    assert not (tmp_path / "runs").exists()


def test_unknown_options_and_commands(tmp_path: Path) -> None:
    config = write_config(tmp_path, TINY)
    assert_usage_error(invoke("run", config, "--worker", "2"), "--worker")
    assert_usage_error(invoke("run", config, "--workers", "0"), "workers")
    assert_usage_error(invoke("train", config), "train")
    assert_usage_error(invoke("run"), "CONFIG")


def test_some_trials_fail_while_the_others_are_written(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Sequential):\n"
        "    breaks = False\n"
        "    def forward(self, x):\n"
        "        if self.breaks and self.training and len(x) == 8:\n"
        "            raise RuntimeError('out of luck')\n"
        "        return super().forward(x)\n"
        "def make(in_features, out_features, breaks):\n"
        "    net = Net(torch.nn.Linear(in_features, 4), torch.nn.Tanh(), torch.nn.Linear(4, out_features))\n"
        "    net.breaks = breaks\n"
        "    return net\n"
    )
    config = write_config(
        tmp_path,
        """
        data: {name: moons, n_samples: 40}
        model: {family: custom, factory: "net.py:make"}
        train: {steps: 4, batch_size: 8}
        seeds: 2
        sweep: {grid: {model.kwargs.breaks: [false, true]}}
        """,
    )
    answer = invoke("run", config, "--out", tmp_path / "runs")
    assert answer.code == 4
    assert "failed" in answer.stdout
    run = only_run(tmp_path / "runs")
    trials = read(run, "trials").set_index("model.kwargs.breaks")
    assert trials.loc[False, "status"].tolist() == ["completed"] * 2
    assert trials.loc[True, "status"].tolist() == trials.loc[True, "diagnosis"].tolist() == ["failed"] * 2
    assert all("out of luck" in error for error in trials.loc[True, "error"])
    assert set(read(run, "steps")["trial_id"]) == set(trials.loc[False, "trial_id"])
    assert invoke("run", config, "--out", tmp_path / "runs").code == 4, "they are still failed the next time"


def test_out_is_a_file(tmp_path: Path) -> None:
    config = write_config(tmp_path, TINY)
    (tmp_path / "file").write_text("")
    answer = invoke("run", config, "--out", tmp_path / "file")
    assert answer.code == 5
    assert "--out" in answer.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_may_not_be_written_to(tmp_path: Path) -> None:
    config = write_config(tmp_path, TINY)
    (tmp_path / "locked").mkdir(mode=0o500)
    answer = invoke("run", config, "--out", tmp_path / "locked")
    assert answer.code == 5
    assert "--out" in answer.stderr


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: the second part goes beyond it."""
    config = write_config(
        tmp_path,
        """
        data: {name: moons, n_samples: 40}
        model: {depth: 2}
        train: {steps: 250, batch_size: 8}
        seeds: 1
        sweep: {zip: [{model.width: [48, 4], record.every: [125, 1]}]}
        """,
    )
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
        "from gradlab.cli import main; main()"
    )
    command = [sys.executable, "-c", limited, "run", str(config), "--out", str(tmp_path / "runs"), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    run = only_run(tmp_path / "runs")
    assert not list(run.glob("*/.*")), "no leftovers"
    assert read(run, "trials")["width"].tolist() == [48]
    before = identities(run)
    assert train(config, tmp_path / "runs") == run
    assert read(run, "trials")["width"].tolist() in ([4, 48], [48, 4])
    assert identities(run).items() >= before.items()


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    config = write_config(tmp_path, TINY)
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10));"
        "from gradlab.cli import main; main()"
    )
    command = [sys.executable, "-c", limited, "run", str(config), "--out", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert done.returncode == 5, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "runs").iterdir()), "no half-made directory"


def test_the_first_thing_that_went_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk run.json cannot be written at the end either."""
    config = write_config(tmp_path, TINY)

    def no_part(*_: object) -> None:
        raise MachineError("the part: no space left")

    write_info, calls = RunDirectory.write_info, []

    def no_info(run: RunDirectory, info: dict[str, object]) -> None:
        calls.append(info)
        if len(calls) > 2:
            raise MachineError("run.json: no space left")
        write_info(run, info)

    monkeypatch.setattr(RunDirectory, "place_part", no_part)
    monkeypatch.setattr(RunDirectory, "write_info", no_info)
    answer = invoke("run", config, "--out", tmp_path / "runs", "--quiet")
    assert len(calls) == 3, "it was tried"
    assert answer.code == 5
    assert "the part: no space left" in answer.stderr
    assert "run.json" not in answer.stderr


@pytest.mark.parametrize("limit", [6, 8, 12, 16])
def test_too_few_files_for_the_workers(limit: int, tmp_path: Path) -> None:
    config = write_config(tmp_path, TINY)
    limited = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}));"
        "from gradlab.cli import main; main()"
    )
    grid = "sweep.grid={model.width: [3, 4, 5, 6, 7, 8]}"
    options = ["--out", str(tmp_path / "runs"), "--workers", "6", "--quiet", "--set", grid]
    command = [sys.executable, "-c", limited, "run", str(config), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert done.returncode == 5, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "ulimit -n" in done.stderr
    assert train(config, tmp_path / "runs", "--set", grid)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "schema",
        "activations",
        "run {config} --dry-run",
        "run {config} --out {runs}",
        "run {config} --out {runs} --json",
        "show {run}",
        "compare {run}",
        "compare {run} --json",
    ],
)
def test_output_that_cannot_be_written(command: str, finished: Finished) -> None:
    """Not 1, which means a regression."""
    names = {"config": finished.config, "run": finished.path, "runs": finished.path.parent}
    arguments = [word.format(**names) for word in command.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)  # noqa: S603
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert "No space left" in done.stderr


def test_out_of_memory_is_the_machine_s_fault(tmp_path: Path) -> None:
    """The trial that doesn't fit is no failed trial: on a larger machine the same command finishes the run."""
    config = write_config(
        tmp_path,
        """
        data: {name: moons, n_samples: 40}
        model: {depth: 12, width: 65536}
        train: {steps: 1, batch_size: 8}
        seeds: 1
        """,
    )
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (60 * 10**9, 60 * 10**9));"
        "from gradlab.cli import main; main()"
    )
    command = [sys.executable, "-c", limited, "run", str(config), "--out", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert done.returncode == 5, done.stderr
    assert "memory" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(only_run(tmp_path / "runs").glob("trials/*"))


def test_a_diverged_trial_is_a_result(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        """
        data: {name: diabetes}
        model: {depth: 2, width: 4}
        train: {steps: 30, batch_size: 32, lr: 1e6}
        seeds: 1
        """,
    )
    trials = read(train(config, tmp_path / "runs"), "trials")
    assert trials["status"].tolist() == trials["diagnosis"].tolist() == ["diverged"]


def test_the_installed_command_says_so_too(tmp_path: Path) -> None:
    assert_usage_error(gradlab("run", "none.yaml", cwd=tmp_path), "none.yaml:1:1:")
    assert gradlab("--version", cwd=tmp_path).code == 0
