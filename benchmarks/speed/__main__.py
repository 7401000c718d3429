"""How fast gradlab trains, in one run: against a plain PyTorch loop, JAX, and the processor's sgemm peak.

`OMP_NUM_THREADS=1 python -m benchmarks.speed [--quick] [--only PART ...] [--rounds N] [--json FILE]`

What is measured, and how, stands in the README one folder up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.speed import beside_jax, convolutions, growth, mixed, odd, peak, recording, start_up, whole
from benchmarks.speed.processes import ROOT
from benchmarks.speed.report import Report, Wanted
from benchmarks.speed.tables import print_report
from benchmarks.yardstick import processor_name
from gradlab import __version__

PAGE = 200
"""Characters of a line: tables are meant for a file as well as for a terminal."""

PARTS: Mapping[str, Callable[[Wanted], list[Report]]] = {
    "whole": whole.measure,
    "peak": peak.measure,
    "jax": beside_jax.measure,
    "convolutions": convolutions.measure,
    "mixed": mixed.measure,
    "odd": odd.measure,
    "recording": recording.measure,
    "growth": growth.measure,
    "start-up": start_up.measure,
}
ON_DEVICE = ("whole", "peak")
"""Parts that can use a GPU."""


def main() -> None:
    """Measure, print every table as soon as it is there, and write everything measured where `--json` says."""
    options = _options()
    torch.set_num_threads(1)
    told, page = Console(stderr=True), Console(width=PAGE)
    wanted = Wanted(
        options.quick,
        options.rounds,
        options.device,
        options.jax_python,
        lambda what: told.print(f"{what} ...", style="dim", highlight=False),
    )
    machine = {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "gradlab": __version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }
    page.print(", ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)
    measured: dict[str, object] = {"command": sys.argv[1:], "machine": machine}
    for part in options.only or (PARTS if options.device == "cpu" else ON_DEVICE):
        for report in PARTS[part](wanted):
            print_report(page, report)
            measured[report.title] = asdict(report)
            if options.json is not None:
                options.json.write_text(json.dumps(measured, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How fast gradlab trains.")
    parser.add_argument("--quick", action="store_true", help="few cases and rounds: a look, not a result")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"some parts: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of every part, instead of its own number")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements there")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help=f"for {' and '.join(ON_DEVICE)}")
    jax = ROOT / "build" / "jax" / "bin" / "python"
    parser.add_argument("--jax-python", type=Path, default=jax, metavar="PATH", help="an interpreter that has jax")
    return parser.parse_args()


if __name__ == "__main__":
    main()
