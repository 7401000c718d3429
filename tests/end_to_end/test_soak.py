"""Ten thousand trials in one run: memory stays flat, tables stay whole."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.commands import only_run, parts, start, write_config

SEEDS = 5000
SWEEP = f"""
    name: soak
    data: {{name: moons, n_samples: 60}}
    model: {{depth: 2, width: 4}}
    train: {{steps: 3, batch_size: 16}}
    record: {{every: 1, probe: 16}}
    seeds: {SEEDS}
    sweep: {{grid: {{model.activation: [relu, tanh]}}}}
"""


def resident(process: int) -> float:
    """Memory of a process and its children, MiB, without what they share."""
    total = 0
    for one in [process, *children(process)]:
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.soak  # a minute or two
@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's accounts of memory")
@pytest.mark.parametrize("workers", [1, 2])
def test_ten_thousand_trials(workers: int, tmp_path: Path) -> None:
    config, out = write_config(tmp_path, SWEEP), tmp_path / "runs"
    seen = []
    with start("run", config, "--out", out, "--workers", str(workers), "--quiet") as process:
        while process.poll() is None:
            seen.append((len(parts(out)), resident(process.pid)))
            time.sleep(0.1)
        assert process.returncode == 0, process.communicate()
    run = only_run(tmp_path / "runs")
    in_all = len(parts(out))
    assert in_all >= 16
    while_training = [memory for finished, memory in seen if 0 < finished < in_all]
    quarter = len(while_training) // 4
    assert quarter >= 5
    early, late = statistics.median(while_training[quarter : 2 * quarter]), statistics.median(while_training[-quarter:])
    assert late < 1.1 * early, f"memory grew from {early:.0f} to {late:.0f} MiB"

    trials, steps, layers = (pd.read_parquet(run / table) for table in ("trials", "steps", "layers"))
    assert set(trials["status"]) == {"completed"}
    assert len(trials) == trials["trial_id"].nunique() == 2 * SEEDS
    assert len(steps) == len(steps[["trial_id", "step"]].drop_duplicates()) == 2 * SEEDS * 3
    assert len(layers) == len(layers[["trial_id", "step", "layer"]].drop_duplicates()) == 2 * SEEDS * 3 * 3
    assert set(trials["trial_id"]) == set(steps["trial_id"]) == set(layers["trial_id"])
