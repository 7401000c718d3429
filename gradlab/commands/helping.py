"""What helps to write a config: `gradlab init`, `gradlab schema`, `gradlab activations`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.commands.options import AsJson, Quiet, print_json
from gradlab.errors import UsageError
from gradlab.terminal import handled, open_console


@handled
def activations(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Draw them too: .png, .svg or .pdf.")
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Every activation with its derivative, as a table and a figure."""
    from gradlab.engine.catalogue import activation_curves, activation_rows
    from gradlab.report.activations import print_activations

    if output is not None:
        from gradlab.report.figures.activations import draw_activations

        draw_activations(output, *activation_curves())
    if json:
        print_json({"activations": activation_rows()})
    else:
        print_activations(open_console(), activation_rows())
    if output is not None and not quiet:
        typer.echo(f"drawn: {output}", err=True)


@handled
def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("gradlab.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write a commented starter config."""
    from gradlab.config.starter import starter_config
    from gradlab.store.atomic import machine_errors

    with machine_errors(file):
        try:
            with file.open("w" if force else "x", encoding="utf-8") as stream:
                stream.write(starter_config())
        except FileExistsError:
            raise UsageError(f"{file} exists; --force overwrites it") from None
        except FileNotFoundError:
            raise UsageError(f"{file}: there is no folder {file.parent}") from None
        except IsADirectoryError:
            raise UsageError(f"{file} is a folder; name a file in it") from None
    if not quiet:
        typer.echo(f"written: {file}; next: gradlab run {file}", err=True)


@handled
def schema() -> None:
    """Print the JSON Schema of the config."""
    from gradlab.config.starter import json_schema

    print_json(json_schema())
