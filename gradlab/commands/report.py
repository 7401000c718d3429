"""`gradlab report`: runs as one HTML file to look at and to pass on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradlab.commands.compare import Paths
from gradlab.commands.options import AsJson, Quiet, importing, print_json, warn
from gradlab.errors import UsageError
from gradlab.interrupts import raised
from gradlab.terminal import handled

if TYPE_CHECKING:
    from gradlab.analysis.figures.report import Report


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
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Only trials such as \"depth > 10 and activation == 'relu'\".")
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write runs as one HTML file, with a table, charts and what to try; prints its path.

    The file needs no network: it may be opened anywhere, mailed, or kept beside the runs.
    """
    with importing():
        from gradlab.analysis.figures.report import make_report
        from gradlab.report.numbers import count_of
        from gradlab.report.page.document import describe
        from gradlab.report.page.writing import write_page
        from gradlab.store.rundir import is_run_directory

    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file with --output")
    if (run := next(filter(is_run_directory, output.absolute().parents), None)) is not None:
        raise UsageError(f"{output} is in the run directory {run}, which holds tables only; name another place")
    found = make_report(paths, where)
    options = {"-o": os.fspath(output), "--where": where, "--figures": None if figures is None else os.fspath(figures)}
    given = [word for name, value in options.items() if value is not None for word in (name, value)]
    with raised():
        write_page(output, found, ["gradlab", "report", *map(os.fspath, paths), *given])
        files = _write_figures(found, figures)
    if not quiet:
        warn(dict.fromkeys(map(str, found.summary.skipped)))
        in_folder = f"; {count_of(len(files), 'file')} in {figures}" if figures is not None else ""
        typer.echo(f"written: {output} ({describe(found)}{in_folder})", err=True)
    if json:
        names = [figure.name for figure in found.figures]
        print_json({"path": str(output), "groups": len(found.labels), "figures": names, "files": files})
    else:
        typer.echo(str(output))


def _write_figures(found: Report, folder: Path | None) -> list[str]:
    if folder is None:
        return []
    from gradlab.report.figures.files import write_figures

    return [file.as_posix() for file in write_figures(found, folder)]
