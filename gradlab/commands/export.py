"""`gradlab export`: a run in another tool's format."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from gradlab.commands.options import AsJson, Quiet, print_json, warn
from gradlab.errors import UsageError
from gradlab.interrupts import raised
from gradlab.terminal import handled, open_console

if TYPE_CHECKING:
    import pyarrow as pa

    from gradlab.export.selection import Rows
    from gradlab.store.rundir import RunDirectory

    Write: TypeAlias = Callable[[pa.Table, Rows, Path], None]


class Format(StrEnum):
    """What a run can be exported to."""

    tensorboard = "tensorboard"
    csv = "csv"


@handled
def export(
    run_directory: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)],
    to: Annotated[Format, typer.Option("--to", help="The format.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="The folder to write.  [default: RUN-FORMAT here]")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Only trials such as \"depth > 10 and activation == 'relu'\".")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """A run as CSV files, or as event files of TensorBoard; prints the folder.

    In TensorBoard norms of gradients are logarithms: its numbers are float32, in which small norms would be 0.
    """
    from gradlab.export.folder import files_of, whole_folder
    from gradlab.export.selection import select
    from gradlab.report.numbers import count_of
    from gradlab.store.finding import find_run

    run, notes = find_run(run_directory)
    write, replaced = _writer(to, run)
    target = out or Path(f"{run.name}-{to}")
    if run.path.resolve() in {target.resolve(), *target.resolve().parents}:
        raise UsageError(f"{target} is in the run directory, which holds tables only; name another folder with --out")
    selection = select(run, where)
    with raised(), whole_folder(target, force, replaced) as folder:
        with _progress(quiet, len(run.parts("steps")) + len(run.parts("layers"))) as advance:
            write(selection.trials, lambda table: selection.rows(table, advance), folder)
        files = [file.as_posix() for file in files_of(folder)]
    count = selection.trials.num_rows
    if not quiet:
        warn([*notes, *selection.skipped])
        what = ", ".join(files) if to is Format.csv else f"look at it with: tensorboard --logdir {target}"
        typer.echo(f"written: {target} ({count_of(count, 'trial')} of {run.name}); {what}", err=True)
    if json:
        print_json({"path": str(target), "files": files, "trials": count})
    else:
        typer.echo(str(target))


def _writer(to: Format, run: RunDirectory) -> tuple[Write, str | None]:
    """What writes the format, and the name of the files of an earlier export that new ones replace.

    Raises:
        UsageError: it needs a package that is not there.
    """
    if to is Format.csv:
        from gradlab.export.comma_separated import write_csv

        return write_csv, None
    try:
        with warnings.catch_warnings():
            # What other packages have to say about each other is no concern of the user's.
            warnings.simplefilter("ignore")
            from gradlab.export.tensorboard import EVENT_FILE, start_of, write_tensorboard
    except ImportError as error:
        raise UsageError(
            f"--to tensorboard needs the package tensorboard ({error}); install it from the clone of gradlab: "
            "pip install --constraint constraints.txt --editable '.[tensorboard]'"
        ) from None
    return partial(write_tensorboard, start=start_of(run.read_info())), EVENT_FILE


@contextmanager
def _progress(quiet: bool, parts: int) -> Iterator[Callable[[], object]]:
    """A bar on stderr where that is a terminal; what is given is called after each part."""
    from rich.progress import Progress

    console = open_console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("exporting", total=parts)
        yield partial(bar.advance, task)
