"""A benchmark as CSV: every sample on a line of its own, for spreadsheets and statistics programs."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.benchmark.records import BenchmarkReport

__all__ = ["COLUMNS", "as_csv"]

COLUMNS = (
    "created",
    "machine",
    "candidate",
    "model",
    "fingerprint",
    "backend",
    "engine_version",
    "device",
    "threads",
    "metric",
    "unit",
    "better",
    "round",
    "value",
)


def as_csv(report: BenchmarkReport) -> str:
    """The report as CSV with a line of headings; numbers have a point and no thousands separators.

    Args:
        report: The report.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(report))
    return text.getvalue()


def _rows(report: BenchmarkReport) -> Iterator[tuple[object, ...]]:
    for candidate in report.candidates:
        fixed = (
            report.created,
            report.environment.machine,
            candidate.label,
            candidate.model.name,
            candidate.model.fingerprint,
            candidate.backend,
            candidate.engine_version,
            candidate.effective.get("device", ""),
            candidate.effective.get("threads", ""),
        )
        for metric in candidate.metrics:
            for number, value in zip(metric.rounds, metric.values, strict=True):
                yield (*fixed, metric.name, metric.unit, metric.better, number, repr(value))
