"""Confirms a gain: the settings in force and the challengers take turns, on rounds that chose nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from modelplug.benchmark.comparison import LEVEL, compare_candidates
from modelplug.benchmark.model_benchmark import ModelBenchmark
from modelplug.benchmark.run import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelplug.benchmark.comparison import MetricComparison
    from modelplug.benchmark.optimizing.limit import TimeLimit
    from modelplug.benchmark.optimizing.trials import Contestant, Trials
    from modelplug.benchmark.records import BenchmarkReport, CandidateResult, Metric
    from modelplug.benchmark.run import Progress
    from modelplug.runtime import Runtime

__all__ = ["Confirmation", "confirm", "is_gain", "rounds_for_evidence"]

MOST_ROUNDS = 20
LEAST_PERCENT = 1.0
"""A smaller gain is not worth a change of the settings, however sure it is."""


@attrs.define(kw_only=True)
class Confirmation:
    """A benchmark of the finalists, the settings in force first.

    Attributes:
        finalists: Who takes turns.
        figure: The name of the figure that counts.
        report: What was measured; None before anything was.
        number: Its number in the history; None if it is not there.
    """

    finalists: Sequence[Contestant]
    figure: str
    report: BenchmarkReport | None = None
    number: int | None = None

    def result(self, finalist: Contestant) -> CandidateResult | None:
        """What was measured of a finalist; None if it is none, or nothing was."""
        if self.report is None or finalist not in self.finalists:
            return None
        return self.report.candidates[self.finalists.index(finalist)]

    def metric(self, finalist: Contestant) -> Metric | None:
        """The figure that counts of a finalist; None if it is none, or nothing was measured."""
        result = self.result(finalist)
        return None if result is None else result.metric(self.figure)

    def comparisons(self, challenger: Contestant) -> tuple[MetricComparison, ...]:
        """How every figure differs from that of the settings in force."""
        base, new = self.result(self.finalists[0]), self.result(challenger)
        return () if base is None or new is None else compare_candidates(base, new).metrics

    def gain(self, challenger: Contestant) -> MetricComparison | None:
        """How the figure that counts differs; None if it was not measured on both sides."""
        found = next((one for one in self.comparisons(challenger) if one.name == self.figure), None)
        return found if found is not None and math.isfinite(found.change) else None

    def winner(self) -> Contestant | None:
        """The challenger with the largest gain for which there is evidence; None without any.

        One whose engine failed is none, however fast it was before.
        """
        proven = [
            (-gain.worse_by, challenger)
            for challenger in self.finalists[1:]
            if (result := self.result(challenger)) is not None
            and result.error is None
            and (gain := self.gain(challenger)) is not None
            and is_gain(gain, challengers=len(self.finalists) - 1)
        ]
        return max(proven, key=lambda pair: pair[0])[1] if proven else None


def is_gain(comparison: MetricComparison, *, challengers: int = 1) -> bool:
    """Whether a figure got better beyond chance, by the test that `compare` uses, and enough to matter.

    Args:
        comparison: How the figure differs.
        challengers: How many were compared with the settings in force: the level is divided among them.
    """
    return comparison.worse_by <= -LEAST_PERCENT and comparison.p * challengers <= LEVEL


def rounds_for_evidence(challengers: int = 1) -> int:
    """The fewest rounds of each side with which the test can find anything.

    Args:
        challengers: As `is_gain` takes it.
    """
    rounds = 1
    while 2 * challengers / math.comb(2 * rounds, rounds) > LEVEL:
        rounds += 1
    return rounds


def confirm(
    confirmation: Confirmation,
    trials: Trials,
    runtime: Runtime,
    limit: TimeLimit,
    on_progress: Callable[[Progress], None],
) -> None:
    """Measure the finalists in turn into `confirmation` until the rounds or the time are used up.

    Args:
        confirmation: Who takes part.
        trials: Makes the candidates, and knows what to measure.
        runtime: Plugins, settings and history.
        limit: The time there is.
        on_progress: Told of every step.

    Raises:
        KeyboardInterrupt: The user ended it; `confirmation` has everything until then.
    """
    candidates = [trials.candidate(finalist.settings) for finalist in confirmation.finalists]
    plan = Plan(
        workloads=trials.workloads.confirm,
        rounds=MOST_ROUNDS,
        budget=max(limit.left, 0.1) / len(candidates),
        deadline=limit.deadline,
    )
    benchmark = ModelBenchmark(runtime, on_progress=on_progress)
    try:
        benchmark.measure(candidates, plan, stop=limit.stop)
    finally:
        confirmation.report, confirmation.number = benchmark.report, benchmark.number
