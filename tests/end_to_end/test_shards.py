"""`gradlab run --shard I/N`: invocations that know nothing of each other add up to one run."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.end_to_end.commands import (
    Answer,
    identities,
    invoke,
    only_run,
    parts,
    read,
    same_runs,
    start,
    train,
    wait_for,
    write_config,
)

SWEEP = """
    name: shared
    data: {name: moons, n_samples: 60}
    model: {depth: 2}
    train: {steps: 12, batch_size: 10}
    record: {every: 5}
    seeds: 2
    sweep:
      grid:
        model.width: [4, 5, 6, 7, 8, 9]
        model.activation: [sigmoid, relu]
    """
TRIALS = 24


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("shared"), SWEEP)


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    return train(config, config.parent / "whole")


def shard(config: Path, out: Path, share: str, *options: str) -> Answer:
    return invoke("run", config, "--out", out, "--workers", "1", "--shard", share, *options)


def assert_equal(run: Path, whole: Path) -> None:
    """The same rows to the last bit, in files of the same names."""
    same_runs(run, whole)
    assert identities(run).keys() == identities(whole).keys()
    assert json.loads((run / "run.json").read_text())["end"] is not None
    assert (run / "config.yaml").read_bytes() == (whole / "config.yaml").read_bytes()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_in_any_order(order: Sequence[int], config: Path, whole: Path, tmp_path: Path) -> None:
    trained = 0
    for number, index in enumerate(order):
        answer = shard(config, tmp_path, f"{index}/3", "--json")
        assert answer.code == 0, answer.stderr
        told = json.loads(answer.stdout)
        if number < 2:
            trained += told["trained"]
            assert told["missing"] == TRIALS - trained == sum(told["missing_by_shard"].values())
            assert told["missing_by_shard"].keys() == {f"{other}/3" for other in order[number + 1 :]}
            assert json.loads((only_run(tmp_path) / "run.json").read_text())["end"] is None
        else:
            assert told["groups"], "the last one has the summary"
    assert_equal(only_run(tmp_path), whole)
    files = identities(only_run(tmp_path))
    assert shard(config, tmp_path, "1/3").code == 0
    assert train(config, tmp_path) == only_run(tmp_path)
    assert identities(only_run(tmp_path)) == files, "again, or all of it: nothing is left to do"


def test_at_the_same_time(config: Path, whole: Path, tmp_path: Path) -> None:
    processes = [start("run", config, "--out", tmp_path, "--quiet", "--shard", f"{index}/3") for index in range(3)]
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    assert_equal(only_run(tmp_path), whole)
    info = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert info["recording"]["training_seconds"] > 0


def test_other_shares_between_them_and_more_shards_than_parts(config: Path, whole: Path, tmp_path: Path) -> None:
    """Shares that overlap, and some that are empty: parts are the same, so each is trained once."""
    assert shard(config, tmp_path, "0/3").code == 0
    files = identities(only_run(tmp_path))
    for share in ("1/2", "0/2", "39/40"):
        assert shard(config, tmp_path, share).code == 0
    assert files.items() <= identities(only_run(tmp_path)).items()
    assert_equal(only_run(tmp_path), whole)
    empty = shard(config, tmp_path / "empty", "39/40")
    assert (empty.code, empty.stdout) == (0, "shard 39/40: 0 trials trained; 24 of 24 are still missing\n")


def test_the_commands_for_what_is_missing(config: Path, whole: Path, tmp_path: Path) -> None:
    answer = shard(config, tmp_path, "1/2", "--set", "seeds=[0, 1]")
    lines = [line for line in answer.stderr.splitlines() if "--shard" in line]
    command = f"gradlab run {config} --set 'seeds=[0, 1]' --out {tmp_path} --shard 0/2"
    assert lines == [f"missing   {command}      12 trials, unless it is at work"]


def test_the_trials_of_a_share_before_they_are_trained(config: Path, tmp_path: Path) -> None:
    shown = [json.loads(shard(config, tmp_path, f"{i}/3", "--dry-run", "--json").stdout)["trials"] for i in range(3)]
    ids = [{trial["trial_id"] for trial in trials} for trials in shown]
    assert sum(map(len, ids)) == len(set.union(*ids)) == TRIALS
    assert not list(tmp_path.iterdir())
    shard(config, tmp_path, "1/3", "--quiet")
    assert set(read(only_run(tmp_path), "trials")["trial_id"]) == ids[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shard", "3/3"), "counted from 0"),
        (("--shard", "one"), "I/N"),
        (("--shard", "0/2", "--fresh"), "delete the run directory"),
    ],
)
def test_mistakes(options: Sequence[str], said: str, config: Path, tmp_path: Path) -> None:
    answer = invoke("run", config, "--out", tmp_path, *options)
    assert (answer.code, answer.stdout) == (2, "")
    assert said in answer.stderr
    assert not list(tmp_path.iterdir())


def test_one_that_is_killed_is_continued_beside_others(config: Path, whole: Path, tmp_path: Path) -> None:
    process = start("run", config, "--out", tmp_path, "--shard", "0/2", "--workers", "1", "--set", "train.steps=300")
    wait_for(lambda: len(parts(tmp_path)) > 0, process)
    told = invoke("run", config, "--out", tmp_path, "--set", "train.steps=300")
    same = shard(config, tmp_path, "0/2", "--set", "train.steps=300")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (told.code, same.code) == (5, 5), "neither a whole run beside it, nor the same shard"
    assert "another gradlab run (process" in told.stderr
    assert "shard 0/2" in same.stderr
    files = identities(only_run(tmp_path))
    assert 0 < len(files) < 3 * 6
    for share in ("1/2", "0/2"):
        assert shard(config, tmp_path, share, "--set", "train.steps=300").code == 0
    assert files.items() <= identities(only_run(tmp_path)).items()
    assert_equal(only_run(tmp_path), train(config, tmp_path / "whole", "--set", "train.steps=300"))


def test_failed_trials_are_told_by_the_shard_that_has_them(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\n\nclass Net(torch.nn.Linear):\n    bad = False\n    def forward(self, x):\n"
        "        if self.bad and self.training and len(x) == 8:\n            raise ValueError('bad')\n"
        "        return super().forward(x)\n\ndef net(in_features, out_features, bad):\n"
        "    made = Net(in_features, out_features)\n    made.bad = bad\n    return made\n"
    )
    config = write_config(
        tmp_path,
        {
            "data": {"name": "moons", "n_samples": 40},
            "model": {"family": "custom", "factory": "net.py:net"},
            "train": {"steps": 2, "batch_size": 8},
            "seeds": 1,
            "sweep": {"grid": {"model.kwargs.bad": [True, False]}},
        },
    )
    codes = [shard(config, tmp_path / "runs", f"{index}/2").code for index in (0, 1, 0, 1)]
    assert sorted(codes[:2]) == [0, 4]
    assert codes[2:] == codes[:2], "they stay failed"


def test_parts_of_another_plan(config: Path, tmp_path: Path) -> None:
    """Another version put other trials together: shards would not know who has which of them."""
    shard(config, tmp_path, "0/3")
    for path in only_run(tmp_path).glob("*/*.parquet"):
        path.rename(path.with_name(f"other-{path.name}"))
    answer = shard(config, tmp_path, "1/3")
    assert answer.code == 2
    assert "another version of gradlab" in answer.stderr
