"""What a shard says at its end, while trials of other shards are missing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlab.report.numbers import count_of
from gradlab.sharding import Shard

MOST_COMMANDS = 8
"""Commands that are shown; they differ in a number."""


def share_line(shard: Shard, trained: int, failed: int, missing: int, trials: int) -> str:
    """How far the sweep is: `shard 0/3: 12 trials trained; 24 of the sweep's 36 are still missing`."""
    of_them = f", {failed} failed" if failed else ""
    are = "is" if missing == 1 else "are"
    return (
        f"shard {shard}: {count_of(trained, 'trial')} trained{of_them}; {missing:,} of {trials:,} {are} still missing"
    )


def share_json(
    shard: Shard, path: Path, trained: int, failed: int, missing: int, lacking: Mapping[Shard, int]
) -> dict[str, Any]:
    """The same as JSON."""
    by_shard = {str(other): count for other, count in lacking.items()}
    counts = {"trained": trained, "failed": failed, "missing": missing, "missing_by_shard": by_shard}
    return {"path": str(path), "shard": str(shard), **counts}


def share_notes(command: Sequence[str], lacking: Mapping[Shard, int], path: Path, seconds: float) -> list[str]:
    """Where the files lie, and the commands that train what is missing, unless they are at it already.

    Args:
        command: `gradlab run` as it was given, without its shard.
        lacking: shard -> how many trials of it are missing.
    """
    shown = [
        f"{'missing   ' if not index else '          '}{shlex.join([*command, '--shard', str(shard)])}"
        f"      {count_of(count, 'trial')}, unless it is at work"
        for index, (shard, count) in enumerate(list(lacking.items())[:MOST_COMMANDS])
    ]
    more = len(lacking) - MOST_COMMANDS
    return [
        "",
        f"files     {path}{os.sep}{{trials,steps,layers}}{os.sep}*.parquet",
        f"time      {seconds:.1f} s",
        *shown,
        *(
            [f"          and {count_of(more, 'further shard')}; without --shard, all that is missing"]
            if more > 0
            else []
        ),
    ]
