"""Keeps the results of benchmarks, and finds them again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from modelplug.benchmark.comparer import read_baseline
from modelplug.benchmark.serialize import report_from_dict, write_report
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from modelplug.benchmark.records import BenchmarkReport
    from modelplug.runtime import Runtime

__all__ = ["RoundsFile", "stored_report"]

FOLDER = "benchmarks"


class RoundsFile:
    """A file with the finished rounds of a benchmark that runs, for the case that it is killed.

    Args:
        runtime: The file lies in its data directory.

    Attributes:
        trouble: Why it can't be written; empty if it can.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._folder = runtime.paths.data / FOLDER
        self._path: Path | None = None
        self.trouble = ""

    def keep(self, report: BenchmarkReport) -> None:
        """Write the report so far; where that can't be done, the benchmark goes on."""
        moment = report.created.replace(":", "").replace("+0000", "Z")
        self._path = self._path or self._folder / f"unfinished-{moment}.json"
        try:
            write_report(report, self._path)
        except OSError as error:
            self.trouble = f"no rounds are kept in {self._path}: {error.strerror or error}"

    def remove(self) -> None:
        """Remove the file, because the benchmark has ended and its report is in other hands."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()


def stored_report(text: str, runtime: Runtime) -> BenchmarkReport:
    """The report that is meant by a file's name, or by a number in the history.

    Args:
        text: What the user typed.
        runtime: Its history is asked.

    Raises:
        ModelplugError: There is no such report.
    """
    if not text.isdecimal() or Path(text).exists():
        return read_baseline(text)
    document = runtime.history.benchmark_document(int(text))
    if document is None:
        raise ModelplugError(
            f"there is no benchmark number {text} in the history",
            why=runtime.history.trouble or "it was never recorded, or was forgotten",
            advice="`modelplug bench` says under which number it keeps a result; a file has a path.",
        )
    return report_from_dict(document, f"benchmark number {text}")
