"""The tables of the benchmark, in Markdown, as Rich draws them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from comparison import BATCH_SIZE, DEPTH, PROBE, Comparison
from rich import box
from rich.console import Console
from rich.table import Table
from whole_run import WholeRuns

MICRO, GIGA = 1e6, 1e-9


def print_speeds(console: Console, comparisons: Sequence[Comparison]) -> None:
    """Time per trial and step with records, and how many times faster the stacked engine is."""
    console.print(
        f"Per trial and step: depth {DEPTH}, batch {BATCH_SIZE}, all columns every 10 steps on a probe of {PROBE}, "
        "final measurements included; start-up, weight drawing and step 0 apart. Processor time, medians.\n"
    )
    table = _table(
        "width", "optimizer", "stack", "plain us", "stacked us", "ratio", "lowest", "highest", "ratio (wall)"
    )
    for one in comparisons:
        ratios = [measured.ratio() for measured in one.rounds]
        table.add_row(
            str(one.width),
            one.optimizer,
            str(one.stack),
            f"{MICRO * one.median(lambda r: r.plain.processor):.0f}",
            f"{MICRO * one.median(lambda r: r.stacked.processor):.0f}",
            f"{statistics.median(ratios):.1f}x",
            f"{min(ratios):.1f}x",
            f"{max(ratios):.1f}x",
            f"{one.median(lambda r: r.wall_ratio()):.1f}x",
        )
    console.print(table)


def print_peak_shares(console: Console, training: Sequence[Comparison], recording: Sequence[Comparison]) -> None:
    """Training by itself as a share of the sgemm peak, and what recording adds; pairs of equal width."""
    peaks = [measured.peak for one in training for measured in one.rounds]
    console.print(
        f"\nTraining by itself (sgd, every: 1000). The sgemm peak of one thread, measured in every round, was "
        f"{GIGA * statistics.median(peaks):.0f} GFLOP/s ({GIGA * min(peaks):.0f} to {GIGA * max(peaks):.0f}). Counted "
        "are 3 products a layer, 2 in the first. Recording: its share of all time at every: 10.\n"
    )
    table = _table(
        "width",
        "Mflop per step",
        "plain us",
        "stacked us",
        "ratio",
        "stacked GFLOP/s",
        "stacked of peak",
        "plain of peak",
        "recording, stacked",
        "recording, plain",
    )
    for one, recorded in zip(training, recording, strict=True):
        plain, stacked = one.median(lambda r: r.plain.processor), one.median(lambda r: r.stacked.processor)
        rounds = list(zip(one.rounds, recorded.rounds, strict=True))
        added = statistics.median(1 - bare.stacked.processor / full.stacked.processor for bare, full in rounds)
        plain_added = statistics.median(1 - bare.plain.processor / full.plain.processor for bare, full in rounds)
        table.add_row(
            str(one.width),
            f"{one.flops / 1e6:.1f}",
            f"{MICRO * plain:.0f}",
            f"{MICRO * stacked:.0f}",
            f"{one.median(lambda r: r.ratio()):.1f}x",
            f"{GIGA * one.flops / stacked:.0f}",
            f"{statistics.median(one.flops / r.stacked.processor / r.peak for r in one.rounds):.0%}",
            f"{statistics.median(one.flops / r.plain.processor / r.peak for r in one.rounds):.0%}",
            f"{added:.0%}",
            f"{plain_added:.0%}",
        )
    console.print(table)


def print_whole_runs(console: Console, runs: WholeRuns) -> None:
    """A mixed sweep, from starting the process to its end."""
    sweep = runs.sweep
    console.print(
        f"\nWhole runs of a mixed sweep, one process and thread each: {sweep.trials} trials of {sweep.steps} steps "
        f"(depths {', '.join(map(str, sweep.depths))}; widths {', '.join(map(str, sweep.widths))}; five activations; "
        "sgd). Processor time, medians; start-up is a run of five trials of one step.\n"
    )
    table = _table(
        "plain s", "gradlab run s", "ratio", "ratio (wall)", "plain start-up s", "gradlab start-up s", "ratio without"
    )
    table.add_row(
        *(f"{runs.median(side):.1f}" for side in ("plain", "gradlab")),
        f"{runs.ratio():.1f}x",
        f"{runs.ratio('wall'):.1f}x",
        *(f"{runs.median(side):.1f}" for side in ("plain_start", "gradlab_start")),
        f"{runs.ratio(start_up=False):.1f}x",
    )
    console.print(table)


def _table(*headers: str) -> Table:
    table = Table(box=box.MARKDOWN)
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table
