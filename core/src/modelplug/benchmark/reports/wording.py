"""Figures and facts in the words that every form of report uses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from modelplug.backends.types import format_speed
from modelplug.system.report import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.benchmark.records import BenchmarkReport, CandidateResult, Metric

__all__ = [
    "candidate_facts",
    "environment_lines",
    "estimate_error",
    "interval_text",
    "merit",
    "protocol_text",
    "value_text",
]


def value_text(value: float, unit: str) -> str:
    """A figure with its unit, in the digits that mean something; `unknown` for NaN."""
    if not math.isfinite(value):
        return "unknown"
    if unit == "bytes":
        return format_bytes(round(value))
    if unit == "s":
        return f"{1000 * value:.3g} ms" if 0 < value < 0.9995 else f"{value:.3g} s"
    if unit == "%":
        return f"{value:.0f} %"
    if unit == "J/token":
        return f"{value:.3g} J/token"
    return f"{format_speed(value)} {unit}"


def interval_text(metric: Metric) -> str:
    """The ends of a figure's interval, with the confidence where it is less than 95 %."""
    if metric.confidence == 0:
        return "a single round"
    low = format_speed(metric.low) if metric.unit == "tokens/s" else value_text(metric.low, metric.unit)
    ends = f"{low} to {value_text(metric.high, metric.unit)}"
    return ends if metric.confidence >= 0.95 else f"{ends} ({100 * metric.confidence:.0f} % only)"


def merit(metric: Metric) -> str:
    """Which direction is good."""
    return {"higher": "more is better", "lower": "less is better"}.get(metric.better, "no merit by itself")


def candidate_facts(candidate: CandidateResult) -> list[str]:
    """What the model is and which engine ran it, in a few words each."""
    model, engine = candidate.model, f"{candidate.engine} {candidate.engine_version}".strip()
    return [fact for fact in (model.format, model.architecture, model.quantization, engine) if fact]


def estimate_error(candidate: CandidateResult) -> str:
    """By how much the expected speed of generating was off; empty without an estimate or a measurement."""
    speeds = [metric for metric in candidate.metrics if metric.name.startswith("generate-")]
    estimate = candidate.estimate
    if not estimate or not speeds or speeds[-1].median <= 0:
        return ""
    expected, found = float(estimate["tokens_per_second"]), speeds[-1].median
    basis = "from earlier runs" if estimate["basis"] == "measured" else "predicted"
    error = 100 * (expected / found - 1)
    verdict = f"{abs(error):.0f} % too {'high' if error > 0 else 'low'}"
    return f"The estimate beforehand was {format_speed(expected)} tokens/s ({basis}): {verdict}."


def protocol_text(report: BenchmarkReport) -> str:
    """How it was measured, in a sentence or two."""
    protocol = report.protocol
    turns = " in turn" if len(report.candidates) > 1 else ""
    energy = f" Energy was read of {', '.join(protocol.energy)}." if protocol.energy else ""
    ended = " The user ended it early." if report.interrupted else ""
    return (
        f"Each candidate{turns} was loaded {protocol.rounds} times at most in a process of its own, within "
        f"{protocol.budget:g} s for each, warmed up and measured. Figures are medians of the rounds' medians "
        f"with 95 % intervals by order statistics. It took {report.seconds:.0f} s.{energy}{ended}"
    )


def environment_lines(report: BenchmarkReport) -> Iterator[tuple[str, str]]:
    """What the machine was, as (label, text)."""
    e = report.environment
    yield "Processor", f"{e.cpu} ({e.architecture})"
    physical = "unknown" if e.physical_cores is None else str(e.physical_cores)
    yield "Cores", f"{physical} physical, {e.logical_cores} logical, {e.usable_cores} usable"
    yield "Memory", format_bytes(e.memory_total)
    for device in e.devices:
        yield f"GPU {device.get('id')}", f"{device.get('name')}, driver {device.get('driver') or 'unknown'}"
    yield "System", e.os
    yield "Python", e.python
    yield "modelplug", e.modelplug
    yield from e.packages.items()
    yield "Frequency governor", ", ".join(e.governors) or "unknown"
    if e.boost is not None:
        yield "Boost", "on" if e.boost else "off"
    if e.on_battery is not None:
        yield "Power", "battery" if e.on_battery else "mains"
    if e.load_before is not None and e.load_after is not None:
        yield "Load average", f"{e.load_before:.1f} before, {e.load_after:.1f} after"
    yield "Machine", e.machine
