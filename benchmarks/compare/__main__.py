"""`gradlab compare` on ten thousand trials against a bare DuckDB query, and its memory on a hundred thousand."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.compare.made_up import DEPTH, RECORDS, write_run

ROUNDS = 9
FORMATS = ("table", "csv")


def main() -> None:
    """Write the runs, take turns, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=100_000, help="trials of the run whose memory is measured; 0: none")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="write every time to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        big = write_run(Path(folder) / "big", options.trials).path
        small = write_run(Path(folder) / "small", 1).path
        rounds = [_round(big, small) for _ in range(options.rounds + 1)][1:]
        _print_times(rounds, options.trials)
        if options.json:
            options.json.write_text(json.dumps(rounds, indent=2))
        if options.many:
            many = write_run(Path(folder) / "many", options.many).path
            seconds, peak = _gradlab(many)
            rows = options.many * RECORDS * (DEPTH + 1)
            print(f"{options.many:,} trials ({rows:,} rows of layers): {seconds:.2f} s, {peak:.0f} MiB at most")


def _round(big: Path, small: Path) -> dict[str, float]:
    """One turn of each side; the page cache is warm."""
    found: dict[str, float] = {"duckdb": _duckdb(big)}
    for name in FORMATS:
        found[name], found[f"{name} MiB"] = _gradlab(big, "--format", name)
        found[f"{name} of one trial"], _ = _gradlab(small, "--format", name)
    return found


def _print_times(rounds: list[dict[str, float]], trials: int) -> None:
    rows = trials * RECORDS * (DEPTH + 1)
    middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    print(f"{trials:,} trials, {rows:,} rows of layers; medians of {len(rounds)} rounds, {os.cpu_count()} cores")
    print(f"bare DuckDB query: {middle['duckdb']:.3f} s")
    for name in FORMATS:
        ratios = [(one[name] - one[f"{name} of one trial"]) / one["duckdb"] for one in rounds]
        start_up = middle[f"{name} of one trial"]
        print(
            f"gradlab compare --format {name}: {middle[name]:.3f} s, of one trial {start_up:.3f} s; "
            f"beyond that {statistics.median(ratios):.2f}x the query ({min(ratios):.2f} to {max(ratios):.2f}); "
            f"{middle[f'{name} MiB']:.0f} MiB at most"
        )


def _duckdb(run: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.compare.query", str(run), str(os.cpu_count())]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])


def _gradlab(run: Path, *options: str) -> tuple[float, float]:
    """Seconds of the whole command by the wall's clock, and its peak memory in MiB."""
    command = [sys.executable, "-m", "gradlab", "compare", str(run), *options]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return seconds, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
