"""Draws the figures from what was measured, each with the way it was measured."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import attrs

from modelplug.benchmark.records import Metric
from modelplug.benchmark.stability import judge
from modelplug.benchmark.statistics import median_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modelplug.benchmark.records import Environment, RequestRecord, RoundRecord
    from modelplug.benchmark.workload import Benchmark

__all__ = ["draw_metrics", "round_medians"]

FIRST_TOKEN_SIZE = 128
"""The time to the first token is given for the largest prompt measured up to this size."""

_ENGINE_CLOCK = "by the clock beside the engine"
_CALLER_CLOCK = "as the caller sees it, because the engine does not tell the phases apart"


@attrs.frozen(kw_only=True)
class _Figure:
    """A metric before its summary: what it is, and its samples as (round, value)."""

    name: str
    label: str
    unit: str
    better: str
    how: str
    samples: list[tuple[int, float]]
    remarks: tuple[str, ...] = ()


def round_medians(values: Sequence[float], rounds: Sequence[int]) -> list[float]:
    """The median of each round, in the order of the rounds.

    Samples of one round share a process, and what happened to the machine meanwhile; rounds are what repeats
    the measurement. So intervals and comparisons rest on rounds.

    Args:
        values: The samples.
        rounds: The round of each.
    """
    by_round: dict[int, list[float]] = {}
    for value, number in zip(values, rounds, strict=True):
        by_round.setdefault(number, []).append(value)
    return [statistics.median(by_round[number]) for number in sorted(by_round)]


def draw_metrics(
    workloads: Sequence[Benchmark],
    requests: Sequence[RequestRecord],
    rounds: Sequence[RoundRecord],
    environment: Environment,
) -> tuple[Metric, ...]:
    """Every figure for which there is at least one sample.

    Args:
        workloads: What was measured.
        requests: Every request of one candidate.
        rounds: Every round of it.
        environment: The machine, for the reasons of instability.
    """
    counted: dict[str, list[RequestRecord]] = {workload.name: [] for workload in workloads}
    for request in requests:
        if not request.warm_up and request.finish_reason != "cancelled":
            counted[request.workload].append(request)
    figures = [
        _load(rounds),
        *(_prompt(w, counted[w.name]) for w in workloads if w.measures_prompt),
        *_first_token(workloads, counted),
        *(_generation(w, counted[w.name]) for w in workloads if not w.measures_prompt),
        *_resources(rounds),
        *_energy(workloads, counted),
    ]
    return tuple(_summarised(figure, rounds, environment) for figure in figures if figure.samples)


def _summarised(figure: _Figure, rounds: Sequence[RoundRecord], environment: Environment) -> Metric:
    values = tuple(value for _, value in figure.samples)
    numbers = tuple(number for number, _ in figure.samples)
    medians = round_medians(values, numbers)
    interval = median_interval(medians)
    reasons = judge(medians, interval, rounds, environment)
    return Metric(
        name=figure.name,
        label=figure.label,
        unit=figure.unit,
        better=figure.better,
        how=figure.how,
        values=values,
        rounds=numbers,
        median=interval.middle,
        low=interval.low,
        high=interval.high,
        confidence=interval.confidence,
        stable=not reasons,
        reasons=(*reasons, *figure.remarks),
    )


def _load(rounds: Sequence[RoundRecord]) -> _Figure:
    samples = [(record.number, record.load_seconds) for record in rounds]
    # The first one may have had to read the file from the disk.
    return _Figure(
        name="load",
        label="Load time",
        unit="s",
        better="lower",
        how="from the request to load until the model is ready, in a new process each time, the file in the "
        "system's cache",
        samples=samples[1:] or samples,
        remarks=() if len(samples) > 1 else ("The only load may have read the file from the disk.",),
    )


def _prompt(workload: Benchmark, requests: Sequence[RequestRecord]) -> _Figure:
    own_clock = all(request.prompt_seconds for request in requests)
    samples = []
    for request in requests:
        seconds = request.prompt_seconds if own_clock else request.first_token_seconds
        evaluated = request.prompt_tokens - request.cached_tokens
        if seconds and evaluated > 0:
            samples.append((request.round, evaluated / seconds))
    clock = _ENGINE_CLOCK if own_clock else _CALLER_CLOCK
    return _Figure(
        name=workload.name,
        label=f"Prompt of {workload.prompt_tokens} tokens",
        unit="tokens/s",
        better="higher",
        how=f"prompt tokens that were not in the engine's cache, by the time spent on them, {clock}",
        samples=samples,
        remarks=tuple(_size_remarks(workload, requests)),
    )


def _size_remarks(workload: Benchmark, requests: Iterable[RequestRecord]) -> Iterable[str]:
    sizes = {request.prompt_tokens for request in requests} - {workload.prompt_tokens}
    if sizes:
        counts = f"{min(sizes)} to {max(sizes)}" if len(sizes) > 1 else str(*sizes)
        yield f"By the engine's own count the prompts had {counts} tokens."
    cached = max((request.cached_tokens for request in requests), default=0)
    if cached > workload.prompt_tokens / 10:
        yield f"Up to {cached} tokens of a prompt were in the engine's cache, and were not counted."


def _first_token(
    workloads: Sequence[Benchmark], counted: dict[str, list[RequestRecord]]
) -> Iterable[_Figure]:
    sizes = [w for w in workloads if w.measures_prompt and w.prompt_tokens <= FIRST_TOKEN_SIZE]
    if not sizes:
        return
    workload = max(sizes, key=lambda w: w.prompt_tokens)
    yield _Figure(
        name=f"first-token-{workload.prompt_tokens}",
        label=f"First token after a prompt of {workload.prompt_tokens} tokens",
        unit="s",
        better="lower",
        how="from the request to the first token, as the caller sees it",
        samples=[(request.round, request.first_token_seconds) for request in counted[workload.name]],
    )


def _generation(workload: Benchmark, requests: Sequence[RequestRecord]) -> _Figure:
    own_clock = all(request.generate_seconds for request in requests)
    samples = []
    for request in requests:
        seconds = request.generate_seconds
        if not own_clock:
            seconds = request.total_seconds - request.first_token_seconds
        # The first token comes out of the prompt's last pass, and costs no time after it.
        if seconds and seconds > 0 and request.completion_tokens > 1:
            samples.append((request.round, (request.completion_tokens - 1) / seconds))
    lengths = {request.completion_tokens for request in requests} - {workload.generate_tokens}
    shown = f"{min(lengths)} to {max(lengths)}" if len(lengths) > 1 else "".join(map(str, lengths))
    clock = _ENGINE_CLOCK if own_clock else _CALLER_CLOCK
    return _Figure(
        name=workload.name,
        label=f"Generating {workload.generate_tokens} tokens",
        unit="tokens/s",
        better="higher",
        how=f"tokens after the first one, by the time after the prompt, greedy, {clock}",
        samples=samples,
        remarks=(f"The model ended by itself after {shown} tokens.",) if lengths else (),
    )


def _resources(rounds: Sequence[RoundRecord]) -> Iterable[_Figure]:
    def over_rounds(value: Callable[[RoundRecord], float | None]) -> list[tuple[int, float]]:
        pairs = [(record.number, value(record)) for record in rounds]
        return [(number, float(found)) for number, found in pairs if found is not None]

    yield _Figure(
        name="memory",
        label="Peak memory",
        unit="bytes",
        better="lower",
        how="the most main memory that the worker and what it started held at a time, pages of the mapped "
        "model file included",
        samples=over_rounds(lambda record: record.peak_bytes),
    )
    yield _Figure(
        name="device-memory",
        label="Peak memory on the device",
        unit="bytes",
        better="lower",
        how="the most memory used on the device, less what was used before loading",
        samples=over_rounds(lambda record: record.peak_device_bytes),
    )
    yield _Figure(
        name="gpu-utilization",
        label="GPU utilisation",
        unit="%",
        better="neither",
        how="mean of what the driver said while requests were measured",
        samples=over_rounds(lambda record: record.gpu_utilization),
    )


def _energy(workloads: Sequence[Benchmark], counted: dict[str, list[RequestRecord]]) -> Iterable[_Figure]:
    longest = max(
        (w for w in workloads if not w.measures_prompt), key=lambda w: w.generate_tokens, default=None
    )
    if longest is None:
        return
    yield _Figure(
        name="energy",
        label=f"Energy while generating {longest.generate_tokens} tokens",
        unit="J/token",
        better="lower",
        how="energy that processor packages and GPU used meanwhile, whoever used it, by the tokens generated",
        samples=[
            (request.round, request.joules / request.completion_tokens)
            for request in counted[longest.name]
            if request.joules is not None and request.completion_tokens > 0
        ],
    )
