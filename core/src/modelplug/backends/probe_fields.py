"""What a deep probe may say about its engine, and how that becomes part of the report."""

from __future__ import annotations

from typing import Any

import attrs

from modelplug.backends.types import BackendReport, BackendState

__all__ = ["apply_fields"]

# What a probe may say about its engine, and how each value is read.
_SEQUENCES = ("devices", "formats", "settings")
_SETS = ("architectures", "tensor_types", "capabilities")
_TEXTS = ("engine", "version", "cause", "install", "gpu_offload")


def apply_fields(report: BackendReport, fields: object) -> BackendReport:
    """The report with a probe's fields in it.

    Args:
        report: What the cheap detection said.
        fields: Plain data, as a probe returned it.

    Raises:
        ValueError: A field is unknown or has the wrong type; the message continues "the probe ...".
    """
    if not isinstance(fields, dict):
        msg = f"returned {type(fields).__name__} instead of a mapping"
        raise ValueError(msg)
    changes: dict[str, Any] = {}
    for name, value in fields.items():
        changes[name] = _field(name, value)
    return attrs.evolve(report, **changes)


def _field(name: str, value: object) -> object:
    if name == "state":
        try:
            return BackendState(str(value))
        except ValueError:
            msg = f"returned the unknown state {value!r}"
            raise ValueError(msg) from None
    if name in _TEXTS:
        if isinstance(value, str):
            return value
        msg = f"returned {value!r} for {name!r}, which must be text"
        raise ValueError(msg)
    if name in _SEQUENCES or name in _SETS:
        if value is None and name in {"architectures", "tensor_types"}:
            return None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return frozenset(value) if name in _SETS else tuple(value)
        msg = f"returned {value!r} for {name!r}, which must be a list of texts"
        raise ValueError(msg)
    if name == "dequantises":
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
            return value
        msg = f"returned {value!r} for 'dequantises', which must be a number above 0 or null"
        raise ValueError(msg)
    msg = f"returned the field {name!r}, which it may not change"
    raise ValueError(msg)
