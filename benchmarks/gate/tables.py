"""The tables of the benchmark, in Markdown, as Rich draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.gate.checks import SEEDS, Finding
from benchmarks.gate.drift import UPGRADE
from benchmarks.gate.nulls import Judged, NullCheck, summary
from benchmarks.gate.variants import NETWORKS
from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION
from gradlab.analysis.gate.resampling import LEVEL

FALSE_ALARMS, DETECTED = 0.01, 0.95
"""What is required: at most this share of the null checks, at least this share of the bugs."""


def print_requirements(
    console: Console,
    nulls: Sequence[NullCheck],
    refactors: Sequence[Finding],
    drift: Sequence[Finding],
    bugs: Sequence[Finding],
) -> None:
    """What is required of the gate, and what was found."""
    alarms = sum(one.fresh.verdict == REGRESSION for one in nulls)
    broken = sum(one.verdict == REGRESSION for one in refactors)
    upgrade = [one for one in drift if one.variant.kind == f"{UPGRADE:.0e}"]
    seen = sum(one.verdict == REGRESSION for one in upgrade)
    found = sum(one.verdict == REGRESSION for one in bugs)
    kinds = len({one.variant.kind for one in bugs})
    table = _table("required", "found", "met")
    rows = [
        (
            f"false alarms: at most {FALSE_ALARMS:.0%} of null checks with fresh seeds",
            f"{alarms} of {len(nulls):,}",
            alarms <= FALSE_ALARMS * len(nulls),
        ),
        ("refactors that change no behaviour: no alarm", f"{broken} of {len(refactors)}", not broken),
        ("an upgrade's drift in the 5th digit: no alarm", f"{seen} of {len(upgrade)}", not seen),
        (
            f"planted bugs of {kinds} kinds: at least {DETECTED:.0%} found",
            f"{found} of {len(bugs)}",
            found >= DETECTED * len(bugs),
        ),
    ]
    for required, told, met in rows:
        if not told.endswith(" of 0"):
            table.add_row(required, told, "yes" if met else "NO")
    console.print(table)


def print_nulls(console: Console, found: Sequence[NullCheck]) -> None:
    """False alarms by network, and whether the tests keep their level before the size of a change is asked for."""
    console.print(
        f"\nNull checks: the same code on both sides, {SEEDS} seeds each, all of them used once. Left as `gradlab "
        "check` compares fresh seeds; right the same numbers compared as if they were pairs.\n"
        f"`p <= {LEVEL:.1%}`: the share of checks in which any statistic is significant, however small its change.\n"
    )
    table = _table("network", "checks")
    for _ in ("fresh", "pairs"):
        for header in ("false alarms", "95% interval", "inconclusive", f"p <= {LEVEL:.1%}", "p <= 5%"):
            table.add_column(header, justify="right", no_wrap=True)
    for network in (*NETWORKS, "all"):
        own = [one for one in found if network in (one.network, "all")]
        cells = [cell for way in ("fresh", "paired") for cell in _null_cells([getattr(one, way) for one in own])]
        table.add_row(network, f"{len(own):,}", *cells)
    console.print(table)
    for one in found:
        for way, judged in (("fresh", one.fresh), ("pairs", one.paired)):
            if judged.verdict == REGRESSION:
                seed, blamed = one.first_seed, ", ".join(judged.blamed)
                console.print(f"false alarm ({way}): {one.network}, seeds from {seed:,}, p {judged.p:.4f}: {blamed}")


def print_refactors(console: Console, found: Sequence[Finding]) -> None:
    """Changes of the code that change nothing, each with several sets of seeds."""
    console.print(f"\nRefactors, each checked with several sets of {SEEDS} seeds.\n")
    table = _table("refactor", "network", "checks", "seeds", "regressions", "inconclusive", "largest change")
    for kind, network in dict.fromkeys((one.variant.kind, one.variant.network) for one in found):
        own = [one for one in found if (one.variant.kind, one.variant.network) == (kind, network)]
        table.add_row(
            kind,
            network,
            str(len(own)),
            _how(own[0]),
            str(sum(one.verdict == REGRESSION for one in own)),
            str(sum(one.verdict == INCONCLUSIVE for one in own)),
            _largest(max(one.largest_ratio for one in own), max(one.largest_step for one in own)),
        )
    console.print(table)


def print_drift(console: Console, found: Sequence[Finding]) -> None:
    """Noise on every product, from far below an upgrade's to where it begins to be seen."""
    console.print("\nNoise on every product of every layer, forward and backward, relative to each number.\n")
    table = _table("noise", "network", "verdict", "seeds", "largest change")
    for one in found:
        largest = _largest(one.largest_ratio, one.largest_step)
        table.add_row(one.variant.kind, one.variant.network, one.verdict, _how(one), largest)
    console.print(table)


def print_bugs(console: Console, found: Sequence[Finding]) -> None:
    """Every bug, whether it was found, and by what; then those that were missed, and why."""
    with_fresh = sum(one.fresh == REGRESSION for one in found)
    console.print(
        f"\nPlanted bugs. With the baseline's seeds {sum(one.verdict == REGRESSION for one in found)} of {len(found)} "
        f"are found, with {SEEDS} other seeds {with_fresh}.\n"
    )
    table = _table("bug", "network", "exit", "seeds", "other seeds", "worst statistics", "what is said first")
    for one in found:
        table.add_row(
            one.variant.kind,
            one.variant.network,
            str(one.exit_code),
            _how(one),
            one.fresh,
            ", ".join(one.regressed[:3]),
            one.sentence,
        )
    console.print(table)
    for one in found:
        if one.verdict != REGRESSION:
            console.print(f"missed: {one.variant.kind} ({one.variant.network}): {_why(one)}")


def _null_cells(found: Sequence[Judged]) -> list[str]:
    counted = summary(found)
    return [
        str(counted.alarms),
        f"{counted.low:.2%} .. {counted.high:.2%}",
        str(counted.inconclusive),
        f"{counted.share_below(LEVEL):.1%}",
        f"{counted.share_below(0.05):.1%}",
    ]


def _how(finding: Finding) -> str:
    return "pairs" if finding.paired else "distributions"


def _why(finding: Finding) -> str:
    largest = _largest(finding.largest_ratio, finding.largest_step)
    if finding.verdict == INCONCLUSIVE:
        return f"changes large enough to matter ({largest}), but perhaps by chance"
    return f"no change is large enough to matter ({largest} at most)"


def _largest(ratio: float, step: float) -> str:
    shown = "to or from 0" if math.isinf(ratio) else f"{ratio:.4g}x" if ratio >= 1.001 else f"1 + {ratio - 1:.0e}"
    return f"{shown} in a norm, {step:.2g} in a share"


def _table(*headers: str) -> Table:
    table = Table(box=box.MARKDOWN)
    for header in headers:
        table.add_column(header, no_wrap=header != "what is said first")
    return table
