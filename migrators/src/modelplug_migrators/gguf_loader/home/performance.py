"""What the older programs noted of how models ran, as records for the history."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any

from modelplug.migration.candidates import Candidate
from modelplug_migrators.gguf_loader.engines import engine_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from modelplug_migrators.gguf_loader.home.models import KnownPath, ModelRegistry

__all__ = ["read_cache", "read_meta", "runs_of_cache", "runs_of_meta"]

_COUNTED = "counted in words, not tokens, by the older program"
_ESTIMATED = "estimated by the older program, not measured"
_UNKNOWN_MODEL = "gguf-loader"
_LARGEST = 1e15
_OF_PROFILE = (
    "tokens_per_second",
    "load_time_ms",
    "memory_usage_mb",
    "success_rate",
    "usage_count",
    "last_updated",
    "hardware_config",
)
_OF_META = ("performance_stats", "memory_usage", "hardware_device", "hardware_settings", "context_size")


def read_cache(path: Path, registry: ModelRegistry) -> dict[str, KnownPath]:
    """The models that a performance cache names, by the hash it knows them by; each enters the registry.

    Args:
        path: The cache.
        registry: The models known so far.
    """
    found: dict[str, KnownPath] = {}
    for key, profile in _objects(Candidate(path).mapping.get("model_profiles")):
        known = registry.add(profile.get("model_path"), path.name)
        if known is not None:
            found[key] = known
    return found


def runs_of_cache(path: Path, models: Mapping[str, KnownPath]) -> Iterator[dict[str, Any]]:
    """The runs that a performance cache noted, one per backend and hardware, as the history takes them.

    Args:
        path: The cache.
        models: The models it names, by hash.
    """
    for key, profiles in _objects(Candidate(path).mapping.get("backend_profiles")):
        for _, profile in _objects(profiles):
            backend = profile.get("backend_name")
            if isinstance(backend, str) and backend:
                yield {
                    **_run(models.get(key), key, backend),
                    **_loading(profile.get("load_time_ms"), 1000),
                    **_when(path.stat().st_mtime),
                    **_when(profile.get("last_updated")),
                    "success": _number(profile.get("success_rate")) != 0,
                    "provenance": f"gguf-loader {path.name}, {_COUNTED}",
                    "memory_provenance": _ESTIMATED,
                    **_claims(profile, _OF_PROFILE),
                }


def read_meta(path: Path, registry: ModelRegistry) -> KnownPath | None:
    """The model that a `MODEL.meta.json` describes; it enters the registry.

    Args:
        path: The file.
        registry: The models known so far.
    """
    values = Candidate(path).mapping
    return registry.add(values.get("file_path"), path.name, values.get("name"))


def runs_of_meta(path: Path, model: KnownPath | None) -> Iterator[dict[str, Any]]:
    """The run that a `MODEL.meta.json` noted, if it noted one.

    Args:
        path: The file.
        model: The model it describes.
    """
    values = Candidate(path).mapping
    backend = values.get("current_backend") or values.get("hardware_backend")
    measured = values.get("performance_stats") or _loading(values.get("load_time"), 1)
    if measured and isinstance(backend, str) and backend:
        yield {
            **_run(model, str(values.get("file_hash") or path.name), backend),
            **_loading(values.get("load_time"), 1),
            **_when(path.stat().st_mtime),
            **_when(values.get("last_accessed")),
            "success": True,
            "provenance": f"gguf-loader {path.name}, {_COUNTED}",
            **_claims(values, _OF_META),
        }


def _run(model: KnownPath | None, key: str, backend: str) -> dict[str, Any]:
    """What every record has; a model that can't be looked at goes by the hash it had."""
    run: dict[str, Any] = {"backend": engine_named(backend) or backend}
    if model is not None and model.info is not None and model.info.fingerprint:
        return {"fingerprint": model.info.fingerprint, **run}
    path = {"model_path": str(model.path)} if model is not None else {}
    return {"fingerprint": f"{_UNKNOWN_MODEL}:{key}", **run, **path}


def _claims(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """What the older program said, under names that tell it from what was measured here."""
    return {f"claimed_{name}": values[name] for name in names if values.get(name) not in (None, {}, [])}


def _loading(value: object, divisor: int) -> dict[str, float]:
    seconds = _number(value)
    return {"load_seconds": seconds / divisor} if seconds is not None and seconds > 0 else {}


def _number(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < _LARGEST and math.isfinite(value) else None


def _when(value: object) -> dict[str, str]:
    """When it was, if that can be read: seconds since 1970, or a date as ISO 8601 spells it."""
    seconds = _number(value)
    try:
        if seconds is not None:
            moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
        elif isinstance(value, str):
            moment = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
            # Times without a zone are those of this machine, on which the program ran.
            moment = moment.astimezone(datetime.timezone.utc)
        else:
            return {}
    except (ValueError, OverflowError, OSError):
        return {}
    return {"time": moment.isoformat(timespec="milliseconds")}


def _objects(value: object) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, entry in value.items() if isinstance(value, dict) else ():
        if isinstance(entry, dict):
            yield key, entry
