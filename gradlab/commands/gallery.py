"""`gradlab gallery`: known results, reproduced here and now."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradlab.commands.options import (
    AsJson,
    Device,
    NoCustomCode,
    OnDevice,
    Quiet,
    Workers,
    importing,
    load_config,
    print_json,
    warn,
)
from gradlab.errors import EXIT_INTERRUPTED, EXIT_NOT_REPRODUCED, EXIT_TRIALS_FAILED, UsageError
from gradlab.interrupts import raised
from gradlab.terminal import handled, open_console

if TYPE_CHECKING:
    from gradlab.config.exhibit import Exhibit
    from gradlab.config.load import LoadedConfig
    from gradlab.report.gallery import Shown
    from gradlab.runner import Options


@handled
def gallery(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="What to reproduce; the list without it.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Reproduce everything.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and steps: minutes for everything.")] = False,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A gallery of your own: NAME.yaml and NAME.expect.yaml each.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE.md", help="Write a page about it, too, its figures into a folder beside it."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of run directories.")] = Path("runs"),
    workers: Workers = None,
    device: OnDevice = Device.auto,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of continuing.")] = False,
    no_custom_code: NoCustomCode = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List known results, or train their networks and say which statements are reproduced.

    Exit code 0: every statement is reproduced; 1: one isn't; 4: trials failed.
    """
    from gradlab.config.exhibit import exhibits

    if page is not None and (page.is_dir() or page.suffix != ".md"):
        raise UsageError(f"--page {page}: name a file that ends in .md")
    if every and names:
        raise UsageError("--all and names: give one of the two")
    found = exhibits(folder or shipped_gallery())
    if not names and not every:
        from gradlab.report.gallery import list_json, print_list

        if json:
            print_json(list_json(found))
        else:
            print_list(open_console(), found)
        return
    chosen = found if every else [_named(name, found) for name in dict.fromkeys(names or ())]

    with importing():
        from gradlab.report.gallery import print_shown, print_total, shown_json
        from gradlab.runner import INTERRUPTED, Options

    options = Options(workers, device.value, fresh)
    shown: list[Shown] = []
    failed = 0
    try:
        for exhibit in chosen:
            loaded = load_config(exhibit.config, exhibit.overrides(quick), True, no_custom_code)
            one, failures = _reproduce(exhibit, loaded, out, options, quiet)
            shown.append(one)
            failed += failures
            if not json:
                print_shown(open_console(), one)
    except KeyboardInterrupt:
        typer.echo(INTERRUPTED, err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if page is not None:
        from gradlab.report.gallery_page import write_page

        write_page(page, shown)
    if json:
        print_json(shown_json(shown))
    else:
        print_total(open_console(), shown)
    if failed:
        raise typer.Exit(EXIT_TRIALS_FAILED)
    if any(one.reproduced < len(one.findings) for one in shown):
        raise typer.Exit(EXIT_NOT_REPRODUCED)


def shipped_gallery() -> Path:
    """The folder of gradlab's own gallery: in an installed package beside its modules, else where the project has it.

    Raises:
        UsageError: neither is there.
    """
    package = Path(__file__).parents[1]
    for place in (package / "papers", package.parent / "configs" / "papers"):
        if place.is_dir():
            return place
    raise UsageError("this installation has no gallery; --folder names one")


def _named(name: str, found: list[Exhibit]) -> Exhibit:
    known = {exhibit.name: exhibit for exhibit in found}
    if name not in known:
        near = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        raise UsageError(f"{name}: nothing of that name in the gallery; {hint}")
    return known[name]


def _reproduce(exhibit: Exhibit, loaded: LoadedConfig, out: Path, options: Options, quiet: bool) -> tuple[Shown, int]:
    """Train what is not trained yet and judge the statements; the trials that failed are counted."""
    from gradlab.analysis.statements import evaluate
    from gradlab.report.failures import failure_lines
    from gradlab.report.gallery import Shown
    from gradlab.report.progress import ProgressDisplay
    from gradlab.runner import INTERRUPTED, run
    from gradlab.store.reading import readable_trials

    if not quiet:
        typer.echo(f"{exhibit.name}: {len(loaded.trials):,} trials", err=True)
    with raised(INTERRUPTED), ProgressDisplay(open_console(stderr=True), quiet) as display:
        outcome = run(loaded, out, options, display)
    trials = readable_trials([outcome.directory])
    if not quiet:
        warn(trials.skipped)
    if outcome.failed:
        typer.echo("\n".join(failure_lines(loaded, outcome.directory)), err=True)
    findings = tuple(evaluate(statement, trials) for statement in exhibit.expectation.statements)
    seconds = outcome.seconds if outcome.trained else 0.0
    return Shown(exhibit, outcome.directory.path, seconds, findings), outcome.failed
