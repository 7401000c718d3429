"""What several commands share: options, the config, JSON on stdout, notes on stderr."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradlab.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradlab.config.load import LoadedConfig

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML config.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Everything as JSON on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
NoCustomCode = Annotated[bool, typer.Option("--no-custom-code", help="Refuse a config that names code to run.")]
Workers = Annotated[
    int | None, typer.Option(min=1, max=1024, metavar="N", help="Worker processes.  [default: the cores]")
]


class Device(StrEnum):
    """What stacks are trained on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


OnDevice = Annotated[Device, typer.Option("--device", help="What to train on.")]


@contextmanager
def importing() -> Iterator[None]:
    """What is imported stays: looking through it for garbage, again and again, takes a seventh of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_config(
    config: Path, overrides: Sequence[str] | None, quiet: bool, no_custom_code: bool = False
) -> LoadedConfig:
    """The config with its overrides; what it notes goes to stderr."""
    from gradlab.config.load import load
    from gradlab.config.own_code import refuse_own_code

    loaded = load(config, overrides or ())
    if no_custom_code:
        refuse_own_code(loaded)
    if not quiet:
        warn(loaded.notes)
    return loaded


def print_json(value: Any) -> None:
    """A value as JSON on stdout."""
    from gradlab.report.as_json import to_json

    typer.echo(to_json(value))


def warn(notes: Iterable[object]) -> None:
    """Notes on stderr, one a line."""
    for note in notes:
        typer.echo(f"note: {printable(str(note))}", err=True)
