"""A report's page as a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gradlab import __version__
from gradlab.analysis.figures.report import Report
from gradlab.report.page.document import page
from gradlab.report.page.prose import Made
from gradlab.store.atomic import machine_errors, write_whole


def write_page(path: Path, report: Report, command: Sequence[str]) -> None:
    """Write the page, whole or not at all; its folder is made if need be.

    Args:
        path: where; a file of this name is replaced.
        report: what to show.
        command: the words of the command line, which the page names.

    Raises:
        MachineError: disk full, no permission.
    """
    made = Made(__version__, command, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    # A path may hold bytes that are no text.
    content = page(report, made).encode(errors="replace")
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda stream: stream.write(content))
