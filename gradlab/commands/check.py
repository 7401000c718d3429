"""`gradlab check`: the CI regression check of gradient statistics."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradlab.commands.options import (
    AsJson,
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
from gradlab.errors import EXIT_REGRESSION, EXIT_TRIALS_FAILED, UsageError
from gradlab.interrupts import raised
from gradlab.terminal import handled, open_console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradlab.analysis.gate.outcome import Outcome
    from gradlab.store.measurement import Measurement

_FOLLOWING_SEEDS = 10**6
"""Seeds after the first one that there must be at least."""


@handled
def check(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG|RUN", help="The YAML config, or a run directory.", show_default=False)
    ],
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The baseline, a JSON file.", show_default=False)
    ] = None,
    set_: Overrides = None,
    update: Annotated[bool, typer.Option("--update", help="Write the baseline instead of comparing with it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Update even where the variable CI is set.")] = False,
    seeds_from: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Draw seeds N, N+1, ... instead of the baseline's."),
    ] = None,
    base_ref: Annotated[
        str | None, typer.Option(metavar="REF", help="Compare with the code of this git revision, run here and now.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a JUnit report, too.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a Markdown report, too.")] = None,
    workers: Workers = None,
    device: OnDevice = Device.auto,
    no_custom_code: NoCustomCode = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare gradient statistics with a baseline.

    Of a run directory, of `gradlab run` or `gradlab.watch`, what was recorded is compared; nothing is trained.

    Make the baseline with --update and commit it. Exit code 0: no regression; 1: a regression; 2: a mistake in the
    command or the config; 3: no baseline, or one that can't be compared; 4: trials failed.
    """
    from gradlab.config.schema import MAX_SEED
    from gradlab.store.baseline import read_baseline, refuse_in_ci

    if (baseline is None) == (base_ref is None):
        raise UsageError("name what to compare with: --baseline FILE or --base-ref REF, one of the two")
    if no_custom_code and base_ref is not None:
        raise UsageError("--base-ref runs the code of that revision, which --no-custom-code refuses")
    if update and baseline is None:
        raise UsageError("--update writes the file that --baseline names; --base-ref needs no file")
    if seeds_from is not None and seeds_from > MAX_SEED - _FOLLOWING_SEEDS:
        raise UsageError(f"--seeds-from {seeds_from}: a seed is at most {MAX_SEED}, and others follow")
    if update and not force:
        refuse_in_ci("; --force insists")
    for report in (junit, markdown):
        if report is not None and report.is_dir():
            raise UsageError(f"{report} is a folder; name a file in it")
    if config.is_dir():
        untrained = {"--set": set_, "--seeds-from": seeds_from, "--base-ref": base_ref, "--workers": workers}
        untrained["--device"] = None if device is Device.auto else device
        _check_directory(config, baseline, update, untrained, _Told(junit, markdown, json, quiet))
        return
    loaded = load_config(config, set_, quiet, no_custom_code)
    overrides = [part for override in set_ or [] for part in ("--set", override)]
    update_command = shlex.join(["gradlab", "check", str(config), "--baseline", str(baseline), *overrides, "--update"])
    remedy = f"make it with: {update_command}" if baseline else "use the same gradlab at both revisions"
    known = None
    if baseline is not None and not update:
        known = read_baseline(baseline, remedy)

    with importing():
        from gradlab import gate
        from gradlab.report.progress import ProgressDisplay
        from gradlab.runner import Options

    options = Options(workers, device.value)
    if baseline is not None and update:
        with raised(), ProgressDisplay(open_console(stderr=True), quiet) as display:
            measured = gate.make_baseline(loaded, baseline, seeds_from, options, display)
        _tell_update(baseline, measured.measurement, measured.failures, json, quiet)
        return
    if known is None:
        seeds = [] if seeds_from is None else ["--seeds-from", str(seeds_from)]
        with raised():
            known = gate.baseline_at(str(base_ref), config, [*overrides, *seeds, "--device", device.value], remedy)
    with raised(), ProgressDisplay(open_console(stderr=True), quiet) as display:
        outcome = gate.check(loaded, known, str(baseline or base_ref), seeds_from, options, display, remedy)
    _conclude(outcome, config, _Told(junit, markdown, json, quiet))


@dataclass(frozen=True)
class _Told:
    """Where the outcome is wanted."""

    junit: Path | None
    markdown: Path | None
    json: bool
    quiet: bool


def _check_directory(
    path: Path, baseline: Path | None, update: bool, untrained: Mapping[str, object], told: _Told
) -> None:
    """The check of a run directory; `untrained` are options that make sense where networks are trained."""
    from gradlab.gate_run import check_run, make_run_baseline
    from gradlab.store.baseline import read_baseline
    from gradlab.store.finding import find_run
    from gradlab.store.rundir import CONFIG_NAME

    if given := [option for option, value in untrained.items() if value is not None]:
        raise UsageError(f"{', '.join(given)}: nothing is trained where a run directory is checked")
    if baseline is None:
        raise UsageError("name what to compare with: --baseline FILE")
    run, skipped = find_run(path)
    if not told.quiet:
        warn(skipped)
    remedy = f"make it with: {shlex.join(['gradlab', 'check', str(path), '--baseline', str(baseline), '--update'])}"
    if update:
        found = make_run_baseline(run, baseline)
        if not told.quiet:
            warn(found.notes)
        _tell_update(baseline, found.measurement, found.failures, told.json, told.quiet)
        return
    outcome, notes = check_run(run, read_baseline(baseline, remedy), str(baseline), remedy)
    if not told.quiet:
        warn(notes)
    _conclude(outcome, run.path / CONFIG_NAME, told)


def _conclude(outcome: Outcome, config: Path, told: _Told) -> None:
    """Tell the outcome and exit as it says."""
    from gradlab.analysis.gate.change import REGRESSION

    _report(outcome, config, told.junit, told.markdown, told.json)
    if outcome.failures:
        raise typer.Exit(EXIT_TRIALS_FAILED)
    if outcome.verdict == REGRESSION:
        raise typer.Exit(EXIT_REGRESSION)


def _tell_update(baseline: Path, measured: Measurement, failures: Sequence[object], json: bool, quiet: bool) -> None:
    """Say that a baseline was written, or why it was not."""
    from gradlab.report.gate.plain import update_json

    if failures:
        typer.echo("\n".join(f"failed: {failure}" for failure in failures), err=True)
        typer.echo(f"{baseline} is not written: a baseline needs all its trials", err=True)
        raise typer.Exit(EXIT_TRIALS_FAILED)
    told = update_json(baseline, measured)
    if json:
        print_json(told)
    elif not quiet:
        typer.echo(told["headline"], err=True)


def _report(outcome: Outcome, config: Path, junit: Path | None, markdown: Path | None, json: bool) -> None:
    """Tell the outcome wherever it is wanted."""
    from gradlab.report.gate.console import print_outcome
    from gradlab.report.gate.github import workflow_commands
    from gradlab.report.gate.junit import outcome_junit
    from gradlab.report.gate.markdown import outcome_markdown
    from gradlab.report.gate.plain import outcome_json
    from gradlab.store.atomic import append_text, write_text

    if json:
        print_json(outcome_json(outcome))
    else:
        print_outcome(open_console(), outcome)
    if junit is not None:
        write_text(junit, outcome_junit(outcome))
    if markdown is not None:
        write_text(markdown, outcome_markdown(outcome))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        place = Path(os.path.relpath(config, os.environ.get("GITHUB_WORKSPACE") or "."))
        for line in workflow_commands(outcome, place):
            typer.echo(line, err=True)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            append_text(Path(summary), outcome_markdown(outcome))
