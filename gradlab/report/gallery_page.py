"""The gallery as a page of documentation: each known result with its figure, its statements and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradlab.report.gallery import Shown, bounds, duration, measured
from gradlab.report.markup import escaped, markdown_row
from gradlab.report.numbers import count_of

_INTRODUCTION = """\
# Gallery

Known results about deep networks, reproduced: each is a config in `configs/papers/`, and beside it stand statements
with the figures that they must satisfy. `gradlab gallery` lists them, `gradlab gallery NAME` trains the networks and
says of every statement whether it is reproduced, `gradlab gallery --all --quick` does so for all of them with fewer
seeds and steps. Bounds come from the papers and from closed forms, with a margin for which the reason is given; where
something is done otherwise than in the paper, or comes out otherwise, it says so.
"""


def gallery_page(shown: Sequence[Shown], figures: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The page in Markdown.

    Args:
        shown: what came of the exhibits.
        figures: name of an exhibit -> the path of each of its images, relative to the page, and its alternative text.
    """
    total, reproduced = sum(len(one.findings) for one in shown), sum(one.reproduced for one in shown)
    head = (
        f"{_INTRODUCTION}\nThis page was written by gradlab: {reproduced} of {count_of(total, 'statement')} reproduced."
    )
    return "\n\n".join([head, *(_section(one, figures.get(one.exhibit.name, ())) for one in shown)]) + "\n"


def _section(shown: Shown, figures: Sequence[tuple[str, str]]) -> str:
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
        *(f"![{escaped(told)}]({path})" for path, told in figures),
        "\n".join(map(markdown_row, rows)),
        "Why these bounds:\n\n" + "\n".join(reasons),
        f"`gradlab gallery {name}` ({took})",
    ]
    return "\n\n".join(parts)
