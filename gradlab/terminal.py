"""Between the commands and the terminal: consoles, and failures as one message with an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

from gradlab.errors import EXIT_INTERRUPTED, EXIT_MACHINE, ConfigError, GradlabError
from gradlab.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType

SHOWN_PROBLEMS = 50
"""Problems of a config that are shown, the first of them all."""

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def handled(command: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """A command whose foreseeable failures are one message on stderr and the documented exit code."""

    @functools.wraps(command)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        try:
            return command(*args, **kwargs)
        except GradlabError as error:
            _complain(error)
            raise typer.Exit(error.exit_code) from None
        except MemoryError:
            typer.echo("error: out of memory; what is finished is kept", err=True)
            raise typer.Exit(EXIT_MACHINE) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read the output has seen enough; keep Python from complaining at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None

    return wrapper


def _complain(error: GradlabError) -> None:
    if isinstance(error, ConfigError):
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
