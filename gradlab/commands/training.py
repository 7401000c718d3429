"""`gradlab run` and `gradlab predict`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradlab.cluster.settings import ClusterSettings
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
from gradlab.sharding import Shard
from gradlab.terminal import handled, open_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradlab.config.load import LoadedConfig
    from gradlab.runner import Outcome


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
    engine: Annotated[Engine, typer.Option(help="Where to train.")] = Engine.local,
    workers: Workers = None,
    device: OnDevice = Device.auto,
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The Ray cluster: host:port, auto, local.  [default: RAY_ADDRESS, local]"),
    ] = None,
    resources_per_stack: Annotated[
        str | None, typer.Option(metavar="NAME=N,...", help="What each Ray task is given.  [default: cpu=1]")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of continuing.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Watch each group's gradient while it trains.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first trial that fails.")] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Train one of N shares: 0/N to N-1/N, anywhere, in any order.")
    ] = None,
    no_custom_code: NoCustomCode = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train the sweep, write a run directory, print the summary."""
    share = None if shard is None else Shard.parse(shard)
    if share and fresh:
        raise UsageError(
            "--fresh would delete what other shards wrote: delete the run directory before the first shard"
        )
    cluster = ClusterSettings.of(ray_address, resources_per_stack) if engine is Engine.ray else None
    if cluster is None and (ray_address is not None or resources_per_stack is not None):
        raise UsageError("--ray-address and --resources-per-stack go with --engine ray")
    loaded = load_config(config, set_, quiet, no_custom_code)
    if live and quiet:
        raise UsageError("--live and --quiet: give one of them")
    if live and cluster:
        raise UsageError("--live watches training on this machine: leave it out with --engine ray")
    if dry_run:
        from gradlab.report.trials import print_trials, trials_json

        trials = loaded.trials
        if share:
            from gradlab.runner import trials_of

            trials = trials_of(loaded, share)
        if json:
            print_json(trials_json(trials))
        else:
            print_trials(open_console(), trials)
        return

    with importing():
        import gradlab.analysis.summary
        import gradlab.report.closing
        import gradlab.report.console  # noqa: F401 - what is told in the end is loaded before anything is trained
        from gradlab.report.progress import ProgressDisplay
        from gradlab.runner import INTERRUPTED, Options
        from gradlab.runner import run as execute

    notes = open_console(stderr=True)
    options = Options(workers, device.value, fresh, fail_fast, share, cluster)
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

    command = [
        "gradlab",
        "run",
        str(config),
        *(word for one in set_ or () for word in ("--set", one)),
        "--out",
        str(out),
    ]
    if share and outcome.missing:
        _tell_share(share, outcome, command, len(loaded.trials), json, quiet)
    else:
        _tell_summary(loaded, out, outcome, json, quiet)
    if not quiet:
        warn(note if share else f"{note}; --fresh starts over" for note in outcome.notes)
    if outcome.failed:
        from gradlab.report.failures import failure_lines

        typer.echo("\n".join(failure_lines(loaded, outcome.directory)), err=True)
        raise typer.Exit(EXIT_TRIALS_FAILED)


def _tell_summary(loaded: LoadedConfig, out: Path, outcome: Outcome, json: bool, quiet: bool) -> None:
    """The whole run as it stands: its summary on stdout, what to know of it on stderr."""
    from gradlab.analysis.summary import summarise_runs
    from gradlab.report.closing import closing_notes
    from gradlab.report.console import print_summary

    summary = summarise_runs([outcome.directory])
    if not quiet:
        warn(summary.skipped)
    if json:
        from gradlab.report.plain import summary_json

        print_json({"path": str(outcome.directory.path), **summary_json(summary)})
    else:
        print_summary(open_console(), summary, errors_follow=outcome.failed > 0)
    if not quiet:
        _note(
            closing_notes(loaded.trials, outcome.directory, out, outcome.trained, outcome.missing, outcome.seconds),
        )


def _tell_share(share: Shard, outcome: Outcome, command: Sequence[str], trials: int, json: bool, quiet: bool) -> None:
    """A share of a run of which others are missing: a summary of some trials would be read as one of all."""
    from gradlab.report.shares import share_json, share_line, share_notes

    path, counts = outcome.directory.path, (outcome.trained, outcome.failed, outcome.missing)
    if json:
        print_json(share_json(share, path, *counts, outcome.lacking))
    else:
        typer.echo(share_line(share, *counts, trials))
    if not quiet:
        _note(share_notes(command, outcome.lacking, path, outcome.seconds))


def _note(lines: Sequence[str]) -> None:
    open_console(stderr=True).print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


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
