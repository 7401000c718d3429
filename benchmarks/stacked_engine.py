"""How fast the stacked engine trains a trial, against a plain PyTorch loop and the processor's peak, in one run.

`OMP_NUM_THREADS=1 python benchmarks/stacked_engine.py [--quick] [--widths N ...] [--rounds N] [--json FILE]`

What is compared, and what counts, stands in the README beside this file.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from comparison import Comparison, compare
from rich.console import Console
from tables import print_peak_shares, print_speeds, print_whole_runs
from whole_run import QUICK_SWEEP, SWEEP, WholeRuns, compare_whole_runs
from yardstick import processor_name

from gradlab import __version__

WIDTHS, QUICK_WIDTHS = (16, 32, 64, 128, 256), (16, 64)
STEPS, QUICK_STEPS = 101, 41
"""Step 0 is not timed; of the others every tenth is recorded."""

ROUNDS, QUICK_ROUNDS = 5, 2
WHOLE_ROUNDS, QUICK_WHOLE_ROUNDS = 3, 1
PAGE = 170
"""Characters of a line: tables are meant for a file as well as for a terminal."""


def main() -> None:
    """Measure, print the tables, and write everything measured where `--json` says."""
    options = _options()
    torch.set_num_threads(1)
    progress, page = Console(stderr=True), Console(width=PAGE)
    quick = options.quick
    steps, rounds = (QUICK_STEPS, QUICK_ROUNDS) if quick else (STEPS, ROUNDS)
    comparisons: list[Comparison] = []
    for width in options.widths or (QUICK_WIDTHS if quick else WIDTHS):
        progress.print(f"width {width} ...", style="dim")
        comparisons += compare(width, steps, options.rounds or rounds)
    progress.print("whole runs ...", style="dim")
    runs = compare_whole_runs(QUICK_SWEEP if quick else SWEEP, QUICK_WHOLE_ROUNDS if quick else WHOLE_ROUNDS)

    machine = _machine()
    page.print(", ".join(f"{name} {value}" for name, value in machine.items()) + "\n", highlight=False)
    recorded = [one for one in comparisons if one.every < steps]
    print_speeds(page, recorded)
    training = [one for one in comparisons if one.every >= steps]
    print_peak_shares(page, training, [one for one in recorded if one.optimizer == "sgd"])
    print_whole_runs(page, runs)
    if options.json is not None:
        options.json.write_text(json.dumps(_as_json(machine, comparisons, runs), indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The stacked engine against a plain PyTorch loop, one thread each.")
    parser.add_argument("--quick", action="store_true", help="two widths, few steps and rounds: a look, not a result")
    parser.add_argument("--widths", type=int, nargs="+", metavar="N", help="hidden units of a layer (16 to 256)")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"pairs of measurements per width ({ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements there")
    return parser.parse_args()


def _machine() -> dict[str, str]:
    return {
        "processor:": processor_name(),
        "torch": torch.__version__,
        "gradlab": __version__,
        "Python": platform.python_version(),
        "threads:": str(torch.get_num_threads()),
    }


def _as_json(machine: dict[str, str], comparisons: Sequence[Comparison], runs: WholeRuns) -> dict[str, Any]:
    return {
        "command": sys.argv[1:],
        "machine": {name.rstrip(":"): value for name, value in machine.items()},
        "per_trial_and_step": [asdict(one) for one in comparisons],
        "whole_runs": asdict(runs),
    }


if __name__ == "__main__":
    main()
