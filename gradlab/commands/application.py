"""Every command by its name."""

from __future__ import annotations

from typing import Annotated

import typer

from gradlab import __version__
from gradlab.commands.check import check
from gradlab.commands.compare import compare
from gradlab.commands.export import export
from gradlab.commands.gallery import gallery
from gradlab.commands.helping import activations, init, schema
from gradlab.commands.report import report
from gradlab.commands.show import show
from gradlab.commands.training import predict, run

app = typer.Typer(
    name="gradlab",
    help="Do gradients survive depth? Sweep, measure, predict, compare.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
for command in (run, predict, compare, report, check, show, export, gallery, activations, init, schema):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"gradlab {__version__}")
        raise typer.Exit
