"""A figure drawn, as PNG or as SVG."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from gradlab.analysis.figures.figure import Figure, LayerSteps, Lines, Plane, Quantiles, Regions
from gradlab.analysis.figures.report import Report
from gradlab.report.figures.distributions import draw_quantiles, draw_regions
from gradlab.report.figures.lines import draw_lines
from gradlab.report.figures.maps import draw_layer_steps, draw_plane
from gradlab.report.figures.style import styled, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_DOTS = 150
"""Per inch, of PNG files."""


def drawn(figure: Figure, report: Report) -> dict[str, bytes]:
    """The `png` and the `svg` file of a figure, the same bytes whenever it is drawn by the same matplotlib."""
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a label in another script
        page = _page(figure, report)
        return {"png": _png(page, figure), "svg": _svg(page, figure)}


def _page(figure: Figure, report: Report) -> Canvas:
    match figure.chart:
        case Lines():
            return draw_lines(figure, figure.chart, report)
        case LayerSteps():
            return draw_layer_steps(figure, figure.chart, report)
        case Plane():
            return draw_plane(figure, figure.chart, report)
        case Quantiles():
            return draw_quantiles(figure, figure.chart, report)
        case Regions():
            return draw_regions(figure, figure.chart, report)


def _png(page: Canvas, figure: Figure) -> bytes:
    stream = io.BytesIO()
    about = {"Title": words(figure.title, 200), "Description": words(figure.sentence, 2000), "Software": None}
    # PNG's texts are Latin-1.
    told = {key: text and text.encode("latin-1", "replace").decode("latin-1") for key, text in about.items()}
    page.savefig(stream, format="png", dpi=_DOTS, metadata=told)
    return stream.getvalue()


def _svg(page: Canvas, figure: Figure) -> bytes:
    """With its title, what it shows and what it looks like, for readers who hear it."""
    stream = io.BytesIO()
    page.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    title, told = (escape(words(text, 4000)) for text in (figure.title, f"{figure.sentence} {figure.alt}"))
    head, rest = re.split(r"(?<=<svg)(?=\s)", stream.getvalue().decode(), maxsplit=1)
    attributes, content = rest.split(">", 1)
    opening = f'{head}{attributes} role="img" aria-labelledby="title desc">'
    return f'{opening}\n <title id="title">{title}</title>\n <desc id="desc">{told}</desc>{content}'.encode()
