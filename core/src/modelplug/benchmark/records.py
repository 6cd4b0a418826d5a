"""The records of a benchmark: what was measured, from every single request to the figures drawn from them."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "BenchmarkReport",
    "CandidateResult",
    "Environment",
    "Metric",
    "ModelFacts",
    "Protocol",
    "RequestRecord",
    "RoundRecord",
]

SCHEMA = "modelplug-benchmark"
SCHEMA_VERSION = 1


@attrs.frozen(kw_only=True)
class RequestRecord:
    """One request, as it was measured.

    Attributes:
        workload: The workload's name.
        round: The round, from 0.
        at: Seconds since the benchmark began.
        warm_up: Whether it only served to warm up, and counts in no figure.
        prompt_tokens: Tokens of the prompt, as the engine counts them.
        cached_tokens: How many of them were in the engine's cache.
        completion_tokens: Tokens generated.
        prompt_seconds: Time the engine spent on the prompt, by its own clock; None if it can't tell.
        generate_seconds: Time it generated after that, by its own clock; None likewise.
        first_token_seconds: From the request to the first token, as the caller sees it.
        total_seconds: From the request to its end, as the caller sees it.
        joules: Energy used meanwhile, of everything that can be read; None if nothing can.
        finish_reason: `length`, or `stop` where the model ended by itself.
    """

    workload: str
    round: int
    at: float
    warm_up: bool
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    prompt_seconds: float | None
    generate_seconds: float | None
    first_token_seconds: float
    total_seconds: float
    joules: float | None = None
    finish_reason: str = "length"


@attrs.frozen(kw_only=True)
class RoundRecord:
    """One time the model was loaded, measured and closed again.

    Attributes:
        number: From 0.
        at: Seconds since the benchmark began.
        seconds: How long it took.
        load_seconds: From the request to load until the model was ready.
        resident_bytes: Main memory of the worker right after loading.
        peak_bytes: The most main memory the worker and its children had.
        peak_device_bytes: The most memory taken on the device; None without one.
        gpu_utilization: Mean utilisation of the device during requests, in percent; None without one.
        other_load: Share of the machine's processors that other programs used, from 0 to 1; None if unknown.
        yardstick_seconds: Time for a fixed piece of work of ours: how fast the machine itself was just then.
    """

    number: int
    at: float
    seconds: float
    load_seconds: float
    resident_bytes: int
    peak_bytes: int
    peak_device_bytes: int | None = None
    gpu_utilization: float | None = None
    other_load: float | None = None
    yardstick_seconds: float | None = None


@attrs.frozen(kw_only=True)
class Metric:
    """One figure of a candidate.

    Attributes:
        name: For example `generate-128`.
        label: What it is, for people.
        unit: `tokens/s`, `s`, `bytes`, `%` or `J/token`.
        better: `higher`, `lower`, or `neither` for what is no merit by itself.
        how: How it was measured, in a sentence.
        values: Every sample, in the order of measuring.
        rounds: The round of each sample.
        median: The median of the rounds' medians.
        low: Lower end of its interval.
        high: Upper end.
        confidence: The interval's confidence; less than 0.95 with fewer than six rounds.
        stable: Whether the samples agree well enough to rely on the median.
        reasons: What made it unstable, in sentences; notes on the samples too.
    """

    name: str
    label: str
    unit: str
    better: str
    how: str
    values: tuple[float, ...]
    rounds: tuple[int, ...]
    median: float
    low: float
    high: float
    confidence: float
    stable: bool
    reasons: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ModelFacts:
    """Which model was measured.

    Attributes:
        name: As the user named it.
        path: Where it lay.
        fingerprint: Hash of its header, tensor layout and samples of its weights, wherever the file lies.
        format: For example `gguf`.
        architecture: For example `llama`.
        quantization: For example `Q4_K_M`.
        size: Bytes.
        parameters: Number of weights.
    """

    name: str
    path: str
    fingerprint: str = ""
    format: str = ""
    architecture: str = ""
    quantization: str = ""
    size: int | None = None
    parameters: int | None = None


@attrs.frozen(kw_only=True)
class CandidateResult:
    """Everything measured of one model with one backend and settings.

    Attributes:
        label: What tables and plots call it.
        model: The model.
        backend: The backend's name.
        engine: The engine's own name.
        engine_version: Its version.
        distribution: The plugin's distribution and version.
        requested: The settings asked for.
        effective: The settings really in force; empty if it never loaded.
        notes: Differences between the two, in sentences.
        status: `measured`, `partial` (interrupted or out of time before its rounds were done) or `failed`.
        error: What went wrong, as `ModelplugError.to_dict` gives it; None if nothing did.
        skipped: Workload -> why it was left out.
        first_load_seconds: The first load, which may have read the file from the disk and counts nowhere.
        estimate: The generation speed that was expected beforehand; None if there was no basis for one.
        rounds: Every round.
        requests: Every request.
        metrics: The figures.
    """

    label: str
    model: ModelFacts
    backend: str
    engine: str = ""
    engine_version: str = ""
    distribution: str = ""
    requested: dict[str, Any] = attrs.field(factory=dict)
    effective: dict[str, Any] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()
    status: str = "measured"
    error: dict[str, Any] | None = None
    skipped: dict[str, str] = attrs.field(factory=dict)
    first_load_seconds: float | None = None
    estimate: dict[str, Any] | None = None
    rounds: tuple[RoundRecord, ...] = ()
    requests: tuple[RequestRecord, ...] = ()
    metrics: tuple[Metric, ...] = ()

    def metric(self, name: str) -> Metric | None:
        """The figure of that name, or None."""
        return next((metric for metric in self.metrics if metric.name == name), None)


@attrs.frozen(kw_only=True)
class Environment:
    """The machine and its state while measuring.

    Attributes:
        machine: Identifies the hardware: a hash of what stands below from `cpu` to `devices`.
        cpu: The processor's name.
        architecture: For example `x86_64`.
        physical_cores: None if unknown.
        logical_cores: Hardware threads.
        usable_cores: Threads this process may use.
        memory_total: Bytes.
        devices: The accelerators: id, name, memory and driver of each.
        os: The operating system, for people.
        python: The interpreter's version.
        modelplug: modelplug's version.
        packages: Version of each distribution that took part.
        governors: The frequency governors of the processors.
        boost: Whether the processor may exceed its nominal frequency; None if unknown.
        on_battery: None if unknown, or without a battery.
        load_before: Processes that wanted to run, averaged over the minute before; None if unknown.
        load_after: The same at the end.
    """

    machine: str
    cpu: str
    architecture: str
    physical_cores: int | None
    logical_cores: int
    usable_cores: int
    memory_total: int
    devices: tuple[dict[str, Any], ...] = ()
    os: str = ""
    python: str = ""
    modelplug: str = ""
    packages: dict[str, str] = attrs.field(factory=dict)
    governors: tuple[str, ...] = ()
    boost: bool | None = None
    on_battery: bool | None = None
    load_before: float | None = None
    load_after: float | None = None


@attrs.frozen(kw_only=True)
class Protocol:
    """How it was measured.

    Attributes:
        rounds: How many times each candidate was to be loaded and measured, turn by turn.
        budget: Seconds for each candidate, after which no new round begins.
        quick: Whether it was a quick benchmark.
        deadline: Seconds for loading and for the first token of each request; None is the settings' own.
        workloads: The sizes: name, prompt_tokens and generate_tokens of each.
        energy: What energy could be read of, for example `package-0`.
    """

    rounds: int
    budget: float
    quick: bool
    deadline: float | None
    workloads: tuple[dict[str, Any], ...]
    energy: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class BenchmarkReport:
    """The result of a benchmark.

    Attributes:
        created: When it began, in UTC, as ISO 8601 spells it.
        seconds: How long it took, by a clock that can't be set.
        interrupted: Whether the user ended it early; what was measured until then is all here.
        protocol: How it was measured.
        environment: The machine.
        candidates: What was measured, in the order given.
    """

    created: str
    seconds: float
    interrupted: bool
    protocol: Protocol
    environment: Environment
    candidates: tuple[CandidateResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data that `json.dumps` accepts, in the published schema."""
        from modelplug.benchmark.serialize import report_to_dict

        return report_to_dict(self)
