"""A benchmark as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import datetime
from html import escape
from typing import TYPE_CHECKING

from modelplug.backends.types import format_speed
from modelplug.benchmark.reports.plots import Bar, Line, bars, lines
from modelplug.benchmark.reports.style import STYLE
from modelplug.benchmark.reports.wording import (
    candidate_facts,
    environment_lines,
    estimate_error,
    interval_text,
    merit,
    protocol_text,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelplug.benchmark.earlier import EarlierFigure
    from modelplug.benchmark.records import BenchmarkReport, CandidateResult, Metric

__all__ = ["as_html"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_GROUPS = (
    ("Generating", "generate-"),
    ("Processing prompts", "prompt-"),
    ("Time to the first token", "first-token-"),
    ("Memory", "memory"),
    ("Memory on the device", "device-memory"),
    ("Loading", "load"),
    ("GPU", "gpu-utilization"),
    ("Energy", "energy"),
)


def as_html(report: BenchmarkReport, earlier: Sequence[EarlierFigure] = ()) -> str:
    """The report as a page.

    Args:
        report: The report.
        earlier: Figures of earlier benchmarks, for the history over time.
    """
    title = f"Benchmark of {', '.join(dict.fromkeys(c.model.name for c in report.candidates)) or 'nothing'}"
    opening = (
        f"{_when(report.created)}, on {report.environment.cpu}, with modelplug "
        f"{report.environment.modelplug}. {protocol_text(report)}"
    )
    body = "".join(
        (
            f"<h1>{escape(title)}</h1><p>{escape(opening)}</p>",
            *_plots(report),
            *_history(report, earlier),
            *_tables(report),
            _machine(report),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The page fetches nothing, and this keeps even a strange model name from making it.
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>\n"
    )


def _plots(report: BenchmarkReport) -> Iterator[str]:
    for heading, beginning in _GROUPS:
        names = dict.fromkeys(
            metric.name
            for c in report.candidates
            for metric in c.metrics
            if metric.name.startswith(beginning)
        )
        if names:
            yield f"<h2>{heading}</h2>"
            yield from (_plot(report, name) for name in names)
    # Workloads of plugins are named as they like.
    known = tuple(beginning for _, beginning in _GROUPS)
    others = dict.fromkeys(
        metric.name for c in report.candidates for metric in c.metrics if not metric.name.startswith(known)
    )
    if others:
        yield "<h2>Other workloads</h2>"
        yield from (_plot(report, name) for name in others)


def _plot(report: BenchmarkReport, name: str) -> str:
    entries, metric = [], None
    for colour, candidate in enumerate(report.candidates):
        found = candidate.metric(name)
        if found is not None:
            metric = found
            entries.append(_bar(candidate, found, colour))
    assert metric is not None
    unit = metric.unit
    subtitle = f"{'time' if unit == 's' else unit}, {merit(metric)}; the line is the interval"
    return bars(
        metric.label, subtitle, entries, lambda value: _tick(value, unit), metric.how, binary=unit == "bytes"
    )


def _bar(candidate: CandidateResult, metric: Metric, colour: int) -> Bar:
    note = interval_text(metric) + ("" if metric.stable else "; not stable")
    return Bar(
        name=candidate.label,
        value=max(0.0, metric.median),
        low=max(0.0, metric.low),
        high=max(0.0, metric.high),
        text=value_text(metric.median, metric.unit),
        note=note,
        colour=colour,
    )


def _tick(value: float, unit: str) -> str:
    if value == 0:
        return "0"
    return format_speed(value) if unit == "tokens/s" else value_text(value, unit)


def _history(report: BenchmarkReport, earlier: Sequence[EarlierFigure]) -> Iterator[str]:
    found = []
    for colour, candidate in enumerate(report.candidates):
        points = [
            (_seconds(figure.time), figure.value, _words(figure.time, figure.value, figure.engine_version))
            for figure in earlier
            if figure.label == candidate.label
        ]
        speeds = [metric for metric in candidate.metrics if metric.name.startswith("generate-")]
        if points and speeds:
            now = speeds[-1].median
            words = _words(report.created, now, candidate.engine_version)
            found.append(
                Line(
                    name=candidate.label,
                    points=(*points, (_seconds(report.created), now, words)),
                    colour=colour,
                )
            )
    if found:
        yield "<h2>History</h2>"
        subtitle = "median of the longest generation of each benchmark on this machine; more is better"
        yield lines("Tokens/s over time", subtitle, found, lambda v: _tick(v, "tokens/s"), _day)


def _words(moment: str, value: float, version: str) -> str:
    engine = f" with engine {version}" if version else ""
    return f"{_when(moment)}: {format_speed(value)} tokens/s{engine}"


def _tables(report: BenchmarkReport) -> Iterator[str]:
    for candidate in report.candidates:
        yield f"<h2>{escape(candidate.label)}</h2>"
        yield from (f"<p>{escape(line)}</p>" for line in _facts(candidate))
        if candidate.error:
            what = " ".join(str(candidate.error.get(part, "")) for part in ("what", "why"))
            yield f'<p class="bad">It failed: {escape(what)}</p>'
        if candidate.metrics:
            rows = "".join(map(_row, candidate.metrics))
            heads = "".join(f"<th>{head}</th>" for head in ("Figure", "Median", "95 % interval", "Stable"))
            yield f'<table class="figures"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _facts(candidate: CandidateResult) -> Iterator[str]:
    effective = ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in candidate.effective.items()
        if name not in ("backend", "engine_version") and value is not None
    )
    yield ", ".join(candidate_facts(candidate)) + (f"; {effective}." if effective else ".")
    yield from candidate.notes
    yield from (f"{name} was left out: {why}." for name, why in candidate.skipped.items())
    error = estimate_error(candidate)
    if error:
        yield error


def _row(metric: Metric) -> str:
    median, interval = value_text(metric.median, metric.unit), interval_text(metric)
    reasons = f" <small>{escape(' '.join(metric.reasons))}</small>" if metric.reasons else ""
    kind, verdict = ("good", "stable") if metric.stable else ("bad", "not stable")
    return (
        f'<tr><td>{escape(metric.label)}</td><td class="number">{escape(median)}</td>'
        f'<td class="number">{escape(interval)}</td>'
        f'<td><span class="{kind}">{verdict}</span>{reasons}</td></tr>'
    )


def _machine(report: BenchmarkReport) -> str:
    rows = "".join(
        f"<tr><th>{escape(label)}</th><td>{escape(text)}</td></tr>"
        for label, text in environment_lines(report)
    )
    return f'<h2>Machine</h2><div class="scroll"><table>{rows}</table></div>'


def _moment(text: str) -> datetime.datetime:
    # Python 3.10 does not read a final Z.
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)


def _seconds(text: str) -> float:
    return _moment(text).timestamp()


def _when(text: str) -> str:
    try:
        return _moment(text).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return text


def _day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
