"""Shows benchmark results: as Markdown, as CSV, and as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modelplug.benchmark.earlier import EarlierFigure
    from modelplug.benchmark.records import BenchmarkReport

__all__ = ["FORMATS", "check_format", "save_report"]

FORMATS = (".json", ".md", ".csv", ".html")
"""The endings of the files that a report can be written to."""


def check_format(path: Path) -> None:
    """Make sure that a report can be written to a file of this name.

    Raises:
        UsageError: Its ending is none of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"a benchmark can't be written as {path.name}",
            why=f"the ending of the name says in which form, and {path.suffix or 'none'} is none of them",
            advice=f"Give the file one of the endings {', '.join(FORMATS)}.",
        )


def save_report(report: BenchmarkReport, path: Path, earlier: Sequence[EarlierFigure] = ()) -> None:
    """Write a report in the form that the file's ending names.

    Args:
        report: The report.
        path: The file; it is replaced in one step.
        earlier: Figures of earlier benchmarks, for the page's history.

    Raises:
        UsageError: The ending is none of `FORMATS`.
        OSError: It can't be written.
    """
    from modelplug.atomic import write_atomically
    from modelplug.benchmark.serialize import write_report

    check_format(path)
    ending = path.suffix.lower()
    if ending == ".json":
        write_report(report, path)
    elif ending == ".md":
        from modelplug.benchmark.reports.markdown import as_markdown

        write_atomically(path, as_markdown(report))
    elif ending == ".csv":
        from modelplug.benchmark.reports.csv_table import as_csv

        write_atomically(path, as_csv(report))
    else:
        from modelplug.benchmark.reports.page import as_html

        write_atomically(path, as_html(report, earlier))
