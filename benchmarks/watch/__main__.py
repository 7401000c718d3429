"""What `gradlab.watch` costs: time of a step, memory, files.

`OMP_NUM_THREADS=1 python -m benchmarks.watch [--quick] [--rounds N] [--models NAME ...] [--json FILE]`

What is measured, and how, stands in the README one folder up.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.watch.memory import measured
from benchmarks.watch.models import CASES, OPTIMIZERS, Case
from benchmarks.watch.sides import AGAIN, GRADLAB, GRADLAB_ALWAYS, NOBODY, SIDES
from benchmarks.watch.small import unrecorded_step
from benchmarks.watch.tables import MICRO, Round, print_costs, print_memory
from benchmarks.watch.training import train
from benchmarks.yardstick import processor_name
from gradlab import __version__

ROUNDS = 5
WARM_UP_STEPS = 2
SMALL_ROUNDS = 50
PAGE = 190
BESIDES = (NOBODY, AGAIN, GRADLAB)
"""The sides with SGD; with Adam there are all."""

GROWTH_STEPS = 12_000


def main() -> None:
    """Take turns, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--models", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a result")
    parser.add_argument("--json", type=Path, help="write every time to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    told, page = Console(stderr=True), Console(width=PAGE)
    rounds, share = (1, 10) if options.quick else (options.rounds, 1)
    cases = [replace(CASES[name], steps=max(11, CASES[name].steps // share)) for name in options.models]
    page.print(
        f"gradlab {__version__}, torch {torch.__version__}, {processor_name()}, {os.cpu_count()} cores, one thread; "
        f"medians of {rounds} rounds\n",
        highlight=False,
    )
    costs = []
    for case in cases:
        for optimizer in OPTIMIZERS:
            told.print(f"{case.name}, {optimizer} ...", style="dim")
            costs.append(
                (case, optimizer, compared(case, optimizer, rounds, BESIDES if optimizer == "sgd" else tuple(SIDES)))
            )
    print_costs(page, costs)
    bare, added = unrecorded_step(max(2, SMALL_ROUNDS // share))
    page.print(
        f"\nA step that is not recorded: {MICRO * added:.1f} us more than {MICRO * bare:.0f} us (MLP, 8 x 32, sgd).\n",
        highlight=False,
    )
    print_memory(
        page,
        [
            (name, side, steps, measured(name, "adam", side, steps))
            for name, side, steps in _memories(options.models, share)
        ],
    )
    if options.json:
        kept = [
            {"model": c.name, "optimizer": o, "steps": c.steps, "rounds": [_plain(r) for r in found]}
            for c, o, found in costs
        ]
        options.json.write_text(json.dumps(kept, indent=2))


def compared(case: Case, optimizer: str, rounds: int, sides: Sequence[str]) -> list[Round]:
    """Rounds in which all sides take a turn, each round in another order, after a short turn of each to warm up."""
    for side in sides:
        train(case, optimizer, SIDES[side], WARM_UP_STEPS)
    found: list[Round] = []
    for number in range(rounds):
        first = number % len(sides)
        order = (*sides[first:], *sides[:first])
        spent = {side: train(case, optimizer, SIDES[side], case.steps).spent for side in order}
        found.append({side: spent[side] for side in sides})
    return found


def _memories(models: Sequence[str], share: int) -> list[tuple[str, str, int]]:
    """Model, side and steps of the trainings whose memory is measured."""
    each = [(name, side, 10 if name == "resnet" else 20) for name in models for side in (NOBODY, GRADLAB)]
    growing = [("mlp", side, GROWTH_STEPS // share) for side in (NOBODY, GRADLAB_ALWAYS)]
    return each + growing


def _plain(one: Round) -> dict[str, object]:
    return {side: asdict(spent) for side, spent in one.items()}


if __name__ == "__main__":
    main()
