"""Reports as Markdown tables, as Rich draws them."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.speed.report import Report


def print_report(console: Console, report: Report) -> None:
    """Title, note, table."""
    console.print(f"\n## {report.title}\n\n{report.note}", highlight=False, markup=False)
    if not report.rows:
        return
    table = Table(box=box.MARKDOWN)
    for header in report.headers:
        table.add_column(header, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(*row)
    console.print(table, highlight=False)
