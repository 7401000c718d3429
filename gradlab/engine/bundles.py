"""Parts that one worker trains together: larger stacks take less time for each trial, and leave less work to share out.

The parts of a sweep are the same on every machine, for as many workers as there may be; a few workers do better with
fewer stacks. A trial's numbers don't depend on its stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gradlab.config.own_code import own_code
from gradlab.config.sweep import Trial
from gradlab.engine.stacks import PARTS, RECORDED_ROWS, Part, recorded_rows, stacks_of

BUNDLES = 2
"""Bundles for every worker, at least, so that none waits long for the last."""

LONGEST = 2e12
"""Cost of a bundle of several parts, at most: some ten minutes of a core, which are lost where a run is killed."""

MOST_PARTS = 4 * PARTS
"""A sweep of more parts has large stacks anyway."""


@dataclass(frozen=True)
class Bundle:
    """Parts that are trained together.

    Attributes:
        whole: all their trials, in as few stacks as is quickest.
    """

    parts: tuple[Part, ...]
    whole: Part


def bundled(
    parts: Sequence[Part], workers: int, positions: Callable[[Trial], int], fits: Callable[[Part], bool]
) -> list[Bundle]:
    """All parts, each joined to the one before it where that makes fewer stacks and leaves work for all workers.

    The longest come first, so that workers that take one after the other end at about the same time.

    Parts with the user's own code stay by themselves: it may end its worker.

    Args:
        positions: rows that one example makes in a trial's hidden layers.
        fits: whether there is memory for a bundle as it is.
    """
    most = min(LONGEST, sum(part.cost for part in parts) / (BUNDLES * workers))
    bundles: list[Bundle] = []
    for part in parts:
        joined = None
        if bundles and len(parts) <= MOST_PARTS and bundles[-1].whole.cost + part.cost <= most * (1 + 1e-9):
            joined = _joined(bundles[-1], part, positions)
        if joined is not None and fits(joined.whole):
            bundles[-1] = joined
        else:
            bundles.append(Bundle((part,), part))
    return sorted(bundles, key=lambda bundle: -bundle.whole.cost)


def _joined(bundle: Bundle, part: Part, positions: Callable[[Trial], int]) -> Bundle | None:
    """A bundle with one part more; None where nothing is gained."""
    trials = [*bundle.whole.trials, *part.trials]
    if sum(map(recorded_rows, trials)) > RECORDED_ROWS or not all(trial.model.is_stacked for trial in trials):
        return None
    if any(own_code(trials)):
        return None
    stacks = stacks_of(trials, positions)
    if len(stacks) >= len(bundle.whole.stacks) + len(part.stacks):
        return None
    return Bundle((*bundle.parts, part), replace(bundle.whole, stacks=stacks, cost=bundle.whole.cost + part.cost))
