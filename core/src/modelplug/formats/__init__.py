"""What a model file is: inspection without any engine, and how much memory the model needs.

Public names: `inspect` turns a path into a `ModelInfo`; `memory_need` and `fit` say what running it takes and
whether that is there. Everything is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelplug.formats.inspection import inspect
    from modelplug.formats.model_info import LayerSizes, ModelInfo

__all__ = ["LayerSizes", "ModelInfo", "inspect"]

_HOMES = {
    "LayerSizes": "modelplug.formats.model_info",
    "ModelInfo": "modelplug.formats.model_info",
    "inspect": "modelplug.formats.inspection",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
