"""Nested Python values with tensors in them, as JSON and a flat table of tensors; exact both ways."""

from __future__ import annotations

import base64
import math
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, NoReturn

import numpy
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["UnsupportedValueError", "flatten", "unflatten"]

_TAG = "$"
_MAX_DEPTH = 100
_PLAIN = (bool, int, str, type(None))


class UnsupportedValueError(TypeError):
    """A value is neither data nor a tensor, such as a function or an object of some class.

    Attributes:
        place: The way to it, joined by dots.
    """

    def __init__(self, reason: str, place: str) -> None:
        self.place = place
        super().__init__(f"{place or 'the value'}: {reason}")


def flatten(value: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """What `json.dump` can write, and the tensors that it refers to by name.

    Supported are None, bool, int, float (NaN and infinities too), complex, str, bytes, list, tuple, set,
    frozenset, dict with keys of any of these, OrderedDict, Counter, tensors, NumPy arrays and scalars, and
    torch's dtypes, devices and sizes. Types are kept: 1, 1.0 and True come back as they were. A tensor is
    stored by value; views and shared memory become separate tensors.

    Args:
        value: The value.

    Raises:
        UnsupportedValueError: Something in it is of another type, or it is nested too deeply.
    """
    flattener = _Flattener()
    return flattener.encode(value, ()), flattener.tensors


def unflatten(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The value that `flatten` took apart.

    Args:
        tree: The JSON part.
        tensors: The tensors by name.

    Raises:
        KeyError: A tensor is missing.
        ValueError: The JSON part was not written by `flatten`.
    """
    if isinstance(tree, list):
        return [unflatten(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if _TAG not in tree:
        return {key: unflatten(item, tensors) for key, item in tree.items()}
    kind = tree[_TAG]
    if kind == "tensor":
        return tensors[tree["name"]]
    if kind == "array":
        return tensors[tree["name"]].numpy()
    restore = _RESTORERS.get(kind)
    if restore is None:
        reason = f"values of the kind {kind!r} are unknown"
        raise ValueError(reason)
    return restore(unflatten(tree["value"], tensors))


class _Flattener:
    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}

    def encode(self, value: Any, path: tuple[str, ...]) -> Any:
        if len(path) > _MAX_DEPTH:
            self.refuse("it is nested too deeply, or contains itself", path[:4])
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else _tagged("float", repr(value))
        if kind is list:
            return self.encode_items(value, path)
        if kind is dict:
            return self.encode_dict(value, path)
        if isinstance(value, torch.Tensor):
            return {_TAG: "tensor", "name": self.keep(value.detach(), path)}
        if isinstance(value, numpy.ndarray):
            return {_TAG: "array", "name": self.keep(self.from_numpy(value, path), path)}
        return self.encode_other(value, path)

    def encode_items(self, items: Iterable[Any], path: tuple[str, ...]) -> list[Any]:
        return [self.encode(item, (*path, str(number))) for number, item in enumerate(items)]

    def encode_dict(self, value: dict[Any, Any], path: tuple[str, ...]) -> Any:
        if all(type(key) is str for key in value) and _TAG not in value:
            return {key: self.encode(item, (*path, key)) for key, item in value.items()}
        return _tagged("dict", self.pairs(value, path))

    def pairs(self, value: Mapping[Any, Any], path: tuple[str, ...]) -> list[Any]:
        return [
            [self.encode(key, (*path, "key")), self.encode(item, (*path, str(key)))]
            for key, item in value.items()
        ]

    def encode_other(self, value: Any, path: tuple[str, ...]) -> Any:
        kind = type(value)
        if kind in (OrderedDict, Counter):
            return _tagged(kind.__name__, self.pairs(value, path))
        if kind in (tuple, torch.Size):
            return _tagged(kind.__name__, self.encode_items(value, path))
        if kind in (set, frozenset):
            return _tagged(kind.__name__, self.encode_items(sorted(value, key=repr), path))
        if kind is bytes:
            return _tagged("bytes", base64.b64encode(value).decode("ascii"))
        if kind is complex:
            return _tagged("complex", self.encode_items([value.real, value.imag], path))
        if kind is torch.dtype:
            return _tagged("dtype", str(value).removeprefix("torch."))
        if kind is torch.device:
            return _tagged("device", str(value))
        if isinstance(value, numpy.generic) and value.dtype.kind in "biufc":
            return _tagged("scalar", [value.dtype.str, base64.b64encode(value.tobytes()).decode("ascii")])
        return self.refuse(f"a value of the type {kind.__module__}.{kind.__qualname__} is no data", path)

    def from_numpy(self, value: numpy.ndarray[Any, Any], path: tuple[str, ...]) -> torch.Tensor:
        try:
            return torch.from_numpy(numpy.array(value, copy=True))
        except (TypeError, ValueError):
            return self.refuse(f"an array of {value.dtype} has no counterpart among tensors", path)

    def keep(self, tensor: torch.Tensor, path: tuple[str, ...]) -> str:
        if tensor.layout is not torch.strided or tensor.is_quantized:
            self.refuse("a sparse or quantised tensor can't be stored", path)
        name = plain = ".".join(path) or "value"
        count = 1
        while name in self.tensors:  # a key may hold a dot
            count += 1
            name = f"{plain}#{count}"
        self.tensors[name] = tensor
        return name

    def refuse(self, reason: str, path: tuple[str, ...]) -> NoReturn:
        raise UnsupportedValueError(reason, ".".join(path))


def _tagged(kind: str, value: Any) -> dict[str, Any]:
    return {_TAG: kind, "value": value}


def _restore_scalar(value: list[str]) -> Any:
    return numpy.frombuffer(base64.b64decode(value[1]), dtype=value[0])[0]


def _restore_dtype(value: str) -> torch.dtype:
    found = getattr(torch, value, None)
    if not isinstance(found, torch.dtype):
        reason = f"torch has no type {value!r}"
        raise ValueError(reason)
    return found


_RESTORERS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "tuple": tuple,
    "Size": torch.Size,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "OrderedDict": OrderedDict,
    "Counter": lambda pairs: Counter(dict(pairs)),
    "bytes": base64.b64decode,
    "complex": lambda parts: complex(*parts),
    "dtype": _restore_dtype,
    "device": torch.device,
    "scalar": _restore_scalar,
}
