"""The records that history keeps."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import attrs

__all__ = [
    "MINIMUM_TOKENS",
    "RESERVED_NAMES",
    "BenchmarkRecord",
    "FailureRecord",
    "KnownModel",
    "RunRecord",
    "SeenModel",
    "machine_name",
    "now",
]

MINIMUM_TOKENS = 16
"""Runs with fewer tokens say more about start-up than about speed."""


RESERVED_NAMES = frozenset({"demo", "-"})
"""Names that mean something else on the command line."""


def now() -> str:
    """The present moment in UTC, as ISO 8601 spells it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def machine_name(cpu: str, cores: int) -> str:
    """What figures measured on one machine have in common: its processor and how much of it may be used."""
    return f"{cpu} | {cores} cores" if cpu else ""


@attrs.frozen(kw_only=True)
class RunRecord:
    """One attempt to run a model: what was asked, what it cost, how it ended. Never what was said.

    Attributes:
        fingerprint: Identifies the model's content, wherever the file lies.
        backend: The backend that ran it.
        engine_version: Its engine's version.
        device: `cpu` or a device's id.
        gpu_layers: Layers on the device; -1 all.
        context_size: Tokens.
        threads: CPU threads.
        batch_size: Prompt tokens evaluated at once.
        load_seconds: Time until the model was ready.
        resident_bytes: Main memory of the engine's process, measured.
        device_bytes: Memory on the device, measured.
        prompt_tokens: Tokens in the prompt.
        cached_tokens: Of these, tokens that the engine had in its cache.
        completion_tokens: Tokens generated.
        prompt_seconds: Time spent on the prompt.
        generate_seconds: Time spent on generating.
        first_token_seconds: Time from the request to the first token.
        total_seconds: Time from the request to its end.
        finish_reason: `stop`, `length` or `cancelled`; empty if it failed.
        success: Whether it ended as it should.
        error: What went wrong; empty on success.
        estimated_bytes: The memory that was predicted.
        estimated_speed: The tokens per second that were predicted before anything was measured here.
        weight_bytes: Bytes of weights that the engine reads for each token.
        weight_count: The number of these weights.
        cache_bytes: Bytes of keys and values for each token of context.
        layers: Repeating layers of the model.
        session: What all requests to one loaded model have in common.
        purpose: `use`, or what else it served for, for example `benchmark`: such runs count as measurements,
            and not as habits.
        machine: The processor it was measured on.
        time: When, in UTC, as ISO 8601 spells it.
        origin: The migration that brought it over from another program; empty if it was measured here.
        details: What else that program said, as JSON text: how it measured, for example.
        id: Its number in the history; 0 before it is there. A later run has a higher one, whatever the
            clock said.
    """

    fingerprint: str
    backend: str
    engine_version: str = ""
    device: str = "cpu"
    gpu_layers: int = 0
    context_size: int | None = None
    threads: int | None = None
    batch_size: int | None = None
    load_seconds: float | None = None
    resident_bytes: int | None = None
    device_bytes: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_seconds: float | None = None
    generate_seconds: float | None = None
    first_token_seconds: float | None = None
    total_seconds: float | None = None
    finish_reason: str = ""
    success: bool = True
    error: str = ""
    estimated_bytes: int | None = None
    estimated_speed: float | None = None
    weight_bytes: float | None = None
    weight_count: float | None = None
    cache_bytes: float | None = None
    layers: int | None = None
    session: str = ""
    purpose: str = "use"
    machine: str = ""
    time: str = attrs.field(factory=now)
    origin: str = ""
    details: str = ""
    id: int = attrs.field(default=0, eq=False)

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of generating; None where the run was too short to tell, or failed."""
        tokens, seconds = self.completion_tokens, self.generate_seconds
        if not self.success or tokens is None or not seconds or tokens < MINIMUM_TOKENS:
            return None
        return tokens / seconds


@attrs.frozen(kw_only=True)
class FailureRecord:
    """One failure of an engine, while loading a model or while generating.

    Attributes:
        fingerprint: The model.
        backend: The backend.
        engine_version: Its engine's version, if it had said so.
        device: `cpu` or a device's id.
        gpu_layers: Layers on the device; -1 all.
        context_size: Tokens.
        phase: `start`, `load`, `first-token` or `generate`.
        cause: In one word, as `BackendError.cause` spells it, for example `out-of-memory`.
        error: What happened, in a sentence.
        advice: What was advised.
        session: What all requests to one loaded model have in common; empty if loading failed.
        machine: The processor it happened on.
        after_run: The number of the last run that was recorded before it, whatever the clock said.
        time: When, in UTC, as ISO 8601 spells it.
        id: Its number in the history; 0 before it is there.
    """

    fingerprint: str
    backend: str
    engine_version: str = ""
    device: str = "cpu"
    gpu_layers: int = 0
    context_size: int | None = None
    phase: str = "load"
    cause: str = ""
    error: str = ""
    advice: str = ""
    session: str = ""
    machine: str = ""
    after_run: int = attrs.field(default=0, eq=False)
    time: str = attrs.field(factory=now)
    id: int = attrs.field(default=0, eq=False)


@attrs.frozen(kw_only=True)
class BenchmarkRecord:
    """What one benchmark found for one model on one engine: the figures to search and compare by.

    Attributes:
        document: Number of the benchmark whose whole result `HistoryStore.benchmark_document` gives; one
            benchmark of several engines has a record for each.
        fingerprint: The model.
        model: What the model was called.
        backend: The backend.
        engine_version: Its engine's version.
        device: `cpu` or a device's id.
        gpu_layers: Layers on the device; -1 all.
        context_size: Tokens.
        threads: CPU threads.
        machine: The processor it was measured on.
        load_seconds: Median time until the model was ready.
        prompt_speed: Median tokens per second of the longest prompt measured.
        generate_speed: Median tokens per second of the longest generation measured.
        first_token_seconds: Median time to the first token.
        resident_bytes: Highest main memory of the engine's process.
        device_bytes: Memory on the device.
        gpu_utilization: Median busy share of the GPU, in percent.
        stable: Whether its figures were found stable; None if that was not said.
        success: Whether the engine lived through it.
        error: What went wrong; empty on success.
        time: When, in UTC, as ISO 8601 spells it.
        id: Its number in the history; 0 before it is there.
    """

    document: int
    fingerprint: str
    backend: str
    model: str = ""
    engine_version: str = ""
    device: str = "cpu"
    gpu_layers: int = 0
    context_size: int | None = None
    threads: int | None = None
    machine: str = ""
    load_seconds: float | None = None
    prompt_speed: float | None = None
    generate_speed: float | None = None
    first_token_seconds: float | None = None
    resident_bytes: int | None = None
    device_bytes: int | None = None
    gpu_utilization: float | None = None
    stable: bool | None = None
    success: bool = True
    error: str = ""
    time: str = attrs.field(factory=now)
    id: int = attrs.field(default=0, eq=False)


@attrs.frozen(kw_only=True)
class KnownModel:
    """A model that was given a name.

    Attributes:
        name: What to call it on the command line.
        path: Its file or directory.
        fingerprint: Identifies its content; empty if it was added without inspection.
        format: As `ModelInfo.format` spells it.
        architecture: For example `llama`.
        quantization: For example `Q4_K_M`.
        size: Bytes.
        parameters: Number of weights.
        added: When it was added.
        last_seen: When it was last added or found.
        origin: The migration that added it; empty if the user did.
        source: The program in whose folder it was found, for example `ollama`; empty if the user named it.
    """

    name: str
    path: Path
    fingerprint: str = ""
    format: str = ""
    architecture: str = ""
    quantization: str = ""
    size: int | None = None
    parameters: int | None = None
    added: str = attrs.field(factory=now)
    last_seen: str = attrs.field(factory=now)
    origin: str = ""
    source: str = ""


@attrs.frozen(kw_only=True)
class SeenModel:
    """A model by its content, with or without a name: what runs, benchmarks and failures speak of.

    Attributes:
        fingerprint: Identifies its content.
        path: Where it lay when it was last seen.
        format: As `ModelInfo.format` spells it.
        architecture: For example `llama`.
        quantization: For example `Q4_K_M`.
        size: Bytes.
        parameters: Number of weights.
        metadata: What its header says: its scalar entries, and the sizes of its layers.
        first_seen: When it was first run or found.
        last_seen: When it was last run or found.
    """

    fingerprint: str
    path: Path
    format: str = ""
    architecture: str = ""
    quantization: str = ""
    size: int | None = None
    parameters: int | None = None
    metadata: dict[str, Any] = attrs.field(factory=dict)
    first_seen: str = attrs.field(factory=now)
    last_seen: str = attrs.field(factory=now)
