"""What a figure is before anybody draws it: the numbers, the words, and the kind of chart."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Lines:
    """A gradient layer by layer, a line for each group.

    The figure's numbers: `group`, `step`, `layer`, and as log10, null where it is exactly 0 or unknown, `value`, the
    ends `low` and `high` of its 95 % interval over seeds, and `predicted`, what mean-field theory expects.
    """

    y_label: str
    x_label: str = "layer"


@dataclass(frozen=True)
class LayerSteps:
    """A statistic over layers and steps, a map for each group.

    The figure's numbers: `group`, `step`, `layer`, `value`.

    Attributes:
        quantity: what `value` is.
        logarithmic: whether it is log10 of that, null where it is exactly 0 or unknown.
    """

    quantity: str
    logarithmic: bool


@dataclass(frozen=True)
class Plane:
    """A statistic over two settings, a cell for each pair of them.

    The figure's numbers: `x`, `y`, `value`, `trials` (how many are behind it) and, where there are several planes,
    `panel`.

    Attributes:
        quantity: what `value` is.
        logarithmic: whether it is log10 of that, null where it is exactly 0 or unknown.
        curve: what theory says, to be drawn over it: columns `x`, `y` and, as in the numbers, `panel`.
        curve_label: what the curve is.
    """

    x_label: str
    y_label: str
    quantity: str
    logarithmic: bool
    curve: pd.DataFrame | None = None
    curve_label: str = ""


@dataclass(frozen=True)
class Quantiles:
    """The distribution of a quantity over layers.

    The figure's numbers: `group`, `step`, `layer`, and quantiles by their per cents: `q01`, `q05`, ..., `q99`.
    """

    quantity: str = "activation"


@dataclass(frozen=True)
class Regions:
    """What a network decides all over the plane of its two features.

    The figure's numbers: `group`, `seed`, and the columns of the regions table: `trial_id`, `step`, `x_min`, `x_max`,
    `y_min`, `y_max`, `resolution`, `classes`, and as lists `decision`, `points_x`, `points_y`, `points_class`.
    """

    x_label: str
    y_label: str


Chart = Lines | LayerSteps | Plane | Quantiles | Regions


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure, not drawn yet.

    Attributes:
        name: stem of its files, as in `gradient-by-layer`.
        title: what stands above it.
        sentence: what it shows, with these runs' own numbers.
        alt: what the chart looks like, for those who can't see it.
        numbers: all numbers behind it, in long form; `group` is a place in `Report.groups`.
        chart: how to draw them.
    """

    name: str
    title: str
    sentence: str
    alt: str
    numbers: pd.DataFrame
    chart: Chart
