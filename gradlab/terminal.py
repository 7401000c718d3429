"""Between the commands and the terminal: consoles, and failures as one message with an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

from gradlab.errors import EXIT_INTERRUPTED, EXIT_MACHINE, ConfigError, GradlabError
from gradlab.printable import printable
from gradlab.store.atomic import machine_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType

SHOWN_PROBLEMS = 50
"""Problems of a config that are shown, the first of them all."""

FORESEEABLE = (GradlabError, MemoryError, OSError, KeyboardInterrupt)
"""What a command may end with that is no bug."""

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def handled(command: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """A command whose foreseeable failures are one message on stderr and the documented exit code."""

    @functools.wraps(command)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        try:
            return command(*args, **kwargs)
        except FORESEEABLE as error:
            raise typer.Exit(told(error)) from None

    return wrapper


def told(error: BaseException) -> int:
    """The exit code of a foreseeable failure, of which stderr has been told, if anyone listens there."""
    if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
        _drop_output()
        return 0
    with suppress(OSError):
        _tell(error)
    if isinstance(error, OSError):
        _drop_output()
    if isinstance(error, GradlabError):
        return error.exit_code
    return EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_MACHINE


def _drop_output() -> None:
    """What is still to be written goes nowhere: Python would try again at exit, and complain."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt):
        typer.echo("interrupted", err=True)
    elif isinstance(error, MemoryError):
        typer.echo("error: out of memory; what is finished is kept", err=True)
    elif isinstance(error, OSError):
        typer.echo(f"error: {printable(str(machine_error(error)))}", err=True)
    elif isinstance(error, ConfigError):
        shown = error.problems[:SHOWN_PROBLEMS]
        typer.echo(printable("\n".join(map(str, shown))), err=True)
        if more := len(error.problems) - len(shown):
            typer.echo(f"... and {more:,} more", err=True)
        if len(error.problems) > 1:
            typer.echo(f"{len(error.problems):,} problems; nothing was run", err=True)
    else:
        typer.echo("error: " + "\n".join(printable(str(error)).splitlines()), err=True)


def open_console(stderr: bool = False) -> Console:
    """stdout or stderr, drawn as the terminal or pipe behind it wants."""
    from rich.console import Console
    from rich.segment import Segment

    class PipeConsole(Console):
        """Shows no control characters that come with data, and leaves a closed pipe to `handled`.

        Rich would exit with 1 there, which means a regression here.
        """

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(printable(segment.text), segment.style)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PipeConsole(stderr=stderr)
