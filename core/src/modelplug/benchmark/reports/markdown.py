"""A benchmark as Markdown, for a wiki, an issue or a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.benchmark.reports.wording import (
    candidate_facts,
    environment_lines,
    estimate_error,
    interval_text,
    protocol_text,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.benchmark.records import BenchmarkReport, CandidateResult

__all__ = ["as_markdown"]


def as_markdown(report: BenchmarkReport) -> str:
    """The report as a Markdown document.

    Args:
        report: The report.
    """
    return "\n".join(_lines(report)) + "\n"


def _lines(report: BenchmarkReport) -> Iterator[str]:
    yield "# Benchmark"
    yield ""
    yield f"Measured {report.created} with modelplug {report.environment.modelplug}. {protocol_text(report)}"
    for candidate in report.candidates:
        yield ""
        yield from _candidate(candidate)
    yield ""
    yield "## Machine"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for label, text in environment_lines(report):
        yield f"| {_cell(label)} | {_cell(text)} |"


def _candidate(candidate: CandidateResult) -> Iterator[str]:
    yield f"## {_cell(candidate.label)}"
    yield ""
    yield _cell(", ".join(candidate_facts(candidate)) + ".")
    yield f"Settings in force: {_settings(candidate)}. Model: `{candidate.model.fingerprint or 'unknown'}`."
    if candidate.error:
        yield ""
        yield f"**It failed:** {_cell(str(candidate.error.get('what', '')))}. " + _cell(
            str(candidate.error.get("why", ""))
        )
    if candidate.metrics:
        yield ""
        yield "| figure | median | 95 % interval | stable |"
        yield "|---|--:|---|---|"
        for metric in candidate.metrics:
            stable = "yes" if metric.stable else "no: " + " ".join(metric.reasons)
            yield (
                f"| {_cell(metric.label)} | {value_text(metric.median, metric.unit)} | "
                f"{interval_text(metric)} | {_cell(stable)} |"
            )
    remarks = [
        *candidate.notes,
        *(f"{name} was left out: {why}." for name, why in candidate.skipped.items()),
        *filter(None, [estimate_error(candidate)]),
    ]
    if remarks:
        yield ""
        yield from (f"- {_cell(remark)}" for remark in remarks)


def _settings(candidate: CandidateResult) -> str:
    names = ("device", "gpu_layers", "context_size", "threads", "batch_size")
    values = ((name, candidate.effective.get(name)) for name in names)
    known = [f"{name} {value}" for name, value in values if value is not None]
    return ", ".join(known) or "unknown"


def _cell(text: str) -> str:
    """The text on one line, with what Markdown would take for markup made harmless."""
    for mark in "\\|`*_<>[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
