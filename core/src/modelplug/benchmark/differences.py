"""What differs between two measurements besides their figures, and makes these harder to compare."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from modelplug.benchmark.environment import describe_differences
from modelplug.benchmark.stability import BUSY
from modelplug.benchmark.statistics import ratio_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.benchmark.records import BenchmarkReport, CandidateResult

__all__ = ["candidate_differences", "measurement_differences"]

YARDSTICK_MATTERS = 0.03


def measurement_differences(base: BenchmarkReport, new: BenchmarkReport) -> tuple[str, ...]:
    """What differs between the machines and their states, in sentences; another machine comes first.

    Args:
        base: The baseline.
        new: The new measurement.
    """
    return (
        *describe_differences(base.environment, new.environment),
        *_yardsticks(base, new),
        *_other_programs(base, new),
    )


def _yardsticks(base: BenchmarkReport, new: BenchmarkReport) -> Iterator[str]:
    before, after = (
        [r.yardstick_seconds for c in report.candidates for r in c.rounds if r.yardstick_seconds]
        for report in (base, new)
    )
    if not before or not after or base.environment.machine != new.environment.machine:
        return
    factor = ratio_interval(before, after)
    if factor.low <= 1 <= factor.high or abs(factor.middle - 1) < YARDSTICK_MATTERS:
        return
    word = "slower" if factor.middle > 1 else "faster"
    yield (
        f"The machine itself was {100 * abs(factor.middle - 1):.0f} % {word} than for the baseline, by a "
        "piece of work that never changes: differences of that size say little about the software."
    )


def _other_programs(base: BenchmarkReport, new: BenchmarkReport) -> Iterator[str]:
    shares = []
    for report in (base, new):
        known = [r.other_load for c in report.candidates for r in c.rounds if r.other_load is not None]
        shares.append(statistics.mean(known) if known else 0.0)
    if max(shares) > BUSY:
        yield (
            f"Other programs used {100 * shares[0]:.0f} % of the processors while the baseline was measured, "
            f"and {100 * shares[1]:.0f} % now."
        )


def candidate_differences(base: CandidateResult, new: CandidateResult) -> tuple[str, ...]:
    """What differs between two candidates besides their figures, in sentences: model, engine, settings.

    Args:
        base: The candidate of the baseline.
        new: That of the new measurement.
    """
    return tuple(_candidate_differences(base, new))


def _candidate_differences(base: CandidateResult, new: CandidateResult) -> Iterator[str]:
    for what, before, after in (
        ("The model", base.model.fingerprint, new.model.fingerprint),
        ("The backend", base.backend, new.backend),
        ("The engine's version", base.engine_version, new.engine_version),
    ):
        if before and after and before != after:
            yield f"{what} was {before} and is now {after}."
    for name in ("device", "gpu_layers", "context_size", "threads", "batch_size"):
        values = base.effective.get(name), new.effective.get(name)
        if None not in values and values[0] != values[1]:
            yield f"{name} was {values[0]} and is now {values[1]}."
    for side, candidate in (("baseline", base), ("new measurement", new)):
        if candidate.status == "failed":
            error = (candidate.error or {}).get("what", "unknown")
            yield f"In the {side}, the engine failed: {error}."
