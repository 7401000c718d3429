"""The gallery as a page of documentation: each known result with its figure, its statements and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from gradlab.analysis.figures.report import make_report
from gradlab.report.figures.drawing import drawn
from gradlab.report.gallery import Shown, bounds, duration, measured
from gradlab.report.markup import escaped, markdown_row
from gradlab.report.numbers import count_of
from gradlab.store.atomic import machine_errors, write_text, write_whole

_INTRODUCTION = """\
# Gallery

Known results about deep networks, reproduced: each is a config in `configs/papers/`, and beside it stand statements
with the figures that they must satisfy. `gradlab gallery` lists them, `gradlab gallery NAME` trains the networks and
says of every statement whether it is reproduced, `gradlab gallery --all --quick` does so for all of them with fewer
seeds and steps. Bounds come from the papers and from closed forms, with a margin for which the reason is given; where
something is done otherwise than in the paper, or comes out otherwise, it says so.
"""


def write_page(path: Path, shown: Sequence[Shown]) -> None:
    """Write the page, and the figure of each exhibit as `NAME.png` into the folder beside it that is named like it.

    Raises:
        MachineError: it can't be written.
    """
    folder = path.with_suffix("")
    with machine_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, str] = {}
    for one in shown:
        report = make_report([one.path])
        for figure in report.figures:
            if figure.name == one.exhibit.expectation.figure:
                image = drawn(figure, report)["png"]
                write_whole(folder / f"{one.exhibit.name}.png", partial(_write, image))
                image_link = f"![{escaped(figure.alt)}]({folder.name}/{one.exhibit.name}.png)"
                figures[one.exhibit.name] = f"{image_link}\n\n{escaped(figure.sentence)}"
    write_text(path, gallery_page(shown, figures))


def _write(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)


def gallery_page(shown: Sequence[Shown], figures: Mapping[str, str]) -> str:
    """The page in Markdown.

    Args:
        shown: what came of the exhibits.
        figures: name of an exhibit -> its image and what that shows, in Markdown.
    """
    total, reproduced = sum(len(one.findings) for one in shown), sum(one.reproduced for one in shown)
    head = (
        f"{_INTRODUCTION}\nThis page was written by gradlab: {reproduced} of {count_of(total, 'statement')} reproduced."
    )
    return "\n\n".join([head, *(_section(one, figures.get(one.exhibit.name)) for one in shown)]) + "\n"


def _section(shown: Shown, figure: str | None) -> str:
    name, known = shown.exhibit.name, shown.exhibit.expectation
    rows = [("statement", "measured", "expected", "reproduced"), ("---", "---", "---", "---")]
    rows += [
        (
            escaped(finding.statement.says),
            escaped(measured(finding)),
            bounds(finding.statement),
            "yes" if finding.reproduced else "**no**",
        )
        for finding in shown.findings
    ]
    reasons = [f"- {escaped(one.statement.says)} {escaped(one.statement.because)}" for one in shown.findings]
    took = f"{duration(known.seconds.full)} on two cores, with `--quick` {duration(known.seconds.quick)}"
    parts = [
        f"## {name}",
        f"**{escaped(known.shows)}** ({escaped(known.paper)}: {escaped(known.source)})",
        f"The paper: {escaped(known.claims)}",
        f"Here: {escaped(known.here)}",
        *([figure] if figure else []),
        "\n".join(map(markdown_row, rows)),
        "Why these bounds:\n\n" + "\n".join(reasons),
        f"`gradlab gallery {name}` ({took})",
    ]
    return "\n\n".join(parts)
