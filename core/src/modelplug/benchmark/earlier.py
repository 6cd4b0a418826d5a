"""Figures of earlier benchmarks of the same models, for the history over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from modelplug.benchmark.records import BenchmarkReport
    from modelplug.runtime import Runtime

__all__ = ["EarlierFigure", "earlier_figures"]

MOST = 200


@attrs.frozen(kw_only=True)
class EarlierFigure:
    """The speed of generating that one earlier benchmark found.

    Attributes:
        label: The label of the candidate whose model and backend it has today.
        time: When, as ISO 8601 in UTC.
        value: Tokens per second.
        engine_version: The engine's version then.
    """

    label: str
    time: str
    value: float
    engine_version: str = ""


def earlier_figures(report: BenchmarkReport, runtime: Runtime) -> tuple[EarlierFigure, ...]:
    """What earlier benchmarks on this machine found for the candidates of a report, oldest first.

    Args:
        report: The report.
        runtime: Its history is asked.
    """
    found = [
        EarlierFigure(
            label=candidate.label,
            time=record.time,
            value=record.generate_speed,
            engine_version=record.engine_version,
        )
        for candidate in report.candidates
        if candidate.model.fingerprint
        for record in runtime.history.benchmarks(
            fingerprint=candidate.model.fingerprint, backend=candidate.backend, limit=MOST
        )
        if record.generate_speed is not None and record.time < report.created
    ]
    return tuple(sorted(found, key=lambda figure: figure.time))
