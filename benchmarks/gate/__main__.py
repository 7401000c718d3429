"""Can `gradlab check` be trusted? False alarms, refactors, drift and planted bugs, counted in one run.

`OMP_NUM_THREADS=1 python -m benchmarks.gate [--quick] [--only PART ...] [--checks N] [--workers N] [--json FILE]`

What is counted, and how, stands in the README one folder up.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console

from benchmarks.gate import nulls
from benchmarks.gate.checks import Finding, check, clean
from benchmarks.gate.drift import SIZES, UPGRADE, drift
from benchmarks.gate.tables import print_bugs, print_drift, print_nulls, print_refactors, print_requirements
from benchmarks.gate.variants import NETWORKS, Variant, bugs, refactors
from gradlab import __version__
from gradlab.executors import run_in_workers

NULLS, REFACTORS, DRIFT, BUGS = PARTS = ("nulls", "refactors", "drift", "bugs")

CHECKS, QUICK_CHECKS = 334, 12
"""Null checks of every network."""

STARTS, QUICK_STARTS = (0, 100, 200), (0, 100)
"""First seeds of the clean project's baselines. Refactors are checked with all of them, anything else with the first; a
second is always there, since bugs are looked for with other seeds, too."""

PAGE = 190
"""Characters of a line: tables are meant for a file as well as for a terminal."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Results:
    """Everything that was counted."""

    nulls: list[nulls.NullCheck]
    refactors: list[Finding]
    drift: list[Finding]
    bugs: list[Finding]


def main() -> None:
    """Run the checks, print the tables, and write every outcome where `--json` says."""
    options = _options()
    torch.set_num_threads(1)
    quick, parts = options.quick, options.only
    told = Console(stderr=True)

    def everywhere(name: str, items: Sequence[Item], work: Callable[[Item], Result]) -> list[Result]:
        if items:
            told.print(f"{name}: {len(items)} ...", style="dim")
        return _spread(items, work, options.workers)

    starts = QUICK_STARTS if quick else STARTS
    keys = [(network, start) for network in NETWORKS for start in starts] if set(parts) - {NULLS} else []
    baselines = dict(zip(keys, everywhere("baselines", keys, lambda key: clean(*key)), strict=True))

    def checked(part: str, variants: Sequence[Variant], starts: Sequence[int] = (0,)) -> list[Finding]:
        cases = [(variant, start) for variant in variants for start in starts] if part in parts else []
        return everywhere(part, cases, lambda case: check(case[0], baselines, case[1]))

    planted, harmless = bugs(), refactors()
    count = options.checks or (QUICK_CHECKS if quick else CHECKS)
    null_blocks = nulls.blocks(count) if NULLS in parts else []
    results = Results(
        bugs=checked(BUGS, planted[::4] if quick else planted),
        refactors=checked(REFACTORS, harmless[::3] if quick else harmless, starts[:1] if quick else starts),
        drift=checked(DRIFT, [one for size in ((UPGRADE,) if quick else SIZES) for one in drift(size)]),
        nulls=[one for found in everywhere(f"blocks of {NULLS}", null_blocks, nulls.run) for one in found],
    )
    page = Console(width=PAGE)
    page.print(f"gradlab {__version__}, torch {torch.__version__}\n", highlight=False)
    print_requirements(page, results.nulls, results.refactors, results.drift, results.bugs)
    for found, show in (
        (results.nulls, print_nulls),
        (results.refactors, print_refactors),
        (results.drift, print_drift),
        (results.bugs, print_bugs),
    ):
        if found:
            show(page, found)
    if options.json is not None:
        options.json.write_text(json.dumps(_as_json(results), indent=1) + "\n")


def _spread(items: Sequence[Item], work: Callable[[Item], Result], workers: int) -> list[Result]:
    """Each item's result, in order, worked on in forked processes."""
    found: dict[int, Result] = {}
    numbered = list(enumerate(items))
    for done in run_in_workers(numbered, lambda item, report: work(item[1]), workers, lambda shares: None):
        if done.result is None:
            raise RuntimeError(f"{done.item[1]}: {done.reason}")
        found[done.item[0]] = done.result
    return [found[number] for number, _ in numbered]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description="Can `gradlab check` be trusted?")
    parser.add_argument("--quick", action="store_true", help="a few of everything: a look, not a result")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--checks", type=int, metavar="N", help=f"null checks of every network ({CHECKS})")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome there")
    return parser.parse_args()


def _as_json(results: Results) -> dict[str, Any]:
    versions = {"gradlab": __version__, "torch": torch.__version__}
    return {"command": sys.argv[1:], "made_by": versions, **asdict(results)}


if __name__ == "__main__":
    main()
