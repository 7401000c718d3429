"""`gradlab export` as a user meets it."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.end_to_end.commands import KEYS, gradlab, invoke, read
from tests.end_to_end.conftest import Finished

ALONE = """
import sys

class Blocker:
    def find_spec(self, name, *_):
        assert name.split(".")[0] not in {"torch", "tensorflow", "sklearn", "matplotlib"}, name

sys.meta_path.insert(0, Blocker())
from gradlab.cli import main
main()
"""
"""The command in an interpreter in which nothing heavy can be imported."""


def alone(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", ALONE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603


def test_csv(finished: Finished) -> None:
    answer = gradlab("export", finished.path, "--to", "csv")
    folder = Path(f"{finished.path.name}-csv")
    assert (answer.code, answer.stdout) == (0, f"{folder}\n")
    assert (
        answer.stderr
        == f"written: {folder} (26 trials of {finished.path.name}); layers.csv, regions.csv, steps.csv, trials.csv\n"
    )
    assert {path.name for path in folder.iterdir()} == {f"{table}.csv" for table in KEYS}
    for table, keys in KEYS.items():
        wanted = read(finished.path, table)
        found = pd.read_csv(folder / f"{table}.csv", dtype={"trial_id": str}).sort_values(keys, ignore_index=True)
        pd.testing.assert_frame_equal(found, wanted, check_exact=True, check_dtype=False)


@pytest.mark.parametrize("to", ["csv", "tensorboard"])
def test_torch_and_tensorflow_are_not_imported_and_nothing_warns(to: str, finished: Finished, tmp_path: Path) -> None:
    done = alone("export", finished.path, "--to", to, "-o", tmp_path / "out", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'out'}\n", "")


def test_tensorboard_the_same_bytes_in_every_process(finished: Finished, tmp_path: Path) -> None:
    for out in ("one", "two"):
        assert alone("export", finished.path, "--to", "tensorboard", "--out", tmp_path / out).returncode == 0
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*tfevents*"))
    assert len(files) == 27
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_tensorboard_holds_the_gradients_of_the_tables(finished: Finished) -> None:
    answer = invoke("export", finished.path, "--to", "tensorboard", "--where", "depth == 3 and status == 'completed'")
    assert answer.code == 0, answer.stderr
    folder = Path(answer.stdout.strip())
    assert f"tensorboard --logdir {folder}" in answer.stderr
    trials = read(finished.path, "trials").query("depth == 3")
    layers = read(finished.path, "layers").set_index(["trial_id", "layer"]).sort_index()
    assert len([path for path in folder.iterdir() if path.is_dir()]) == len(trials) == 12
    for trial in trials["trial_id"]:
        (directory,) = folder.glob(f"*,{trial[:8]}")
        log = EventAccumulator(str(directory)).Reload()
        rows = layers.loc[(trial, 1)]
        found = log.Scalars("log10_weight_grad_norm/01 hidden_1")
        assert [event.step for event in found] == rows["step"].tolist()
        assert np.array_equal([event.value for event in found], rows["log10_weight_grad_norm"].astype(np.float32))


def test_json_is_alone_on_stdout(finished: Finished) -> None:
    answer = invoke("export", finished.path, "--to", "tensorboard", "--where", "seed == 4", "--json", "-o", "out")
    told = json.loads(answer.stdout)
    assert (told["path"], told["trials"]) == ("out", 13)
    assert sorted(told["files"]) == sorted(str(path.relative_to("out")) for path in Path("out").rglob("*tfevents*"))
    assert all("seed=4" in file for file in told["files"] if "/" in file)


def test_what_is_there_is_kept_unless_forced(finished: Finished) -> None:
    assert invoke("export", finished.path, "--to", "tensorboard", "-o", "out", "--where", "seed == 0").code == 0
    Path("out/notes.txt").write_text("precious")
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    answer = invoke("export", finished.path, "--to", "tensorboard", "-o", "out")
    assert (answer.code, answer.stdout) == (2, "")
    assert "not empty" in answer.stderr
    assert "--force" in answer.stderr
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before
    assert (
        invoke("export", finished.path, "--to", "tensorboard", "-o", "out", "--where", "seed == 4", "--force").code == 0
    )
    assert Path("out/notes.txt").read_text() == "precious"
    assert {path.name.split(",")[-2] for path in Path("out").iterdir() if path.is_dir()} == {"seed=4"}


def test_an_unreadable_part_is_named_and_the_rest_written(finished: Finished, tmp_path: Path) -> None:
    run = shutil.copytree(finished.path, tmp_path / "copy")
    part = next((run / "layers").glob("*.parquet"))
    part.write_bytes(b"nonsense")
    answer = invoke("export", run, "--to", "csv")
    assert answer.code == 0
    assert answer.stderr.startswith(f"note: {part} is broken")
    assert answer.stderr.count("note:") == 1
    trials, layers = (pd.read_csv(f"copy-csv/{table}.csv")["trial_id"] for table in ("trials", "layers"))
    assert trials.nunique() == 26
    assert layers.nunique() < 26
    assert invoke("export", run, "--to", "csv", "-o", "quiet", "-q").stderr == ""


def test_a_folder_of_runs(finished: Finished, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished.path, runs / "one")
    assert invoke("export", runs, "--to", "csv").stdout == "one-csv\n"
    shutil.copytree(finished.path, runs / "two")
    answer = invoke("export", runs, "--to", "csv", "-o", "out")
    assert answer.code == 2
    assert f"holds 2 runs; name one, such as {runs / 'one'}" in answer.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "excel"], "csv"),
        ([], "--to"),
        (["--to", "csv", "--where", "depth > 100"], "none of 26 trials"),
        (["--to", "csv", "--where", "dpeth > 1"], "depth"),
        (["--to", "csv", "-o", "{run}/trials"], "run directory"),
        (["--to", "csv", "-o", "{config}"], "is a file"),
    ],
)
def test_mistakes_are_one_message(options: list[str], said: str, finished: Finished) -> None:
    names = {"run": finished.path, "config": finished.config}
    answer = invoke("export", finished.path, *[option.format(**names) for option in options])
    assert (answer.code, answer.stdout) == (2, "")
    assert said in answer.stderr
    assert not list(Path().iterdir())


def test_no_run(tmp_path: Path) -> None:
    answer = invoke("export", tmp_path / "none", "--to", "csv")
    assert answer.code == 2
    assert "does not exist" in answer.stderr


def test_without_the_package(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gradlab.export.tensorboard", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    answer = invoke("export", finished.path, "--to", "tensorboard")
    assert (answer.code, answer.stdout) == (2, "")
    assert "needs the package tensorboard" in answer.stderr
    assert "'.[tensorboard]'" in answer.stderr
    assert invoke("export", finished.path, "--to", "csv").code == 0


@pytest.mark.parametrize("to", ["csv", "tensorboard"])
def test_a_full_disk(to: str, finished: Finished, tmp_path: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", ALONE, "export", str(finished.path), "--to", to, "-o", str(tmp_path / "out")],
        preexec_fn=small_files,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "out") in done.stderr
    assert not (tmp_path / "out").exists()
