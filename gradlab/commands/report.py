"""`gradlab report`: runs as one HTML file to look at and to pass on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gradlab.commands.compare import Paths
from gradlab.commands.options import AsJson, Quiet, importing, print_json, warn
from gradlab.errors import UsageError
from gradlab.terminal import handled


@handled
def report(
    paths: Paths,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The HTML file to write.")] = Path(
        "report.html"
    ),
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also each figure as PNG and SVG, and the numbers behind it as CSV."),
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write runs as one HTML file, with a table, charts and what to try; prints its path.

    The file needs no network: it may be opened anywhere, mailed, or kept beside the runs.
    """
    with importing():
        from gradlab.analysis.figures.report import make_report
        from gradlab.report.page.document import describe
        from gradlab.report.page.writing import write_page

    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file with --output")
    found = make_report(paths)
    write_page(output, found, _command(paths, output, figures))
    if not quiet:
        warn(dict.fromkeys(map(str, found.summary.skipped)))
        typer.echo(f"written: {output} ({describe(found)})", err=True)
    if json:
        print_json({"path": str(output), "groups": len(found.labels), "figures": [one.name for one in found.figures]})
    else:
        typer.echo(str(output))


def _command(paths: list[Path], output: Path, figures: Path | None) -> list[str]:
    """The command line that makes this report."""
    more = [] if figures is None else ["--figures", os.fspath(figures)]
    return ["gradlab", "report", *map(os.fspath, paths), "-o", os.fspath(output), *more]
