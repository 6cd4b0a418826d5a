"""What a model file is: inspection without any engine, and how much memory the model needs.

Public names: `inspect` turns a path into a `ModelInfo`; `memory_need` and `fit` say what running it takes and
whether that is there; `to_dict` and `from_dict` carry a `ModelInfo` through JSON. Everything is imported
when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelplug.formats.inspection import inspect
    from modelplug.formats.memory import MemoryNeed, memory_need, offloadable_layers
    from modelplug.formats.memory_fit import FitVerdict, fit
    from modelplug.formats.model_info import LayerSizes, ModelInfo
    from modelplug.formats.serialize import from_dict, to_dict

__all__ = [
    "FitVerdict",
    "LayerSizes",
    "MemoryNeed",
    "ModelInfo",
    "fit",
    "from_dict",
    "inspect",
    "memory_need",
    "offloadable_layers",
    "to_dict",
]

_HOMES = {
    "FitVerdict": "memory_fit",
    "LayerSizes": "model_info",
    "MemoryNeed": "memory",
    "ModelInfo": "model_info",
    "fit": "memory_fit",
    "from_dict": "serialize",
    "inspect": "inspection",
    "memory_need": "memory",
    "offloadable_layers": "memory",
    "to_dict": "serialize",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    value = getattr(import_module(f"modelplug.formats.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
