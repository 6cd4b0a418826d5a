"""How the records of a request look on the wire between host and worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from modelplug import errors
from modelplug.backends.model import (
    Capabilities,
    Chunk,
    Effective,
    GenerateParams,
    GenerationStats,
    ModelStats,
)
from modelplug.backends.types import Deadlines, LoadRequest
from modelplug.formats.serialize import from_dict, to_dict

__all__ = [
    "check_chunk",
    "chunk_from_wire",
    "chunk_to_wire",
    "error_from_wire",
    "error_to_wire",
    "loaded_from_wire",
    "loaded_to_wire",
    "params_from_wire",
    "params_to_wire",
    "request_from_wire",
    "request_to_wire",
    "stats_from_wire",
    "stats_to_wire",
]


def request_to_wire(request: LoadRequest) -> dict[str, Any]:
    """A load request as plain data."""
    plain = attrs.asdict(request, recurse=False)
    plain["path"] = str(request.path)
    plain["scratch"] = str(request.scratch) if request.scratch else None
    plain["settings"] = _pack(request.settings)
    plain["info"] = to_dict(request.info)
    plain["deadlines"] = attrs.asdict(request.deadlines)
    return plain


def request_from_wire(plain: dict[str, Any]) -> LoadRequest:
    """The load request that `request_to_wire` described."""
    return LoadRequest(
        **{
            **plain,
            "path": Path(plain["path"]),
            "scratch": Path(plain["scratch"]) if plain["scratch"] else None,
            "settings": _unpack(plain["settings"]),
            "info": from_dict(plain["info"]),
            "deadlines": Deadlines(**plain["deadlines"]),
        }
    )


def loaded_to_wire(capabilities: Capabilities, effective: Effective) -> dict[str, Any]:
    """What a worker says of the model it has loaded."""
    return {
        "capabilities": {**attrs.asdict(capabilities), "parameters": sorted(capabilities.parameters)},
        "effective": attrs.asdict(effective),
    }


def loaded_from_wire(plain: dict[str, Any]) -> tuple[Capabilities, Effective]:
    """What `loaded_to_wire` described."""
    capabilities = dict(plain["capabilities"])
    effective = dict(plain["effective"])
    capabilities["parameters"] = frozenset(capabilities["parameters"])
    effective["notes"] = tuple(effective["notes"])
    return Capabilities(**capabilities), Effective(**effective)


def params_to_wire(params: GenerateParams) -> dict[str, Any]:
    """Only what differs from the defaults, to keep requests small."""
    plain = attrs.asdict(params)
    return {name: plain[name] for name, value in _DEFAULT_PARAMS.items() if plain[name] != value}


def params_from_wire(plain: dict[str, Any]) -> GenerateParams:
    """The parameters that `params_to_wire` described."""
    return GenerateParams(**plain)


_DEFAULT_PARAMS = attrs.asdict(GenerateParams())


def check_chunk(chunk: object) -> None:
    """Make sure that an engine's stream holds what the contract says.

    Raises:
        TypeError: It does not.
    """
    if not isinstance(chunk, Chunk):
        msg = f"the engine's stream holds a {type(chunk).__name__} where a Chunk belongs"
        raise TypeError(msg)


def chunk_to_wire(chunk: Chunk) -> Any:
    """A chunk as the shortest thing that says it: most are a bare string."""
    check_chunk(chunk)
    if chunk.finish_reason is None and not chunk.tokens and not chunk.logprobs:
        return chunk.text
    return [
        chunk.text,
        chunk.tokens,
        chunk.finish_reason,
        attrs.asdict(chunk.stats) if chunk.stats else None,
        chunk.logprobs,
    ]


def chunk_from_wire(plain: Any) -> Chunk:
    """The chunk that `chunk_to_wire` described."""
    if isinstance(plain, str):
        return Chunk(plain)
    text, tokens, finish_reason, stats, logprobs = plain
    return Chunk(
        text,
        tuple(tokens),
        finish_reason,
        GenerationStats(**{**stats, "warnings": tuple(stats["warnings"])}) if stats else None,
        tuple(logprobs),
    )


def stats_to_wire(stats: ModelStats) -> dict[str, Any]:
    """Model statistics as plain data."""
    return attrs.asdict(stats)


def stats_from_wire(plain: dict[str, Any]) -> ModelStats:
    """What `stats_to_wire` described."""
    return ModelStats(**plain)


def error_to_wire(error: BaseException, *, backend: str, phase: str) -> dict[str, Any]:
    """Any exception as plain data; one that is not modelplug's own becomes a `BackendError`."""
    if not isinstance(error, errors.ModelplugError):
        error = _foreign(error, backend=backend, phase=phase)
    # A plugin's own subclass arrives as the nearest class that the host is sure to know.
    known = (kind.__name__ for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
    return {"error": next(known), "state": _pack(error.__dict__)}


def error_from_wire(plain: dict[str, Any]) -> errors.ModelplugError:
    """The error that `error_to_wire` described, of the same class where it is one of modelplug's own."""
    kind = getattr(errors, plain["error"], None)
    if not (isinstance(kind, type) and issubclass(kind, errors.ModelplugError)):
        kind = errors.BackendError
    error = kind.__new__(kind)
    error.__dict__.update(_unpack(plain["state"]))
    error.args = (error.what,)
    return error


def _pack(value: Any) -> Any:
    """What JSON can't tell apart or can't hold is written as a one-element object with a `$` name."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [_pack(item) for item in value]
    if isinstance(value, (tuple, set, frozenset)):
        return {"$tuple": [_pack(item) for item in value]}
    if isinstance(value, Path):
        return {"$path": str(value)}
    if isinstance(value, Mapping):
        return {"$map": [[_pack(key), _pack(item)] for key, item in value.items()]}
    return str(value)


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        if kind == "$path":
            return Path(inner)
        if kind == "$tuple":
            return tuple(_unpack(item) for item in inner)
        return {_unpack(key): _unpack(item) for key, item in inner}
    return value


def _foreign(error: BaseException, *, backend: str, phase: str) -> errors.BackendError:
    out_of_memory = (
        isinstance(error, MemoryError)
        or "OutOfMemory" in type(error).__name__
        or "out of memory" in str(error).lower()
    )
    return errors.BackendError(
        f"{backend} failed while it was to {_PHASES.get(phase, phase)}",
        backend=backend,
        phase=phase,
        cause="out-of-memory" if out_of_memory else "exception",
        why=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        advice="Use a smaller --context-size, fewer --gpu-layers or a more strongly quantised model."
        if out_of_memory
        else "Run again with `modelplug --debug` to see the engine's own messages.",
    )


_PHASES = {
    "load": "load the model",
    "generate": "generate",
    "tokenize": "tokenize",
    "embed": "embed",
    "close": "close",
}
