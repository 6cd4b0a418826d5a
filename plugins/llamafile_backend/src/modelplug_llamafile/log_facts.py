"""Reads from the server's log what it really did, and why it failed."""

from __future__ import annotations

import re

import attrs

__all__ = ["Failure", "LogFacts", "facts_in", "failure_in", "port_trouble"]


@attrs.frozen(kw_only=True)
class LogFacts:
    """What a log tells of a model that was loaded.

    Attributes:
        offloaded: Layers placed on the GPU; None if the log does not say.
        layers: Layers there are, by the engine's own count.
        device: The engine's name for the GPU it uses, such as `CUDA0`; empty if it names none.
    """

    offloaded: int | None = None
    layers: int | None = None
    device: str = ""


@attrs.frozen
class Failure:
    """Why a program gave up, as far as its last words tell.

    Attributes:
        cause: For `BackendError.cause`.
        why: In words.
        advice: What to do about it.
    """

    cause: str
    why: str
    advice: str


_FAILURES: tuple[tuple[str, Failure], ...] = (
    (
        r"run-detectors|cannot execute binary file|exec format error|unable to find an interpreter",
        Failure(
            "start-failed",
            "this system does not run the program's format (an actually portable executable)",
            "Install its loader as the plugin's README shows under `exec format error`, or use llamacpp.",
        ),
    ),
    (
        r"out of memory|cudaMalloc failed|unable to allocate|failed to allocate|bad_alloc|cannot allocate",
        Failure(
            "out-of-memory",
            "it ran out of memory",
            "Use fewer --gpu-layers, a smaller --context-size, or a smaller model.",
        ),
    ),
    (
        r"unknown (?:argument|option|flag)|invalid (?:argument|option)|unrecognized (?:argument|option)",
        Failure(
            "unsupported",
            "it does not know one of its arguments",
            "Check the setting backends.llamafile.arguments; `--help` of the program lists what it knows.",
        ),
    ),
    (
        r"unknown (?:model )?architecture|unsupported (?:model )?architecture",
        Failure(
            "unsupported",
            "it does not know the model's architecture",
            "Use a newer llamafile, or another backend with --backend llamacpp.",
        ),
    ),
    (
        (
            r"gpu (?:support|inference)[^\n]*(?:not|fail)|(?:nvidia|amd|apple|cuda|rocm|metal)[^\n]*"
            r"(?:not supported|not available|could not be (?:used|loaded)|failed to)"
        ),
        Failure(
            "unsupported",
            "it can't use the GPU that was asked for",
            "Install the GPU's SDK, or run on the CPU with --gpu-layers 0.",
        ),
    ),
    (
        r"failed to load model|unable to load model|error loading model|invalid magic",
        Failure(
            "exception",
            "it could not load the model",
            "`modelplug inspect` shows what the file is; a newer llamafile may know it.",
        ),
    ),
)
_PORT = re.compile(
    r"address already in use|couldn't bind|could not bind|failed to bind|error: bind|bind\(\) failed"
    r"|invalid port|EADDRINUSE",
    re.IGNORECASE,
)
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
_DEVICE = re.compile(r"\b((?:CUDA|ROCm|Vulkan|Metal|MTL)\d*)(?:_Mapped)? (?:model )?buffer size")


def facts_in(log: str) -> LogFacts:
    """What the log says of where the model went; the last word counts."""
    counts = _OFFLOADED.findall(log)
    devices = _DEVICE.findall(log)
    if not counts:
        return LogFacts(device=devices[-1] if devices else "")
    offloaded, layers = counts[-1]
    return LogFacts(offloaded=int(offloaded), layers=int(layers), device=devices[-1] if devices else "")


def failure_in(tail: str) -> Failure | None:
    """The reason for giving up that can be recognised in the last lines; None if none can."""
    for pattern, failure in _FAILURES:
        if re.search(pattern, tail, re.IGNORECASE):
            return failure
    return None


def port_trouble(tail: str) -> bool:
    """Whether the program says that it could not have its port."""
    return _PORT.search(tail) is not None
