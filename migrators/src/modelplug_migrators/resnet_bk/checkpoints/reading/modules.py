"""Finds the state dict in a module of torch's that was pickled as a whole."""

from __future__ import annotations

from typing import Any

from modelplug_migrators.resnet_bk.checkpoints.reading.records import ForeignObject, Tensor

__all__ = ["is_module", "state_dict_of"]

_PARTS = ("_parameters", "_buffers")
_DEEPEST = 60


def is_module(value: Any) -> bool:
    """Whether something is a module that was pickled."""
    fields = value.fields if isinstance(value, ForeignObject) else None
    return fields is not None and {"_parameters", "_buffers", "_modules"} <= fields.keys()


def state_dict_of(module: ForeignObject) -> dict[str, Tensor]:
    """The tensors of a module by name, as `state_dict` would give them.

    Args:
        module: The module.
    """
    found: dict[str, Tensor] = {}
    _collect(module, "", found, 0)
    return found


def _collect(module: ForeignObject, prefix: str, found: dict[str, Tensor], depth: int) -> None:
    fields = module.fields or {}
    passing = fields.get("_non_persistent_buffers_set")
    passing = passing if isinstance(passing, (set, frozenset)) else frozenset()
    for part in _PARTS:
        for name, value in (fields.get(part) or {}).items():
            if isinstance(value, Tensor) and not (part == "_buffers" and name in passing):
                found[f"{prefix}{name}"] = value
    for name, child in (fields.get("_modules") or {}).items():
        if is_module(child) and depth < _DEEPEST:
            _collect(child, f"{prefix}{name}.", found, depth + 1)
