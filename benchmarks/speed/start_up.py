"""How long commands take that do next to nothing."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.speed.cases import Case
from benchmarks.speed.processes import GRADLAB, Used, run_together, typical
from benchmarks.speed.report import Report, Wanted, spread, times

ROUNDS = 15
EMPTY = """
import typer
from rich.console import Console

app = typer.Typer()


@app.command()
def nothing() -> None:
    Console().print("")


app()
"""
HELP, RUN = "gradlab --help", "gradlab run, one trial, one step"
AGAINST: dict[str, tuple[str, float | None]] = {
    "an empty command of typer and rich": (HELP, 1.3),
    "its --help": (HELP, None),
    "import torch, pandas": (RUN, 1.5),
}
"""What a command is set against -> the command, and the goal."""


def measure(wanted: Wanted) -> list[Report]:
    """All of them in turn, byte code compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(json.dumps(Case(1, steps=1).config()))
        empty = Path(folder, "empty.py")
        empty.write_text(EMPTY)
        commands = {
            HELP: [*GRADLAB, "--help"],
            "an empty command of typer and rich": [sys.executable, str(empty)],
            "its --help": [sys.executable, str(empty), "--help"],
            RUN: [*GRADLAB, "run", "--fresh", "--out", folder, str(config)],
            "import torch, pandas": [sys.executable, "-c", "import torch, pandas"],
        }
        for command in commands.values():
            run_together([command])
        found: dict[str, list[Used]] = {name: [] for name in commands}
        for number in range(wanted.count(ROUNDS, 3)):
            wanted.told(f"start-up, round {number + 1}")
            for name, command in commands.items():
                found[name].append(run_together([command]))
    rows = [_row(name, found) for name in commands]
    note = "Whole processes, byte code compiled before; medians; the ratio is the command's time over that of this row."
    headers = (
        "command",
        "wall s",
        "processor s",
        "is under",
        "ratio",
        "lowest",
        "highest",
        "processor time",
        "goal",
    )
    measured = [{"command": name, "rounds": [asdict(used) for used in runs]} for name, runs in found.items()]
    return [Report("Start-up", note, headers, rows, measured)]


def _row(name: str, found: Mapping[str, Sequence[Used]]) -> list[str]:
    own = typical(found[name])
    seconds = [f"{own.wall:.3f}", f"{own.processor:.3f}"]
    if name not in AGAINST:
        return [name, *seconds, "", "", "", "", "", ""]
    command, goal = AGAINST[name]
    pairs = list(zip(found[command], found[name], strict=True))
    processor = statistics.median(used.processor / least.processor for used, least in pairs)
    ratios = spread([used.wall / least.wall for used, least in pairs])
    return [name, *seconds, command, *ratios, times(processor), f"{goal}x" if goal else ""]
