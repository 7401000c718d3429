"""`gradlab run` and `gradlab predict`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gradlab.commands.options import (
    AsJson,
    ConfigFile,
    Device,
    NoCustomCode,
    OnDevice,
    Overrides,
    Quiet,
    Workers,
    importing,
    load_config,
    print_json,
    warn,
)
from gradlab.errors import EXIT_INTERRUPTED, EXIT_TRIALS_FAILED, UsageError
from gradlab.interrupts import raised
from gradlab.terminal import handled, open_console


class Engine(StrEnum):
    """Where stacks are trained."""

    local = "local"
    ray = "ray"


@handled
def run(
    config: ConfigFile,
    set_: Overrides = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of run directories.")] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the trials and their number; train nothing.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="Where to train (ray: not in this version).")] = Engine.local,
    workers: Workers = None,
    device: OnDevice = Device.auto,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of continuing.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Watch each group's gradient while it trains.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first trial that fails.")] = False,
    no_custom_code: NoCustomCode = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train the sweep, write a run directory, print the summary."""
    loaded = load_config(config, set_, quiet, no_custom_code)
    if live and quiet:
        raise UsageError("--live and --quiet: give one of them")
    if engine is Engine.ray:
        raise UsageError("--engine ray: this version of gradlab trains on the local engine only")
    if dry_run:
        from gradlab.report.trials import print_trials, trials_json

        if json:
            print_json(trials_json(loaded.trials))
        else:
            print_trials(open_console(), loaded.trials)
        return

    with importing():
        from gradlab.analysis.summary import summarise_runs
        from gradlab.report.closing import closing_notes
        from gradlab.report.console import print_summary
        from gradlab.report.progress import ProgressDisplay
        from gradlab.runner import INTERRUPTED, Options
        from gradlab.runner import run as execute

    notes = open_console(stderr=True)
    options = Options(workers, device.value, fresh, fail_fast)
    shown = ProgressDisplay(notes, quiet)
    if live:
        from gradlab.report.live import LiveDisplay, can_watch

        if can_watch(notes):
            shown = LiveDisplay(notes)
        else:
            warn(["--live needs a terminal; how the run is getting on is told in lines"])
    try:
        with raised(INTERRUPTED), shown as display:
            outcome = execute(loaded, out, options, display)
    except KeyboardInterrupt:
        typer.echo(INTERRUPTED, err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None

    summary = summarise_runs([outcome.directory])
    if not quiet:
        warn(summary.skipped)
    if json:
        from gradlab.report.plain import summary_json

        print_json({"path": str(outcome.directory.path), **summary_json(summary)})
    else:
        print_summary(open_console(), summary, errors_follow=outcome.failed > 0)
    if not quiet:
        notes.print(
            "\n".join(
                closing_notes(loaded.trials, outcome.directory, out, outcome.trained, outcome.missing, outcome.seconds)
            ),
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if outcome.changed and not quiet:
        told = f"{', '.join(outcome.changed)} changed since the trials that were kept were trained"
        typer.echo(f"note: {told}; --fresh starts over", err=True)
    if outcome.failed:
        from gradlab.report.failures import failure_lines

        typer.echo("\n".join(failure_lines(loaded, outcome.directory)), err=True)
        raise typer.Exit(EXIT_TRIALS_FAILED)


@handled
def predict(
    config: ConfigFile,
    set_: Overrides = None,
    no_custom_code: NoCustomCode = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Mean-field theory for every trial of the sweep, without training."""
    loaded = load_config(config, set_, quiet, no_custom_code)

    with importing():
        from gradlab.report.predictions import predictions_json, print_predictions
        from gradlab.runner import choose_device, prepare

    forecasts = prepare(loaded, choose_device("cpu")).forecasts(loaded.trials)
    if json:
        print_json(predictions_json(loaded.trials, forecasts))
    else:
        print_predictions(open_console(), loaded.trials, forecasts)
