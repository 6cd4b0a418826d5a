"""`PerformanceComparer`: compares with a baseline that was recorded before, as the migration guide has it."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.comparison import (
    REGRESSED,
    CandidateComparison,
    MetricComparison,
    compare_reports,
    finite_or_none,
    geometric_change,
)
from modelplug.benchmark.foreign import figures_of, report_of_figures
from modelplug.benchmark.records import SCHEMA
from modelplug.benchmark.serialize import read_json, report_from_dict
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelplug.benchmark.records import BenchmarkReport
    from modelplug.benchmark.run import Progress
    from modelplug.runtime import Runtime

__all__ = ["Comparison", "PerformanceComparer", "compare", "read_baseline"]

_UNKNOWN = math.nan
_GENERATION = re.compile(r"generate-(\d+)")


@attrs.frozen(kw_only=True)
class Comparison:
    """How performance has changed since a baseline.

    The changes are in percent of the baseline, and say what happened, not whether it is good: less loading
    time and less memory are negative. What is unknown, because one side did not measure it or the baseline is
    0, is NaN, never 0. With several candidates each change is the geometric mean of theirs.

    Attributes:
        loading_time_change: Time to load; negative is faster.
        inference_speed_change: Tokens per second of the longest generation measured; positive is faster.
        memory_usage_change: Peak main memory; negative is less.
        gpu_utilization_change: Utilisation of the GPU; no merit by itself.
        overall_improvement: The geometric mean of the factors by which loading, speed and memory got better,
            as far as they are known, less 1; positive is better.
        differences: What else differs between the measurements, in sentences; another machine comes first.
        candidates: Every figure of every candidate, with intervals, tests and verdicts.
        baseline: When the baseline was measured.
        measured: When the new figures were.
    """

    loading_time_change: float
    inference_speed_change: float
    memory_usage_change: float
    gpu_utilization_change: float
    overall_improvement: float
    differences: tuple[str, ...] = ()
    candidates: tuple[CandidateComparison, ...] = ()
    baseline: str = ""
    measured: str = ""

    def regressions(self, least: float = 0.0) -> tuple[tuple[CandidateComparison, MetricComparison], ...]:
        """The figures with the verdict `regressed` that got worse by at least so many percent.

        Args:
            least: Percent.
        """
        return tuple(
            (candidate, metric)
            for candidate in self.candidates
            for metric in candidate.metrics
            # Without a percentage, as where the baseline is 0, it can't be below the limit either.
            if metric.verdict == REGRESSED and not metric.worse_by < least
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data that `json.dumps` accepts; what is unknown is None."""

        def plain(_instance: object, _attribute: object, value: object) -> object:
            if isinstance(value, float):
                return finite_or_none(value)
            return list(value) if isinstance(value, tuple) else value

        return {"schema": "modelplug-comparison", "version": 1, **attrs.asdict(self, value_serializer=plain)}


def compare(base: BenchmarkReport, new: BenchmarkReport) -> Comparison:
    """How a new measurement differs from a baseline.

    Args:
        base: The baseline.
        new: The new measurement.

    Raises:
        ModelplugError: They have no candidate in common.
    """
    differences, candidates = compare_reports(base, new)
    if not candidates:
        raise ModelplugError(
            "there is nothing to compare",
            why="no model of the baseline was measured again; "
            f"the baseline has {_labels(base)}, the new measurement {_labels(new)}",
            advice="Measure the same model: `modelplug compare BASELINE` does that by itself.",
        )
    loading, speed, memory, utilization = (
        geometric_change([_change(candidate, which) for candidate in candidates])
        for which in ("load", "generate", "memory", "gpu-utilization")
    )
    return Comparison(
        loading_time_change=loading,
        inference_speed_change=speed,
        memory_usage_change=memory,
        gpu_utilization_change=utilization,
        overall_improvement=geometric_change([_as_gain(loading), speed, _as_gain(memory)]),
        differences=differences,
        candidates=candidates,
        baseline=base.created,
        measured=new.created,
    )


def _labels(report: BenchmarkReport) -> str:
    return ", ".join(candidate.label for candidate in report.candidates) or "nothing"


def _change(candidate: CandidateComparison, which: str) -> float:
    if which != "generate":
        metric = candidate.metric(which)
        return _UNKNOWN if metric is None else metric.change
    sizes = {m.name: _GENERATION.fullmatch(m.name) for m in candidate.metrics if math.isfinite(m.change)}
    known = {int(match[1]): name for name, match in sizes.items() if match}
    metric = candidate.metric(known[max(known)]) if known else None
    return _UNKNOWN if metric is None else metric.change


def _as_gain(change: float) -> float:
    """A change of something that should be small, as the percentage by which things got better."""
    return 100 * (1 / (1 + change / 100) - 1) if change > -100 else _UNKNOWN


def read_baseline(path: str | os.PathLike[str]) -> BenchmarkReport:
    """The benchmark in a file: one of ours, or the plain figures that another program has left.

    Args:
        path: The file; `~` is expanded.

    Raises:
        ModelplugError: There is none, or it holds no figures.
    """
    file = Path(path).expanduser()
    data = read_json(file)
    if data.get("schema") == SCHEMA:
        return report_from_dict(data, str(file))
    figures = figures_of(data)
    if not figures:
        raise ModelplugError(
            f"{file} is no benchmark result",
            why="it holds neither a result of `modelplug bench` nor figures with a name that says what they "
            "are, such as tokens_per_second",
            advice="`modelplug bench MODEL --output FILE.json` writes a baseline.",
        )
    return report_of_figures(figures, data)


class PerformanceComparer:
    """Compares this machine's performance with a baseline.

    Args:
        runtime: Plugins, settings and history; None makes a runtime of its own.
        on_progress: Told of every step of a measurement.
    """

    def __init__(
        self, runtime: Runtime | None = None, *, on_progress: Callable[[Progress], None] | None = None
    ) -> None:
        self._runtime = runtime
        self._on_progress = on_progress

    def compare_with_baseline(
        self,
        path: str | os.PathLike[str],
        new: str | os.PathLike[str] | BenchmarkReport | None = None,
        *,
        models: Sequence[str] = (),
        **options: Any,
    ) -> Comparison:
        """Compare with the baseline in a file.

        Args:
            path: The baseline: what `ModelBenchmark` or `modelplug bench` wrote, or the plain figures of
                another program; `~` is expanded.
            new: The new measurement, or its file; None measures now what the baseline measured.
            models: The models to measure now, where the baseline does not name one that is still there.
            options: How to measure, as `ModelBenchmark.run_like` takes it.

        Raises:
            ModelplugError: The baseline can't be used, or measuring failed.
        """
        from modelplug.benchmark.records import BenchmarkReport as Report

        base = read_baseline(path)
        if new is None:
            return compare(base, self.measure_again(base, models=models, **options))
        return compare(base, new if isinstance(new, Report) else read_baseline(new))

    def measure_again(
        self, base: BenchmarkReport, *, models: Sequence[str] = (), **options: Any
    ) -> BenchmarkReport:
        """Measure now what a baseline measured: its models, backends, settings and workloads.

        Args:
            base: The baseline.
            models: The models to measure instead of those it names.
            options: How to measure, as `ModelBenchmark.run_like` takes it.

        Raises:
            ModelplugError: Measuring failed, or no model is named or left.
        """
        from modelplug.benchmark.model_benchmark import ModelBenchmark

        benchmark = ModelBenchmark(self._runtime, on_progress=self._on_progress)
        report = benchmark.run_like(base, models=models, **options)
        if benchmark.failure is not None:
            raise benchmark.failure
        return report
