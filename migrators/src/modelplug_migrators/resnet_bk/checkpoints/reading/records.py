"""What a pickle says there is, as inert records."""

from __future__ import annotations

import struct
from typing import Any, Final

import attrs

__all__ = [
    "Array",
    "Call",
    "Device",
    "ForeignObject",
    "Global",
    "NumpyType",
    "Scalar",
    "Size",
    "Storage",
    "Tensor",
]

_NUMBERS: Final = {
    "f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b",
    "u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "?",
}  # fmt: skip


@attrs.frozen
class Global:
    """A class or function that a pickle names.

    Attributes:
        name: Its module and name, joined by a dot.
    """

    name: str


@attrs.frozen(eq=False)
class Storage:
    """The memory of one or more tensors.

    Attributes:
        kind: The class of the storage, for example `FloatStorage`.
        key: Its name in the file.
        elements: Its elements.
        offset: Where it begins within the memory of that name, in elements.
    """

    kind: str
    key: str
    elements: int
    offset: int = 0


@attrs.frozen(eq=False)
class Tensor:
    """A tensor.

    Attributes:
        storage: Its memory.
        offset: Where it begins there, in elements.
        shape: Its dimensions.
        stride: How far apart its elements are in each dimension, in elements.
        dtype: The type of its elements where the storage does not say it, for example `uint16`.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str = ""


@attrs.define(eq=False)
class NumpyType:
    """A type of NumPy's.

    Attributes:
        code: Its code, for example `f8`.
        order: The byte order, `<`, `>`, `=` or `|`.
    """

    code: str
    order: str = "="

    @property
    def text(self) -> str:
        """The type as NumPy spells it, for example `<f8`."""
        return f"{'<' if self.order == '=' else self.order}{self.code}"


@attrs.define(eq=False)
class Array:
    """An array of NumPy's; its values are in the pickle.

    Attributes:
        shape: Its dimensions.
        dtype: The type of its elements; None for an array that was never filled.
        data: Its values.
        is_fortran: Whether the first dimension varies fastest.
    """

    shape: tuple[int, ...] = ()
    dtype: NumpyType | None = None
    data: bytes = attrs.field(default=b"", repr=False)
    is_fortran: bool = False


@attrs.frozen(eq=False)
class Scalar:
    """A number of NumPy's.

    Attributes:
        dtype: Its type.
        data: Its value.
    """

    dtype: NumpyType
    data: bytes

    @property
    def number(self) -> float | bool | None:
        """Its value as a number of Python's; None for a type that Python has not."""
        kind = _NUMBERS.get(self.dtype.code)
        if kind is None or struct.calcsize(f"<{kind}") != len(self.data):
            return None
        order = ">" if self.dtype.order == ">" else "<"
        (found,) = struct.unpack(f"{order}{kind}", self.data)
        return found  # type: ignore[no-any-return]


@attrs.frozen
class Device:
    """A device of torch's.

    Attributes:
        name: Its name, for example `cuda:0`.
    """

    name: str


@attrs.frozen
class Size:
    """A shape of torch's.

    Attributes:
        lengths: Its dimensions.
    """

    lengths: tuple[int, ...]


@attrs.define(eq=False)
class ForeignObject:
    """An object of a class that is not known here, and is never imported.

    Attributes:
        name: Its class.
        arguments: What it was made with.
        state: What it held, as its class put it; None if nothing was said.
        items: The entries of a dict or list that it also is.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] | list[Any] | None = None

    @property
    def fields(self) -> dict[str, Any] | None:
        """What it held by name; None if that can't be told."""
        state = self.state
        if (
            isinstance(state, tuple)
            and len(state) == 2
            and all(isinstance(each, dict | None) for each in state)
        ):
            state = {**(state[0] or {}), **(state[1] or {})}
        if isinstance(state, dict) and all(type(name) is str for name in state):
            return state
        return {} if state is None and self.items is None and not self.arguments else None


@attrs.frozen(eq=False)
class Call:
    """A call that loading the pickle would make, and that is not made here.

    Attributes:
        name: The function or class.
    """

    name: str
