"""How figures look: colours that colour-blind readers tell apart, words that are never taken for markup."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")
"""Okabe and Ito's palette (2008), what is readable on white first."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

MISSING = "0.88"
"""The grey of what is not known."""

PANELS = 12
"""Panels of a figure on paper."""

COLUMNS = 4
"""Panels side by side."""

_LEFT, _BOTTOM, _BAR, _LINE = 0.75, 0.5, 0.85, 0.22
"""Room beside the panels, below them, for a colour bar and for a line of text, in inches."""

_GAPS = 0.55, 0.75
"""Between panels, with room for the labels of their axes."""

_LONGEST = 64
"""Characters of a label."""

_NO_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")

_SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "gradlab",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 8.5,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 12,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


@contextmanager
def styled() -> Iterator[None]:
    """Inside, matplotlib draws as all figures look, whatever its user has set."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def words(text: str, longest: int = _LONGEST) -> str:
    """Text from data in one line that any file format can hold, the middle left out where it is long."""
    line = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", " ".join(printable(text).split()))
    if len(line) <= longest:
        return line
    half = (longest - 3) // 2
    return f"{line[:half]} … {line[-half:]}"


@dataclass(frozen=True, eq=False)
class Sheet:
    """A page with panels on it, row by row.

    Every part has its place in inches: to have matplotlib find places for many panels takes it a minute.
    """

    page: Canvas
    axes: list[Axes]

    @classmethod
    def of(
        cls,
        panels: int,
        columns: int,
        size: tuple[float, float],
        title: str,
        bar: bool = False,
        foot: int = 0,
        below: float = 0.0,
    ) -> Sheet:
        """A sheet with so many panels.

        Args:
            size: width and height of a panel.
            bar: whether there is to be room for a colour bar on the right.
            foot: lines of a legend or of notes below.
            below: further room for the labels below each panel, in inches.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas

        columns = min(columns, panels)
        rows = math.ceil(panels / columns)
        across, down = size[0] + _GAPS[0], size[1] + _GAPS[1] + below
        width = _LEFT + columns * across + (_BAR if bar else 0)
        heading = textwrap.wrap(words(title, 200), max(20, int(width * 9)))
        top, bottom = _LINE * (len(heading) + 1.6), _BOTTOM + below + _LINE * foot
        height = top + rows * down - _GAPS[1] - below + bottom
        page = Canvas(figsize=(width, height))
        FigureCanvasAgg(page)
        page.suptitle("\n".join(heading), fontweight="bold", y=1 - 0.1 / height, va="top")
        axes = []
        for place in range(panels):
            row, column = divmod(place, columns)
            left, low = _LEFT + column * across, height - top - row * down - size[1]
            axes.append(page.add_axes((left / width, low / height, size[0] / width, size[1] / height)))
        return cls(page, axes)

    def add_bar(self, colours: Any) -> Any:
        """A colour bar on the right."""
        width, height = self.page.get_size_inches()
        low = min(panel.get_position().y0 for panel in self.axes)
        high = max(panel.get_position().y1 for panel in self.axes)
        long = min(high - low, 3.5 / height)
        middle = (low + high) / 2
        place = self.page.add_axes((1 - (_BAR + 0.15) / width, middle - long / 2, 0.16 / width, long))
        return self.page.colorbar(colours, cax=place)

    def add_foot(self, handles: Sequence[Any], columns: int = 4) -> None:
        """A legend below all panels."""
        if handles:
            options = {"ncols": min(columns, len(handles)), "bbox_to_anchor": (0.5, 0.0)}
            self.page.legend(handles=list(handles), loc="lower center", fontsize=8, **options)

    def add_note(self, text: str) -> None:
        """A line at the very bottom."""
        self.page.text(0.5, 0.06 / self.page.get_size_inches()[1], words(text, 200), ha="center", fontsize=8)


def power_label(log10: float, _: Any = None) -> str:
    """`10⁻³`, `1`; between whole powers with two digits, `0.032`."""
    if abs(log10 - round(log10)) > 1e-6:
        return f"{10**log10:.2g}" if abs(log10) < 5 else f"10^{log10:.1f}"
    exponent = round(log10)
    return {0: "1", 1: "10"}.get(exponent, f"10{str(exponent).translate(_SUPERSCRIPTS)}")


def power_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Whole powers between two logarithms, at most so many; finer ones where there are fewer than two."""
    step = max(1, math.ceil((high - low) / most))
    ticks = [float(one) for one in range(math.ceil(low / step) * step, math.floor(high) + 1, step)]
    if len(ticks) > 1 or not high > low:
        return ticks or [low]
    return [float(one) for one in np.linspace(low, high, 5)]


def level_colours(values: Sequence[Any]) -> dict[Any, Any]:
    """A colour for each value of a factor: a scale for numbers, the palette for names."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if len(values) <= 4 or (not numbers and len(values) <= len(COLOURS)):
        return {value: COLOURS[place] for place, value in enumerate(values)}
    from matplotlib import colormaps

    scale = colormaps["viridis"](np.linspace(0.0, 0.88, len(values)))
    return {value: tuple(colour) for value, colour in zip(values, scale, strict=True)}
