"""`gradlab show`: what a run directory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradlab.commands.options import AsJson, Quiet, print_json, warn
from gradlab.terminal import handled, open_console


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
    from gradlab.store.finding import find_run
    from gradlab.store.reading import readable_trials

    run, skipped = find_run(run_directory)
    trials = readable_trials([run])
    layers, more = layer_tables(trials if trial is None else find_trial(trials, trial))
    if not quiet:
        warn(dict.fromkeys([*skipped, *trials.skipped, *more]))
    if json:
        print_json(show_json(run, layers))
    else:
        print_run(open_console(), run, layers, trial=trial is not None)
