"""SIGKILL at any moment: every table is readable right after, and the same command ends in the same bits."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from gradlab.store.reading import read_trials
from gradlab.store.rundir import RunDirectory
from tests.end_to_end.commands import KEYS, identities, only_run, read, same_runs, write_config
from tests.end_to_end.forks import Forks

CONFIG = """
    name: killed
    data: {name: moons, n_samples: 40}
    model: {depth: 2}
    train: {steps: 8, batch_size: 10}
    record: {every: 8}
    seeds: 2
    sweep: {grid: {model.width: [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]}}
    """
TRIALS = 20

OPTIONS = ("--workers", "2", "--quiet", "--json")


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


def readable(out: Path) -> list[str]:
    """The trials that are finished, once every table has been read whole and holds no row twice."""
    runs = [path for path in out.iterdir() if not path.name.startswith(".")] if out.is_dir() else []
    if not runs:
        return []
    (run,) = runs
    assert (run / "config.yaml").read_text()
    found: dict[str, pd.DataFrame] = {}
    for table, keys in KEYS.items():
        parts = [pq.read_table(path).to_pandas() for path in sorted((run / table).glob("[!.]*.parquet"))]
        found[table] = pd.concat(parts) if parts else pd.DataFrame(columns=keys)
        assert not found[table].duplicated(keys).any(), f"rows of {table} stand twice"
    finished = found["trials"]["trial_id"].tolist()
    for table in ("steps", "layers"):
        assert set(finished) <= set(found[table]["trial_id"]), "a finished trial has all its rows"
    if finished:
        trials = read_trials([RunDirectory(run)])
        assert sorted(trials.frame["trial_id"]) == sorted(finished)
        assert not trials.skipped
    return finished


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(50, marks=pytest.mark.slow),  # about seventy short runs
        pytest.param(500, marks=pytest.mark.soak),
    ],
)
def test_killed_at_random_moments(kills: int, forks: Forks, tmp_path: Path) -> None:
    """Uniform over the life of a run, from its first moment on; one that was stopped is continued up to five times."""
    seed = time.time_ns()
    moments = random.Random(seed)  # noqa: S311
    config = write_config(tmp_path, CONFIG)
    (first,) = forks.live(tmp_path, "run", config, "--out", tmp_path / "undisturbed", *OPTIONS)
    assert first.code == 0, first.said
    undisturbed = only_run(tmp_path / "undisturbed")
    assert len(read(undisturbed, "trials")) == TRIALS
    stopped = chains = 0
    while kills:
        out, before = tmp_path / f"runs-{chains}", {}
        chains += 1
        for _ in range(min(kills, moments.randint(1, 5))):
            kills -= 1
            moment = moments.uniform(0, 1.1 * first.seconds)
            (life,) = forks.live(tmp_path, "run", config, "--out", out, *OPTIONS, killed_after=moment)
            assert life.code in (-9, 0), f"seed {seed}: {life.said}"
            finished = readable(out)
            stopped += 0 < len(finished) < TRIALS
            if finished:
                now = identities(only_run(out))
                assert now.items() >= before.items(), f"seed {seed}: a finished part was written again"
                before = now
        (last,) = forks.live(tmp_path, "run", config, "--out", out, *OPTIONS)
        assert last.code == 0, f"seed {seed}: {last.said}"
        run = only_run(out)
        assert identities(run).items() >= before.items()
        assert not [path for path in [*out.glob(".*"), *run.glob("*/.*")] if ".new-" not in path.name], "leftovers"
        same_runs(run, undisturbed)
    assert stopped, f"seed {seed}: no run was stopped in the middle"


@pytest.mark.parametrize("options", [(), ("--fresh",)], ids=["continued", "fresh"])
def test_two_in_the_same_instant(options: tuple[str, ...], forks: Forks, tmp_path: Path) -> None:
    config = write_config(tmp_path, CONFIG)
    refused = 0
    undisturbed = None
    for pair in range(6):
        out = tmp_path / f"runs-{pair}"
        lives = forks.live(tmp_path, "run", config, "--out", out, *OPTIONS, *options, copies=2)
        codes = sorted(life.code for life in lives)
        assert codes in ([0, 0], [0, 5]), [life.said for life in lives]
        for life in lives:
            assert "Traceback" not in life.said
            if life.code == 5:
                refused += 1
                assert "another gradlab run" in life.said
                assert "wait for it or stop it" in life.said
        assert len(readable(out)) == TRIALS
        undisturbed = undisturbed or only_run(out)
        same_runs(only_run(out), undisturbed)
    assert refused, "no two were at work at the same time"
