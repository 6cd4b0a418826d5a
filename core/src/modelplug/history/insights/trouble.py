"""Suggestions about engines that fail."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from modelplug.history.insights.evidence import Evidence, Suggestion, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.history.records import FailureRecord

__all__ = ["failing_engine"]

FEWEST_FAILURES = 3
SETTLED = 10
SMALLEST_CONTEXT = 512


def failing_engine(evidence: Evidence) -> Iterator[Suggestion]:
    """Engines that failed with a model more often than not, since they last went well ten times in a row."""
    good = grouped((run for run in evidence.runs if run.success), lambda run: (run.fingerprint, run.backend))
    groups = grouped(evidence.failures, lambda failure: (failure.fingerprint, failure.backend))
    for (fingerprint, backend), failures in groups.items():
        successes = good.get((fingerprint, backend), [])
        # Ten good runs afterwards: whatever it was is over.
        settled = successes[SETTLED - 1].id if len(successes) >= SETTLED else 0
        lately = [failure for failure in failures if failure.after_run >= settled]
        if len(lately) < FEWEST_FAILURES or len(lately) <= len(successes[:SETTLED]):
            continue
        cause = Counter(failure.cause for failure in lately).most_common(1)[0][0]
        others = sorted({b for f, b in good if f == fingerprint and b != backend})
        advice, changes = _advice(evidence, backend, cause, lately[0], others)
        yield Suggestion(
            kind="failing",
            text=(
                f"{backend} has failed {len(lately)} times with {evidence.name(fingerprint)}, the last time: "
                f"{lately[0].error}."
            ),
            advice=advice,
            changes=changes,
            failures=tuple(failure.id for failure in lately),
        )


def _advice(
    evidence: Evidence, backend: str, cause: str, last: FailureRecord, others: list[str]
) -> tuple[str, dict[str, Any]]:
    if cause == "out-of-memory" and last.context_size and last.context_size // 2 >= SMALLEST_CONTEXT:
        wanted = last.context_size // 2
        return (
            f"Set backends.{backend}.context_size to {wanted}, half of what was tried.",
            {f"backends.{backend}.context_size": wanted},
        )
    if not any(run.success and run.backend == backend for run in evidence.runs):
        instead = f"; {' and '.join(others)} can run the model" if others else ""
        return (
            f"Switch {backend} off, which has never gone well here{instead}.",
            {f"backends.{backend}.enabled": False},
        )
    if others:
        return f"Run the model with --backend {others[0]}, which has gone well.", {}
    return last.advice or "`modelplug doctor` examines the engine.", {}
