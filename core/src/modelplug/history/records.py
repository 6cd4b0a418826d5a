"""The records that history keeps."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MINIMUM_TOKENS", "RESERVED_NAMES", "KnownModel", "RunRecord", "now"]

MINIMUM_TOKENS = 16
"""Runs with fewer tokens say more about start-up than about speed."""


RESERVED_NAMES = frozenset({"demo", "-"})
"""Names that mean something else on the command line."""


def now() -> str:
    """The present moment in UTC, as ISO 8601 spells it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


@attrs.frozen(kw_only=True)
class RunRecord:
    """One attempt to run a model: what was asked, what it cost, how it ended.

    Attributes:
        fingerprint: Identifies the model's content, wherever the file lies.
        backend: The backend that ran it.
        engine_version: Its engine's version.
        device: `cpu` or a device's id.
        gpu_layers: Layers on the device; -1 all.
        context_size: Tokens.
        threads: CPU threads.
        load_seconds: Time until the model was ready.
        resident_bytes: Main memory of the engine's process, measured.
        device_bytes: Memory on the device, measured.
        prompt_tokens: Tokens in the prompt.
        completion_tokens: Tokens generated.
        prompt_seconds: Time spent on the prompt.
        generate_seconds: Time spent on generating.
        first_token_seconds: Time from the request to the first token.
        success: Whether it ended as it should.
        error: What went wrong; empty on success.
        estimated_bytes: The memory that was predicted.
        time: When, in UTC, as ISO 8601 spells it.
        origin: The migration that brought it over from another program; empty if it was measured here.
        details: What else that program said, as JSON text: how it measured, for example.
    """

    fingerprint: str
    backend: str
    engine_version: str = ""
    device: str = "cpu"
    gpu_layers: int = 0
    context_size: int | None = None
    threads: int | None = None
    load_seconds: float | None = None
    resident_bytes: int | None = None
    device_bytes: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_seconds: float | None = None
    generate_seconds: float | None = None
    first_token_seconds: float | None = None
    success: bool = True
    error: str = ""
    estimated_bytes: int | None = None
    time: str = attrs.field(factory=now)
    origin: str = ""
    details: str = ""

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of generating; None where the run was too short to tell, or failed."""
        tokens, seconds = self.completion_tokens, self.generate_seconds
        if not self.success or tokens is None or not seconds or tokens < MINIMUM_TOKENS:
            return None
        return tokens / seconds


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
