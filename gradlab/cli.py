"""The command line: parse, call, print, exit code. What is heavy is imported inside the command that needs it."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradlab import __version__
from gradlab.errors import EXIT_INTERRUPTED, EXIT_TRIALS_FAILED, UsageError
from gradlab.terminal import handled, open_console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradlab.config.load import LoadedConfig

app = typer.Typer(
    name="gradlab",
    help="Do gradients survive depth? Sweep, measure, predict, compare.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML config.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Everything as JSON on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Run directories, or folders of them.")]


class Engine(StrEnum):
    """Where stacks are trained."""

    local = "local"
    ray = "ray"


class Device(StrEnum):
    """What stacks are trained on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


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


@app.command()
@handled
def run(
    config: ConfigFile,
    set_: Overrides = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of run directories.")] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the trials and their number; train nothing.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="Where to train (ray: not in this version).")] = Engine.local,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, metavar="N", help="Worker processes.  [default: the cores]")
    ] = None,
    device: Annotated[Device, typer.Option(help="What to train on.")] = Device.auto,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of continuing.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first trial that fails.")] = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train the sweep, write a run directory, print the summary."""
    loaded = _load(config, set_, quiet)
    if engine is Engine.ray:
        raise UsageError("--engine ray: this version of gradlab trains on the local engine only")
    if dry_run:
        from gradlab.report.plain import trials_json
        from gradlab.report.trials import print_trials

        if json:
            _print_json(trials_json(loaded.trials))
        else:
            print_trials(open_console(), loaded.trials)
        return

    from gradlab.report.closing import closing_notes
    from gradlab.report.console import print_summary
    from gradlab.report.plain import summary_json
    from gradlab.report.progress import ProgressDisplay
    from gradlab.runner import Options
    from gradlab.runner import run as execute

    notes = open_console(stderr=True)
    options = Options(workers, device.value, fresh, fail_fast)
    try:
        with ProgressDisplay(notes, quiet) as display:
            outcome = execute(loaded, out, options, display)
    except KeyboardInterrupt:
        typer.echo("interrupted; finished trials are kept, the same command continues", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None

    from gradlab.analysis.summary import summarise_runs

    summary, skipped = summarise_runs([outcome.directory])
    if not quiet:
        _warn(skipped)
    if json:
        _print_json({"path": str(outcome.directory.path), **summary_json(summary)})
    else:
        print_summary(open_console(), summary)
    if not quiet:
        notes.print(
            "\n".join(
                closing_notes(loaded.trials, outcome.directory, out, outcome.trained, outcome.missing, outcome.seconds)
            ),
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if outcome.failed:
        raise typer.Exit(EXIT_TRIALS_FAILED)


@app.command()
@handled
def predict(config: ConfigFile, set_: Overrides = None, json: AsJson = False, quiet: Quiet = False) -> None:
    """Mean-field theory for every trial of the sweep, without training."""
    loaded = _load(config, set_, quiet)

    from gradlab.report.predictions import predictions_json, print_predictions
    from gradlab.runner import choose_device, prepare

    forecasts = prepare(loaded, choose_device("cpu")).forecasts(loaded.trials)
    if json:
        _print_json(predictions_json(loaded.trials, forecasts))
    else:
        print_predictions(open_console(), loaded.trials, forecasts)


@app.command()
@handled
def compare(paths: Paths, json: AsJson = False, quiet: Quiet = False) -> None:
    """Aggregate run directories, or folders of them, over seeds and compare them."""
    from gradlab.analysis.summary import summarise_runs
    from gradlab.report.console import print_compare
    from gradlab.report.plain import compare_json
    from gradlab.store.reading import find_runs

    runs, skipped = find_runs(paths)
    summary, more = summarise_runs(runs)
    if not quiet:
        _warn([*skipped, *more])
    if json:
        _print_json(compare_json(summary, runs))
    else:
        print_compare(open_console(), summary, runs, see="--json")


@app.command()
@handled
def show(
    run_directory: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)],
    trial: Annotated[str | None, typer.Option(metavar="ID", help="One trial, by its id or how it begins.")] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """One run, layer by layer."""
    from gradlab.analysis.layerwise import find_trial, layer_tables
    from gradlab.report.plain import show_json
    from gradlab.report.show import print_run
    from gradlab.store.reading import find_runs, load

    runs, skipped = find_runs([run_directory])
    if len(runs) > 1:
        raise UsageError(f"{run_directory} holds {len(runs)} runs; name one, such as {runs[0].path}")
    tables = load(runs)
    if not quiet:
        _warn([*skipped, *tables.skipped])
    trials = tables.trials if trial is None else find_trial(tables.trials, trial)
    layers = layer_tables(trials, tables.layers)
    if json:
        _print_json(show_json(runs[0], layers))
    else:
        print_run(open_console(), runs[0], layers, trial=trial is not None)


@app.command()
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
    from gradlab.report.activations import draw_activations, print_activations

    if output is not None:
        draw_activations(output, *activation_curves())
    if json:
        _print_json({"activations": activation_rows()})
    else:
        print_activations(open_console(), activation_rows())
    if output is not None and not quiet:
        typer.echo(f"drawn: {output}", err=True)


@app.command()
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


@app.command()
@handled
def schema() -> None:
    """Print the JSON Schema of the config."""
    from gradlab.config.starter import json_schema

    _print_json(json_schema())


def _load(config: Path, overrides: Sequence[str] | None, quiet: bool) -> LoadedConfig:
    from gradlab.config.load import load

    loaded = load(config, overrides or ())
    if not quiet:
        _warn(loaded.notes)
    return loaded


def _print_json(value: Any) -> None:
    from gradlab.report.plain import to_json

    typer.echo(to_json(value))


def _warn(notes: Iterable[object]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
