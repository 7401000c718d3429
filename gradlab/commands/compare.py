"""`gradlab compare`: what made the difference."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradlab.commands.options import AsJson, Quiet, importing, print_json, warn
from gradlab.errors import UsageError
from gradlab.terminal import handled, open_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradlab.store.records import When

Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Run directories, or folders of them.")]


class Format(StrEnum):
    """How the answer is written."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


@handled
def compare(
    paths: Paths,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN,...", help="Group by these columns only; trials of all else are averaged."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="The statistics to show, such as 'final_*' or weight_grad_norm.first."),
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Only trials such as \"depth > 10 and activation == 'relu'\".")
    ] = None,
    sort: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN,...", help="Sort groups; -COLUMN from high to low.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, metavar="N", help="The first N groups only.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Layer by layer.")] = False,
    step: Annotated[str | None, typer.Option(metavar="first|last|N", help="Take everything from this record.")] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Set the runs beside this one, network by network.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How to write the answer.")] = Format.table,
    strict: Annotated[bool, typer.Option("--strict", help="What can't be read is an error.")] = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Aggregate runs over seeds and say what made the difference.

    Two run directories and nothing else are set side by side, the first as the reference.
    """
    with importing():
        from gradlab.analysis.compare import Question, compare_runs
        from gradlab.report.compare import print_comparison
        from gradlab.store.finding import find_runs

    if json and format_ in (Format.csv, Format.markdown):
        raise UsageError(f"--json and --format {format_}: give one of them")
    named = _listed("--by", by), _listed("--metric", metric)
    question = Question(*named, where, _listed("--sort", sort) or (), top, layers, _record(step))
    runs, skipped = find_runs(paths if against is None else [against, *paths])
    two_runs = len(paths) == len(runs) == 2 and all(run.parts("trials") for run in runs)
    side_by_side = two_runs and against is None and question == Question()
    reference = runs[:1] if side_by_side else ()
    if against is not None:
        of_reference = {run.path.resolve() for run in find_runs([against])[0]}
        reference = tuple(run for run in runs if run.path.resolve() in of_reference)
    comparison = compare_runs(runs, question, reference)
    if side_by_side and not comparison.against[0].networks:
        comparison = replace(comparison, against=())
    unread = list(dict.fromkeys(map(str, [*skipped, *comparison.skipped])))
    if strict and unread:
        raise UsageError("--strict: not everything can be read:" + "".join(f"\n  {reason}" for reason in unread))
    if not quiet:
        warn([*unread, *comparison.notes])
    if json or format_ is Format.json:
        from gradlab.report.plain import comparison_json

        print_json(comparison_json(comparison, runs))
    elif format_ is Format.table:
        print_comparison(open_console(), comparison, runs)
    else:
        from gradlab.report.flat import comparison_csv, comparison_markdown

        write = comparison_csv if format_ is Format.csv else comparison_markdown
        typer.echo(write(comparison), nl=False)


def _listed(option: str, values: Sequence[str] | None) -> tuple[str, ...] | None:
    """The parts of a repeated option whose values may hold several, between commas."""
    if values is None:
        return None
    parts = tuple(dict.fromkeys(text.strip() for value in values for text in value.split(",")))
    if not all(part.strip("-") for part in parts):
        raise UsageError(f"{option}: a name is missing in '{','.join(values)}'")
    return parts


def _record(step: str | None) -> When | None:
    if step is None:
        return None
    if step.isdecimal():
        return int(step)
    if step == "first":
        return "first"
    if step == "last":
        return "last"
    raise UsageError(f"--step {step}: give first, last or the number of a step")
