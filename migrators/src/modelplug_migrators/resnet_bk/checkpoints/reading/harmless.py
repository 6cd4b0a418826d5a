"""The classes and functions that checkpoints need, by name, and what each of them makes: data or a record."""

from __future__ import annotations

import datetime
import sys
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final

from modelplug_migrators.resnet_bk.checkpoints.reading.records import (
    Array,
    Device,
    Global,
    NumpyType,
    Scalar,
    Size,
    Storage,
    Tensor,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BUILDERS", "CALLED_ON_STATE", "is_project", "torch_type"]

_LIBRARIES: Final = frozenset({"torch", "numpy", "transformers", "__builtin__", "copy_reg"})
_TORCH_TYPES: Final = frozenset(
    {
        "float64", "double", "float32", "float", "float16", "half", "bfloat16", "int64", "long", "int32",
        "int", "int16", "short", "int8", "uint8", "uint16", "uint32", "uint64", "bool", "complex64",
        "cfloat", "complex128", "cdouble", "float8_e4m3fn", "float8_e5m2",
    }
)  # fmt: skip
_MOST_DIMENSIONS: Final = 64
_MOMENT: Final = 10


def is_project(name: str) -> bool:
    """Whether a name is that of a class of somebody's own: not of the standard library, torch or NumPy.

    Objects of such classes are recovered as their fields. A function, or a class of a library that is not
    known to be harmless, is a call to refuse.

    Args:
        name: Module and name.
    """
    top, last = name.partition(".")[0], name.rpartition(".")[2]
    known = top in _LIBRARIES or (top in sys.stdlib_module_names and top != "__main__")
    return not known and last[:1].isupper()


def torch_type(value: Any) -> str:
    """The name of a torch type that a pickle names; empty if it is none."""
    name = value.name.partition(".")[2] if isinstance(value, Global) else ""
    return (
        name if isinstance(value, Global) and value.name.startswith("torch.") and name in _TORCH_TYPES else ""
    )


def _whole_numbers(value: Any) -> tuple[int, ...]:
    value = value.lengths if isinstance(value, Size) else value
    if not isinstance(value, (tuple, list)) or len(value) > _MOST_DIMENSIONS:
        raise ValueError("a shape is no tuple")
    if not all(type(length) is int and 0 <= length < 1 << 62 for length in value):
        raise ValueError("a shape has a length that is none")
    return tuple(value)


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, stride = arguments[:4]
    if not isinstance(storage, Storage) or type(offset) is not int or offset < 0:
        raise ValueError("a tensor has no memory")
    lengths, steps = _whole_numbers(shape), _whole_numbers(stride)
    if len(lengths) != len(steps):
        raise ValueError("a tensor has another number of strides than of dimensions")
    # The form of newer types says them after `requires_grad` and the hooks.
    dtype = torch_type(arguments[6]) if len(arguments) > 6 else ""
    return Tensor(storage, offset, lengths, steps, dtype)


def _of_type(arguments: tuple[Any, ...]) -> Any:
    function, _, inner = arguments[:3]
    if not isinstance(function, Global) or function.name not in BUILDERS or not isinstance(inner, tuple):
        raise ValueError("a tensor of a class of its own is made in an unknown way")
    return BUILDERS[function.name](inner)


def _parameter(arguments: tuple[Any, ...]) -> Tensor:
    if not isinstance(arguments[0], Tensor):
        raise ValueError("a parameter is no tensor")
    return arguments[0]


def _device(arguments: tuple[Any, ...]) -> Device:
    return Device(":".join(str(part) for part in arguments))


def _encode(arguments: tuple[Any, ...]) -> bytes:
    text, encoding = (*arguments, "latin1")[:2]
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes are written in an unknown way")
    return text.encode("latin-1")


def _numpy_type(arguments: tuple[Any, ...]) -> NumpyType:
    if not isinstance(arguments[0], str):
        raise ValueError("a type of NumPy's has no name")
    return NumpyType(arguments[0])


def _set_numpy_type(target: NumpyType, state: Any) -> None:
    target.order = state[1]


def _set_array(target: Array, state: Any) -> None:
    _, shape, dtype, is_fortran, data = state[-5:] if len(state) == 5 else (1, *state)
    if not isinstance(dtype, NumpyType) or not isinstance(data, (bytes, bytearray, str)):
        raise ValueError("an array holds something else than numbers")
    target.shape = _whole_numbers(shape)
    target.dtype = dtype
    target.is_fortran = bool(is_fortran)
    target.data = data.encode("latin-1") if isinstance(data, str) else bytes(data)


def _from_buffer(arguments: tuple[Any, ...]) -> Array:
    data, dtype, shape, order = arguments
    made = Array()
    _set_array(made, (shape, dtype, order == "F", data))
    return made


def _scalar(arguments: tuple[Any, ...]) -> Scalar:
    dtype, data = arguments
    if not isinstance(dtype, NumpyType):
        raise ValueError("a number of NumPy's has no type")
    return Scalar(dtype, data.encode("latin-1") if isinstance(data, str) else bytes(data))


def _items(arguments: tuple[Any, ...]) -> list[Any]:
    return list(arguments[0]) if arguments else []


def _bytes(arguments: tuple[Any, ...]) -> bytes:
    # A number would ask for so much memory.
    return arguments[0] if arguments and isinstance(arguments[0], bytes) else _encode(arguments or ("",))


def _path(arguments: tuple[Any, ...]) -> str:
    parts = [part for part in arguments if isinstance(part, str)]
    return "/".join(parts).replace("//", "/", 1) if parts else "."


def _moment(arguments: tuple[Any, ...]) -> str:
    """A time, as text: its parts stand in ten bytes."""
    data = arguments[0] if arguments else b""
    data = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(data, bytes) or len(data) != _MOMENT:
        raise ValueError("a time is written in an unknown way")
    year, fraction = int.from_bytes(data[:2], "big"), int.from_bytes(data[7:], "big")
    month, day, hour, minute, second = data[2:7]
    # The highest bit of the month says which of two equal times it is when clocks are put back.
    moment = datetime.datetime(year, month & 0x7F, day, hour, minute, second, fraction)  # noqa: DTZ001
    return moment.isoformat()


BUILDERS: Final[dict[str, Callable[[tuple[Any, ...]], Any]]] = {
    "collections.OrderedDict": lambda arguments: OrderedDict(_items(arguments)),
    "collections.defaultdict": lambda arguments: dict(arguments[1] if len(arguments) > 1 else ()),
    "collections.Counter": lambda arguments: Counter(dict(arguments[0] if arguments else ())),
    "collections.deque": _items,
    "datetime.datetime": _moment,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.Size": lambda arguments: Size(_whole_numbers(arguments[0] if arguments else ())),
    "torch.device": _device,
    "torch.serialization._get_layout": lambda arguments: str(arguments[0]),
    "_codecs.encode": _encode,
    **{
        f"numpy.{core}.{name}": builder
        for core in ("core", "_core")
        for name, builder in (
            ("multiarray._reconstruct", lambda _: Array()),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _from_buffer),
        )
    },
    "numpy.dtype": _numpy_type,
    **{
        f"{module}.{name}": builder
        for module in ("builtins", "__builtin__")
        for name, builder in (
            ("set", lambda arguments: set(_items(arguments))),
            ("frozenset", lambda arguments: frozenset(_items(arguments))),
            ("list", _items),
            ("tuple", lambda arguments: tuple(_items(arguments))),
            ("dict", lambda arguments: dict(_items(arguments))),
            ("complex", lambda arguments: complex(*arguments)),
            ("bytearray", _bytes),
        )
    },
    **{
        f"pathlib.{name}": _path
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath", "Path", "PurePath")
    },
    **{
        f"pathlib._local.{name}": _path
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath", "Path", "PurePath")
    },
}
"""What a call of each function, or an object of each class, becomes."""

CALLED_ON_STATE: Final[dict[type, Callable[[Any, Any], None]]] = {
    Array: _set_array,
    NumpyType: _set_numpy_type,
}
"""How records take what a pickle says of them after they were made."""
