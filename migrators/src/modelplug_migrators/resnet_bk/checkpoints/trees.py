"""Nested values as the 1.0 format stores them: JSON, in which every tensor is a reference by name."""

from __future__ import annotations

import base64
import math
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final

from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref
from modelplug_migrators.resnet_bk.checkpoints.reading.records import Device, Global, Scalar, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["flatten", "unflatten"]

_TAG: Final = "$"
_PLAIN: Final = (bool, int, str, type(None))


def flatten(value: Any) -> tuple[Any, dict[str, Ref]]:
    """What `json.dump` can write, and the tensors that it refers to by name.

    Args:
        value: A value of numbers, texts, lists, dicts and the like, in which tensors are `Ref`s.
    """
    flattener = _Flattener()
    return flattener.encode(value, ()), flattener.tensors


class _Flattener:
    def __init__(self) -> None:
        self.tensors: dict[str, Ref] = {}

    def encode(self, value: Any, path: tuple[str, ...]) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else _tagged("float", repr(value))
        if kind is list:
            return self.items(value, path)
        if kind is dict:
            if all(type(key) is str for key in value) and _TAG not in value:
                return {key: self.encode(item, (*path, key)) for key, item in value.items()}
            return _tagged("dict", self.pairs(value, path))
        if kind is Ref:
            return {_TAG: "array" if value.is_array else "tensor", "name": self.keep(value, path)}
        return self.other(value, path)

    def items(self, items: Iterable[Any], path: tuple[str, ...]) -> list[Any]:
        return [self.encode(item, (*path, str(number))) for number, item in enumerate(items)]

    def pairs(self, value: Mapping[Any, Any], path: tuple[str, ...]) -> list[Any]:
        return [
            [self.encode(key, (*path, "key")), self.encode(item, (*path, str(key)))]
            for key, item in value.items()
        ]

    def other(self, value: Any, path: tuple[str, ...]) -> Any:
        kind = type(value)
        if kind in (OrderedDict, Counter):
            return _tagged(kind.__name__, self.pairs(value, path))
        if kind in (set, frozenset):
            return _tagged(kind.__name__, self.items(sorted(value, key=repr), path))
        if kind is tuple:
            return _tagged("tuple", self.items(value, path))
        if kind is Size:
            return _tagged("Size", list(value.lengths))
        if kind is bytes:
            return _tagged("bytes", base64.b64encode(value).decode("ascii"))
        if kind is complex:
            return _tagged("complex", self.items([value.real, value.imag], path))
        if kind is Device:
            return _tagged("device", value.name)
        if kind is Scalar:
            return _tagged("scalar", [value.dtype.text, base64.b64encode(value.data).decode("ascii")])
        # A class or a type by its name.
        name = value.name if isinstance(value, Global) else str(value)
        return _tagged("dtype", name[len("torch.") :]) if name.startswith("torch.") else name

    def keep(self, ref: Ref, path: tuple[str, ...]) -> str:
        name = plain = ".".join(path) or "value"
        count = 1
        while name in self.tensors:  # a key may hold a dot
            count += 1
            name = f"{plain}#{count}"
        self.tensors[name] = ref
        return name


def _tagged(kind: str, value: Any) -> dict[str, Any]:
    return {_TAG: kind, "value": value}


def unflatten(tree: Any, tensors: Mapping[str, Ref]) -> Any:
    """The value that `flatten` took apart.

    Args:
        tree: The JSON part.
        tensors: The tensors by name.

    Raises:
        KeyError: A tensor is missing.
        ValueError: The JSON part is none that the 1.0 format has.
    """
    if isinstance(tree, list):
        return [unflatten(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if _TAG not in tree:
        return {key: unflatten(item, tensors) for key, item in tree.items()}
    kind = tree[_TAG]
    if kind in ("tensor", "array"):
        return tensors[tree["name"]]
    restore = _RESTORERS.get(kind)
    if restore is None:
        raise ValueError(f"values of the kind {kind!r} are unknown")
    return restore(unflatten(tree["value"], tensors))


def _scalar(value: list[str]) -> Scalar:
    from modelplug_migrators.resnet_bk.checkpoints.reading.records import NumpyType

    return Scalar(NumpyType(value[0][1:], value[0][0]), base64.b64decode(value[1]))


_RESTORERS: Final[dict[str, Callable[[Any], Any]]] = {
    "float": float,
    "tuple": tuple,
    "Size": lambda lengths: Size(tuple(lengths)),
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "OrderedDict": OrderedDict,
    "Counter": lambda pairs: Counter(dict(pairs)),
    "bytes": base64.b64decode,
    "complex": lambda parts: complex(*parts),
    "dtype": lambda name: Global(f"torch.{name}"),
    "device": Device,
    "scalar": _scalar,
}
