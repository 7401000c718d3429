"""The entry point: every command by its name, signals as exit codes."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from gradlab import __version__
from gradlab.commands.check import check
from gradlab.commands.compare import compare
from gradlab.commands.export import export
from gradlab.commands.helping import activations, init, schema
from gradlab.commands.show import show
from gradlab.commands.training import predict, run
from gradlab.errors import EXIT_INTERRUPTED

app = typer.Typer(
    name="gradlab",
    help="Do gradients survive depth? Sweep, measure, predict, compare.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
for command in (run, predict, compare, check, show, export, activations, init, schema):
    app.command()(command)


def main() -> None:
    """The entry point of the `gradlab` command; SIGTERM ends it as Ctrl-C does, in good order."""
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        app()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"gradlab {__version__}")
        raise typer.Exit
