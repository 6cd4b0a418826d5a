"""Compares two benchmarks figure by figure: what changed, how sure that is, and what else differs."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.differences import candidate_differences, measurement_differences
from modelplug.benchmark.metrics import round_medians
from modelplug.benchmark.statistics import holm, mann_whitney, ratio_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelplug.benchmark.records import BenchmarkReport, CandidateResult, Metric

__all__ = [
    "CHANGED",
    "IMPROVED",
    "LEVEL",
    "NO_EVIDENCE",
    "REGRESSED",
    "CandidateComparison",
    "MetricComparison",
    "compare_candidates",
    "compare_reports",
    "finite_or_none",
]

LEVEL = 0.05
"""A figure has changed if Holm's correction of its Mann-Whitney probability is at most this."""

IMPROVED, REGRESSED, CHANGED, NO_EVIDENCE = "improved", "regressed", "changed", "no evidence"

_UNKNOWN = math.nan


@attrs.frozen(kw_only=True)
class MetricComparison:
    """How one figure has changed. Percentages are of the baseline; NaN where there is none.

    Attributes:
        name: The metric's name.
        label: What it is, for people.
        unit: Its unit.
        better: `higher`, `lower` or `neither`.
        base: The baseline's median; NaN if it was not measured there.
        new: The new median; NaN if it was not measured now.
        change: By how much it changed, in percent: the median of all ratios of a new round to a base round.
        low: Lower end of the change's interval.
        high: Upper end.
        confidence: The interval's confidence.
        p: The probability by the Mann-Whitney U test, two-sided, not corrected.
        corrected: The same after Holm's correction for the number of figures compared.
        effect: Cliff's delta, from -1 to 1; positive where the new values are larger.
        verdict: `improved`, `regressed`, `no evidence`, or `changed` for what is no merit by itself.
        reason: Why there is no percentage or no verdict; empty if there is.
        remarks: What makes it less certain, in sentences.
    """

    name: str
    label: str
    unit: str
    better: str
    base: float = _UNKNOWN
    new: float = _UNKNOWN
    change: float = _UNKNOWN
    low: float = _UNKNOWN
    high: float = _UNKNOWN
    confidence: float = 0.0
    p: float = _UNKNOWN
    corrected: float = _UNKNOWN
    effect: float = _UNKNOWN
    verdict: str = NO_EVIDENCE
    reason: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def worse_by(self) -> float:
        """By how many percent it got worse; negative if better, NaN if that can't be said."""
        return {"higher": -self.change, "lower": self.change}.get(self.better, _UNKNOWN)


@attrs.frozen(kw_only=True)
class CandidateComparison:
    """How one candidate has changed.

    Attributes:
        label: The candidate's label in the new measurement.
        base_label: Its label in the baseline.
        differences: How model, engine and settings differ, in sentences.
        metrics: Every figure that one of them has.
    """

    label: str
    base_label: str
    differences: tuple[str, ...]
    metrics: tuple[MetricComparison, ...]

    def metric(self, name: str) -> MetricComparison | None:
        """The comparison of that figure, or None."""
        return next((metric for metric in self.metrics if metric.name == name), None)


def finite_or_none(value: float) -> float | None:
    """The value as JSON can hold it: NaN, which stands for "unknown", becomes null."""
    return value if math.isfinite(value) else None


def compare_reports(
    base: BenchmarkReport, new: BenchmarkReport
) -> tuple[tuple[str, ...], tuple[CandidateComparison, ...]]:
    """How the candidates of two reports differ: (differences of the machines in sentences, comparisons).

    Candidates belong together if model and backend are the same, else if the model is the same, else if there
    is only one on either side. Those without a counterpart are named among the differences.

    Args:
        base: The baseline.
        new: The new measurement.
    """
    pairs = _pairs(base.candidates, new.candidates)
    unmatched = [
        *(f"{c.label} is in the baseline only." for c in base.candidates if not _among(c, pairs, 0)),
        *(f"{c.label} is not in the baseline." for c in new.candidates if not _among(c, pairs, 1)),
    ]
    differences = (*measurement_differences(base, new), *unmatched)
    return differences, _corrected([compare_candidates(before, after) for before, after in pairs])


def _among(
    candidate: CandidateResult, pairs: Sequence[tuple[CandidateResult, CandidateResult]], side: int
) -> bool:
    return any(pair[side] is candidate for pair in pairs)


def _pairs(
    base: Sequence[CandidateResult], new: Sequence[CandidateResult]
) -> list[tuple[CandidateResult, CandidateResult]]:
    left, waiting = list(base), list(new)
    found: list[tuple[CandidateResult, CandidateResult]] = []
    for rule in (_same_model_and_backend, _same_model, lambda _a, _b: len(base) == len(new) == 1):
        for after in list(waiting):
            before = next((candidate for candidate in left if rule(candidate, after)), None)
            if before is not None:
                left.remove(before)
                waiting.remove(after)
                found.append((before, after))
    order = {id(candidate): place for place, candidate in enumerate(new)}
    return sorted(found, key=lambda pair: order[id(pair[1])])


def _same_model(base: CandidateResult, new: CandidateResult) -> bool:
    return bool(base.model.fingerprint) and base.model.fingerprint == new.model.fingerprint


def _same_model_and_backend(base: CandidateResult, new: CandidateResult) -> bool:
    return _same_model(base, new) and base.backend == new.backend


def compare_candidates(base: CandidateResult, new: CandidateResult) -> CandidateComparison:
    """How every figure has changed from one candidate to another; the probabilities are not corrected yet.

    Args:
        base: The baseline.
        new: The new measurement.
    """
    names = dict.fromkeys([*(m.name for m in base.metrics), *(m.name for m in new.metrics)])
    return CandidateComparison(
        label=new.label,
        base_label=base.label,
        differences=candidate_differences(base, new),
        metrics=tuple(_compared(base, new, name) for name in names),
    )


def _compared(base: CandidateResult, new: CandidateResult, name: str) -> MetricComparison:
    before, after = base.metric(name), new.metric(name)
    known = after or before
    assert known is not None
    common: dict[str, Any] = {
        "name": name,
        "label": known.label,
        "unit": known.unit,
        "better": known.better,
        "base": before.median if before else _UNKNOWN,
        "new": after.median if after else _UNKNOWN,
    }
    if before is None:
        return MetricComparison(**common, reason="it was not measured for the baseline")
    if after is None:
        why = new.skipped.get(name, "")
        return MetricComparison(**common, reason="it was not measured now" + (f": {why}" if why else ""))
    if before.unit != after.unit:
        units = f"the baseline is in {before.unit}, and the new figure in {after.unit}"
        return MetricComparison(**common, reason=units)
    return _tested(before, after, common)


def _tested(before: Metric, after: Metric, common: dict[str, Any]) -> MetricComparison:
    old, now = (round_medians(metric.values, metric.rounds) for metric in (before, after))
    test = mann_whitney(old, now)
    measured = {**common, "p": test.p, "effect": test.effect, "remarks": tuple(_remarks(before, after))}
    if before.median == 0:
        return MetricComparison(**measured, reason="the baseline is 0, and there is no percentage of nothing")
    if min(*old, *now) <= 0:
        change = 100 * (after.median / before.median - 1)
        return MetricComparison(
            **measured, change=change, reason="some values are 0, so there is no interval of their ratio"
        )
    factor = ratio_interval(old, now)
    return MetricComparison(
        **measured,
        change=100 * (factor.middle - 1),
        low=100 * (factor.low - 1),
        high=100 * (factor.high - 1),
        confidence=factor.confidence,
        reason=_too_few(len(old), len(now)),
    )


def _too_few(before: int, after: int) -> str:
    if 2 / math.comb(before + after, before) <= LEVEL:
        return ""
    return f"too few rounds to tell anything: {before} for the baseline, {after} now"


def _remarks(before: Metric, after: Metric) -> Iterator[str]:
    for side, metric in (("for the baseline", before), ("now", after)):
        if not metric.stable:
            yield f"It was not stable {side}."


def _corrected(comparisons: Sequence[CandidateComparison]) -> tuple[CandidateComparison, ...]:
    """The comparisons with Holm's correction over all of their figures, and the verdicts that follow."""
    tested = [
        (place, metric)
        for place, comparison in enumerate(comparisons)
        for metric in comparison.metrics
        if math.isfinite(metric.p)
    ]
    corrected = holm([metric.p for _, metric in tested])
    found = {
        (place, metric.name): attrs.evolve(metric, corrected=p, verdict=_verdict(metric, p))
        for (place, metric), p in zip(tested, corrected, strict=True)
    }
    return tuple(
        attrs.evolve(
            comparison,
            metrics=tuple(found.get((place, metric.name), metric) for metric in comparison.metrics),
        )
        for place, comparison in enumerate(comparisons)
    )


def _verdict(metric: MetricComparison, corrected: float) -> str:
    if corrected > LEVEL:
        return NO_EVIDENCE
    if metric.better == "neither":
        return CHANGED
    return IMPROVED if (metric.effect > 0) == (metric.better == "higher") else REGRESSED


def geometric_change(changes: Sequence[float]) -> float:
    """The mean of changes in percent, as factors are averaged; NaN without any that is known."""
    factors = [1 + change / 100 for change in changes if math.isfinite(change) and change > -100]
    return 100 * (statistics.geometric_mean(factors) - 1) if factors else _UNKNOWN
