"""Takes the figures of baselines that other programs wrote, for no more than they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.records import (
    BenchmarkReport,
    CandidateResult,
    Environment,
    Metric,
    ModelFacts,
    Protocol,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Figure", "figures_of", "report_of_figures"]


@attrs.frozen
class _Meaning:
    """What a name stands for: the metric, the factor to its unit, and the unit if it is another one."""

    metric: str
    factor: float = 1.0
    unit: str = ""


# GGUF Loader's own benchmark counts words and calls them tokens: not to be compared, and said.
_WORDS = _Meaning("generate-128", unit="words/s")
# The surest names first. Sizes without a unit in their name are megabytes in every program that writes them.
_NAMES = {
    "tokens_per_second": _Meaning("generate-128"),
    "inference_speed": _Meaning("generate-128"),
    "overall_tokens_per_sec": _WORDS,
    "average_tokens_per_sec": _WORDS,
    "tokens_per_sec": _WORDS,
    "loading_time": _Meaning("load"),
    "load_time": _Meaning("load"),
    "load_time_ms": _Meaning("load", 1e-3),
    "loading_time_ms": _Meaning("load", 1e-3),
    "memory_usage_mb": _Meaning("memory", 1e6),
    "memory_usage": _Meaning("memory", 1e6),
    "gpu_utilization": _Meaning("gpu-utilization"),
    "gpu_usage_percent": _Meaning("gpu-utilization"),
}
_KINDS = {
    "generate-128": ("Speed of generating", "tokens/s", "higher"),
    "load": ("Load time", "s", "lower"),
    "memory": ("Memory", "bytes", "lower"),
    "gpu-utilization": ("GPU utilisation", "%", "neither"),
}


@attrs.frozen(kw_only=True)
class Figure:
    """One figure of another program.

    Attributes:
        metric: The metric of ours that it comes closest to.
        name: What the program called it.
        value: In the metric's unit.
        unit: Its unit where that is not the metric's.
    """

    metric: str
    name: str
    value: float
    unit: str = ""


def figures_of(data: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures in a baseline whose names say what they are, by metric; the outermost of each.

    Args:
        data: What was read.
    """
    numbers: dict[str, float] = {}
    for name, value in _numbers(data):
        numbers.setdefault(name, value)
    found: dict[str, Figure] = {}
    for name, meaning in _NAMES.items():
        if name in numbers and meaning.metric not in found:
            value = numbers[name] * meaning.factor
            found[meaning.metric] = Figure(metric=meaning.metric, name=name, value=value, unit=meaning.unit)
    return found


def _numbers(data: object) -> Iterator[tuple[str, float]]:
    waiting = [data]
    while waiting:
        entry = waiting.pop(0)
        if isinstance(entry, dict):
            for name, value in entry.items():
                if type(value) in (int, float) and math.isfinite(value) and value >= 0:
                    yield str(name), float(value)
                else:
                    waiting.append(value)
        elif isinstance(entry, list):
            waiting += entry


def report_of_figures(figures: Mapping[str, Figure], data: Mapping[str, Any]) -> BenchmarkReport:
    """A report that holds these figures and says that nothing more is known.

    Args:
        figures: What `figures_of` found.
        data: What was read, for the model and the backend.
    """
    model, backend = str(data.get("model_path") or ""), str(data.get("backend") or "")
    candidate = CandidateResult(
        label=f"{backend or 'another program'}'s baseline",
        model=ModelFacts(name=model, path=model),
        backend=backend,
        metrics=tuple(_metric(figure) for figure in figures.values()),
    )
    return BenchmarkReport(
        created=str(data.get("created") or data.get("timestamp") or "at an unknown time"),
        seconds=0.0,
        interrupted=False,
        protocol=Protocol(rounds=1, budget=0.0, quick=False, deadline=None, workloads=()),
        environment=Environment(
            machine="",
            cpu="unknown",
            architecture="",
            physical_cores=None,
            logical_cores=0,
            usable_cores=0,
            memory_total=0,
        ),
        candidates=(candidate,),
    )


def _metric(figure: Figure) -> Metric:
    label, unit, better = _KINDS[figure.metric]
    reasons = ["It is a single figure of another program, which kept no samples."]
    if figure.unit:
        reasons.append(f"What that program calls tokens are words: it is a number of {figure.unit}.")
    return Metric(
        name=figure.metric,
        label=label,
        unit=figure.unit or unit,
        better=better,
        how=f"by another program, as {figure.name}",
        values=(figure.value,),
        rounds=(0,),
        median=figure.value,
        low=figure.value,
        high=figure.value,
        confidence=0.0,
        stable=False,
        reasons=tuple(reasons),
    )
