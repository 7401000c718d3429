"""`gradlab compare` and `gradlab show`: what run directories hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.commands.options import AsJson, Quiet, print_json, warn
from gradlab.errors import UsageError
from gradlab.terminal import handled, open_console

Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Run directories, or folders of them.")]


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
        warn([*skipped, *more])
    if json:
        print_json(compare_json(summary, runs))
    else:
        print_compare(open_console(), summary, runs, see="--json")


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
        warn([*skipped, *tables.skipped])
    trials = tables.trials if trial is None else find_trial(tables.trials, trial)
    layers = layer_tables(trials, tables.layers)
    if json:
        print_json(show_json(runs[0], layers))
    else:
        print_run(open_console(), runs[0], layers, trial=trial is not None)
