"""The directory that a recorder leaves: pandas reads it, every command takes it, a killed training's too."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from torch import nn

import gradlab
from tests.end_to_end.commands import environment
from tests.end_to_end.commands import gradlab as command
from tests.watching.loops import data, loss, network
from tests.watching.recorded import layers, steps, trial


def train(out: Path, count: int = 6, seed: int = 0, model: nn.Module | None = None, **options: Any) -> Path:
    model = network() if model is None else model
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with gradlab.watch(model, optimizer, out=out, **{"every": 2, "seed": seed, **options}) as recorder:
        for _ in range(count):
            optimizer.zero_grad()
            value = loss(model, data())
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            recorder.log(train_loss=value)
        recorder.log(eval_loss=value, eval_metric=0.5)
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two architectures, two seeds each."""
    out = tmp_path_factory.mktemp("runs") / "mine"
    for depth in (2, 4):
        for seed in (0, 1):
            torch.manual_seed(seed)
            hidden = [module for _ in range(depth) for module in (nn.Linear(5, 5), nn.Tanh())]
            train(out, seed=seed, model=nn.Sequential(*hidden, nn.Linear(5, 3)), settings={"depth": depth, "width": 5})
    return out


def test_pandas_reads_the_tables(run: Path) -> None:
    trials = pd.read_parquet(run / "trials")
    assert len(trials) == 4
    assert trials["trial_id"].is_unique
    assert set(trials["family"]) == {"custom"}
    assert set(trials["optimizer"]) == {"adam"}
    assert set(trials["lr"]) == {0.01}
    assert set(trials["batch_size"]) == {8}
    assert set(trials["steps"]) == {6}
    assert set(trials["status"]) == {"completed"}
    assert sorted(trials["depth"]) == [2, 2, 4, 4]
    for table in ("steps", "layers"):
        found = pd.read_parquet(run / table)
        assert set(found["trial_id"]) == set(trials["trial_id"])
        assert found["step"].dtype == "int64"
    rows = pd.read_parquet(run / "layers")
    assert len(rows) == 3 * 2 * (3 + 5)
    assert set(rows["kind"]) == {"layer"}
    for (_, _), own in rows.groupby(["trial_id", "step"]):
        assert own["layer"].tolist() == list(range(1, len(own) + 1))
        assert own["activation_rms"].isna().tolist() == [False] * (len(own) - 1) + [True]


def test_the_ratio_of_a_trial_is_that_of_its_rows(run: Path) -> None:
    rows = pd.read_parquet(run / "layers").query("step == 0")
    for _, row in pd.read_parquet(run / "trials").iterrows():
        own = rows[rows["trial_id"] == row["trial_id"]].sort_values("layer")["delta_rms"].tolist()[:-1]
        assert row["gradient_ratio"] == pytest.approx(own[0] / own[-1], rel=1e-9)
        assert row["gradient_decay"] == pytest.approx((own[0] / own[-1]) ** (1 / (len(own) - 1)), rel=1e-9)


def test_what_made_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the directory that the user's program works in, not of gradlab's own."""
    repository = tmp_path / "project"
    repository.mkdir()
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org"]
    (repository / "train.py").write_text("")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], cwd=repository, check=True)  # noqa: S603
    head = subprocess.run([*git, "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)  # noqa: S603
    monkeypatch.chdir(repository)
    before = time.time()
    train(Path("runs/mine"))
    facts = json.loads((repository / "runs/mine/run.json").read_text())
    assert facts["git_commit"].startswith(head.stdout.strip())
    assert facts["torch"] == torch.__version__
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["schema_version"] == 1
    assert facts["device"] == "cpu"
    assert facts["threads"] == 1
    assert "before clipping" in facts["gradients"]
    assert "unscaled" in facts["gradients"]
    began, ended = (pd.Timestamp(facts[name]).timestamp() for name in ("start", "end"))
    assert before - 1 <= began <= ended <= time.time() + 1
    (cost,) = facts["recording"].values()
    assert cost["recording_seconds"] > 0
    assert yaml.safe_load((repository / "runs/mine/config.yaml").read_text())["name"] == "mine"


def test_gradlab_show(run: Path) -> None:
    answer = command("show", run)
    assert answer.code == 0, answer.stderr
    assert answer.stderr == ""
    for name in ("0", "2", "4"):
        assert name in answer.stdout


def test_gradlab_compare(run: Path) -> None:
    answer = command("compare", run, "--json")
    assert answer.code == 0, answer.stderr
    text = json.dumps(json.loads(answer.stdout))
    assert '"depth"' in text
    by_depth = command("compare", run, "--by", "depth")
    assert by_depth.code == 0, by_depth.stderr


@pytest.mark.parametrize("kind", ["csv", "tensorboard"])
def test_gradlab_export(kind: str, run: Path, tmp_path: Path) -> None:
    answer = command("export", run, "--to", kind, "--out", tmp_path / "exported")
    assert answer.code == 0, answer.stderr
    files = [path for path in (tmp_path / "exported").rglob("*") if path.is_file()]
    assert files
    if kind == "csv":
        (path,) = (path for path in files if path.name == "layers.csv")
        assert len(pd.read_csv(path)) == len(layers(run))


ENDLESS = """
import sys, torch, gradlab
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
recorder = gradlab.watch(model, optimizer, every=5, out=sys.argv[1], seed=0)
while True:
    optimizer.zero_grad()
    loss = model(torch.randn(3, 4)).square().mean()
    loss.backward()
    optimizer.step()
    recorder.log(train_loss=loss)
"""


def test_a_killed_training_keeps_its_records(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(out)], env=environment())  # noqa: S603
    try:
        deadline = time.monotonic() + 60
        while len(list(out.glob("steps/[!.]*.parquet"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = steps(out)["step"].tolist()
    assert found == list(range(0, 5 * len(found), 5))
    assert len(found) > 1
    assert steps(out)["train_loss"].notna().all()
    assert layers(out).groupby("step").size().eq(2).all()
    row = trial(out)
    assert row["status"] == "completed"
    assert row["gradient_ratio"] == 1
    assert json.loads((out / "run.json").read_text())["end"] is None
    answer = command("show", out)
    assert answer.code == 0, answer.stderr


def test_a_program_that_ends_without_closing(tmp_path: Path) -> None:
    """The last records are written when Python ends."""
    program = ENDLESS.replace("while True:", "for _ in range(8):")
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], env=environment(), check=True)  # noqa: S603
    assert steps(tmp_path / "run")["step"].tolist() == [0, 5]
    assert trial(tmp_path / "run")["steps"] == 8
    assert json.loads((tmp_path / "run" / "run.json").read_text())["end"] is not None


def test_a_copy_of_the_process_that_ends_earlier_writes_nothing(tmp_path: Path) -> None:
    fork = "\nimport os, sys\nif (child := os.fork()) == 0:\n    sys.exit()\nassert os.waitpid(child, 0)[1] == 0\n"
    last = "\nassert len(list(pathlib.Path(sys.argv[1]).glob('steps/*'))) == 1\nrecorder.close()\n"
    program = ENDLESS.replace("while True:", "for _ in range(8):") + fork + "import pathlib" + last
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], env=environment(), check=True)  # noqa: S603
    assert steps(tmp_path / "run")["step"].tolist() == [0, 5]


def test_files_appear_whole_and_are_never_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradlab.watching.journal import Journal

    monkeypatch.setattr(Journal, "is_due", property(lambda journal: bool(journal._pending)))
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    known: dict[Path, bytes] = {}
    with gradlab.watch(model, optimizer, every=1, out=tmp_path / "run", seed=0):
        for number in range(6):
            loss(model, data()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            for path, content in known.items():
                assert path.read_bytes() == content
            known |= {path: path.read_bytes() for path in (tmp_path / "run").glob("[ls]*/[!.]*.parquet")}
            if number:
                assert steps(tmp_path / "run")["step"].tolist() == list(range(number))
                assert len(pd.read_parquet(tmp_path / "run" / "trials")) == 1
    assert len(known) == 10
