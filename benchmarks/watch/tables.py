"""What was measured, in Markdown tables as Rich draws them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.watch.memory import Memory
from benchmarks.watch.models import Case
from benchmarks.watch.sides import GRADLAB_ALWAYS, NOBODY
from benchmarks.watch.training import Spent

MILLI, MICRO = 1e3, 1e6

Round = Mapping[str, Spent]
"""Side -> what it took, all within a short time."""


def print_costs(console: Console, costs: Sequence[tuple[Case, str, Sequence[Round]]]) -> None:
    """What each side adds to the steps of a training, with all that it writes in the meantime."""
    headers = (
        "model",
        "optimizer",
        "step ms",
        "watched by",
        "records add",
        "lowest",
        "highest",
        "against nobody",
        "wall",
    )
    table = _table(*headers, "opening ms", "closing ms")
    for case, optimizer, rounds in costs:
        step = statistics.median(one[NOBODY].steps().processor for one in rounds) / case.steps
        for side in list(rounds[0])[1:]:
            added = [one[side].records() for one in rounds]
            cells = [statistics.median(added), min(added), max(added)] if side != GRADLAB_ALWAYS else [math.nan] * 3
            cells.append(_added(rounds, side, lambda spent: spent.steps().processor))
            cells.append(_added(rounds, side, lambda spent: spent.steps().wall))
            table.add_row(
                case.name,
                optimizer,
                f"{MILLI * step:.1f}",
                side,
                *("" if math.isnan(share) else f"{100 * share:.1f} %" for share in cells),
                f"{MILLI * statistics.median(one[side].opening.wall for one in rounds):.0f}",
                f"{MILLI * statistics.median(one[side].closing.wall for one in rounds):.0f}",
            )
    console.print(table)


def print_memory(console: Console, memories: Sequence[tuple[str, str, int, Memory]]) -> None:
    """Memory and files of trainings in processes of their own: model, side, steps, what it took."""
    table = _table("model", "watched by", "steps", "peak MiB", "of it in the second half", "files", "bytes a record")
    for name, side, steps, found in memories:
        per_record = f"{found.bytes / found.records:.0f}" if found.records else ""
        growth = f"{found.growth:.1f}"
        table.add_row(name, side, str(steps), f"{found.peak:.0f}", growth, str(found.files), per_record)
    console.print(table)


def _added(rounds: Sequence[Round], side: str, seconds: Callable[[Spent], float]) -> float:
    """How much longer a side takes than nobody in the same round, the median of all rounds."""
    return statistics.median(seconds(one[side]) / seconds(one[NOBODY]) - 1 for one in rounds)


def _table(*headers: str) -> Table:
    table = Table(box=box.MARKDOWN)
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table
