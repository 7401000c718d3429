"""Which groups share a panel, and what colours tell apart in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradlab.analysis.factors import rank
from gradlab.analysis.figures.excerpt import spread
from gradlab.analysis.wording import setting, settings_line
from gradlab.report.figures.style import PANELS

MOST_LEVELS = 10
"""Values of a factor that colours can tell apart."""


@dataclass(frozen=True)
class Facets:
    """Groups in panels.

    Attributes:
        factor: what colours stand for; empty where each group has a panel of its own.
        levels: its values in their order.
        panels: title -> the groups in it by their level; at most `PANELS`, evenly spread.
        total: how many panels there would be.
    """

    factor: str
    levels: tuple[Any, ...]
    panels: Mapping[str, Mapping[Any, int]]
    total: int

    @property
    def note(self) -> str:
        """What of all panels is drawn, where it isn't all."""
        return f"{len(self.panels)} of {self.total} panels are drawn" if len(self.panels) < self.total else ""


def facets(groups: Sequence[int], factors: Sequence[Mapping[str, Any]]) -> Facets:
    """Groups by one factor in colours, by all others in panels.

    Args:
        groups: places in `factors`.
        factors: factor -> value, of every group.
    """
    names = list(factors[groups[0]]) if groups else []
    levels = {name: sorted({factors[group][name] for group in groups}, key=rank) for name in names}
    fitting = [name for name in names if 1 < len(levels[name]) <= MOST_LEVELS]
    # Depth is how long the lines are, so that other factors are better told by colours.
    chosen = next(iter([name for name in fitting if name != "depth"] + fitting), "")
    panels: dict[str, dict[Any, int]] = {}
    for group in groups:
        rest = {name: value for name, value in factors[group].items() if name != chosen and len(levels[name]) > 1}
        panels.setdefault(settings_line(rest), {}).setdefault(factors[group].get(chosen), group)
    titles = spread(list(panels), PANELS)
    return Facets(chosen, tuple(levels.get(chosen, [None])), {title: panels[title] for title in titles}, len(panels))


def level_label(factor: str, value: Any) -> str:
    """What the legend says of a level."""
    return f"{factor}={setting(value)}" if factor else ""
