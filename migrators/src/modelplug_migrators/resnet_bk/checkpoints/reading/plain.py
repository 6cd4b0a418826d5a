"""Turns what was saved into plain values in which every tensor has a name that says where it stands."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.errors import ModelFileError
from modelplug.migration.checkpoints import MadeTensor, TensorData
from modelplug_migrators.resnet_bk.checkpoints.reading.records import (
    Array,
    Call,
    Device,
    ForeignObject,
    Global,
    Scalar,
    Size,
    Storage,
    Tensor,
)
from modelplug_migrators.resnet_bk.checkpoints.reading.stored import gather, row_major, width_of

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.checkpoints.reading.archives import Archive

__all__ = ["NotDataError", "Ref", "plain_value"]

_MOST_VALUES: Final = 5_000_000
_DEEPEST: Final = 60
_NUMPY: Final = {
    "f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8",
    "u8": "U64", "u4": "U32", "u2": "U16", "u1": "U8", "b1": "BOOL", "c8": "C64", "c16": "C128",
}  # fmt: skip


@attrs.frozen(eq=False)
class Ref:
    """A tensor or array at one place of a value.

    Attributes:
        key: Its name in the source, which says where it stands; empty if there is none of that name.
        tensor: It, or what takes its place.
        is_array: Whether it is an array of NumPy's.
        how: How it came of the one in the source, or what it is for; empty if it is that one.
    """

    key: str
    tensor: TensorData
    is_array: bool = False
    how: str = ""


class NotDataError(ModelFileError):
    """A checkpoint holds what is no data."""


class _Converter:
    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.refs: dict[str, Ref] = {}
        self.classes: dict[str, str] = {}
        self.left = _MOST_VALUES

    def refuse(self, place: str, why: str) -> NotDataError:
        return NotDataError(
            f"{self.archive.path.name} holds something that is no data",
            path=self.archive.path,
            offset=0,
            why=f"{place or 'the whole of it'}: {why}",
            advice="Load it with the program that wrote it, if you trust it, and save it without that entry.",
        )

    def convert(self, value: Any, place: str, depth: int = 0) -> Any:
        self.left -= 1
        if self.left < 0 or depth > _DEEPEST:
            raise self.refuse(place, "it is nested too deeply, or refers to itself")
        kind = type(value)
        if kind in (bool, int, float, complex, str, bytes, type(None), Device, Size, Scalar):
            return value
        if kind in (dict, OrderedDict, Counter):
            made: dict[Any, Any] = kind()
            for key, item in value.items():
                made[self.key(key, place)] = self.convert(item, _joined(place, key), depth + 1)
            return made
        if kind in (list, tuple):
            return kind(
                self.convert(item, _joined(place, number), depth + 1) for number, item in enumerate(value)
            )
        if kind in (set, frozenset):
            return kind(self.key(item, place) for item in value)
        return self.other(value, place, depth)

    def key(self, value: Any, place: str) -> Any:
        """A key of a dict, or an item of a set."""
        if isinstance(value, tuple):
            return tuple(self.key(item, place) for item in value)
        if isinstance(value, (bool, int, float, complex, str, bytes, type(None))):
            return value
        raise self.refuse(place, "a key is neither a number nor a text")

    def other(self, value: Any, place: str, depth: int) -> Any:
        if isinstance(value, Tensor):
            try:
                return self.ref(place, self.archive.tensor(value), is_array=False)
            except ValueError as error:
                raise self.refuse(place, str(error)) from error
        if isinstance(value, Array):
            return self.ref(place, self.array(value, place), is_array=True)
        if isinstance(value, ForeignObject):
            return self.foreign(value, place, depth)
        if isinstance(value, bytearray):
            return bytes(value)
        if isinstance(value, Global):
            # A class or function by itself, such as a type of torch's: its name is all there is to say.
            return value
        if isinstance(value, Call):
            raise self.refuse(place, f"loading it would call {value.name}")
        if isinstance(value, Storage):
            raise self.refuse(place, "it is the memory of a tensor, without the tensor")
        raise self.refuse(place, f"it is of the unknown kind {type(value).__name__}")

    def ref(self, place: str, tensor: TensorData, *, is_array: bool) -> Ref:
        name, count = place, 1
        while name in self.refs:  # a key may hold a dot
            count += 1
            name = f"{place}#{count}"
        self.refs[name] = Ref(name, tensor, is_array)
        return self.refs[name]

    def array(self, value: Array, place: str) -> TensorData:
        dtype = _NUMPY.get(value.dtype.code) if value.dtype and value.dtype.order != ">" else None
        if dtype is None:
            raise self.refuse(place, "it is an array of something else than numbers")
        data = value.data
        stride = row_major(value.shape)
        if value.is_fortran:
            stride = row_major(value.shape[::-1])[::-1]
            data = b"".join(gather(data, value.shape, stride, width_of(dtype))) if data else b""
        made = MadeTensor(dtype, value.shape, data)
        if len(data) != width_of(dtype) * _product(value.shape):
            raise self.refuse(place, "it is an array that is larger or smaller than it says")
        return made

    def foreign(self, value: ForeignObject, place: str, depth: int) -> Any:
        """An object of a class that is not known, as its fields, or as the one value it was made of."""
        self.classes[place] = value.name
        fields = value.fields
        if isinstance(value.items, dict) and not fields:
            return self.convert(value.items, place, depth + 1)
        if isinstance(value.items, list) and not fields:
            return self.convert(value.items, place, depth + 1)
        if fields is not None and value.items is None:
            return self.convert(dict(fields), place, depth + 1)
        if len(value.arguments) == 1 and value.state is None and value.items is None:
            return self.convert(value.arguments[0], place, depth + 1)
        raise self.refuse(place, f"it is an object of the class {value.name}, which does not say its fields")


def plain_value(archive: Archive, root: Any, place: str = "") -> tuple[Any, dict[str, Ref], dict[str, str]]:
    """What was saved, as numbers, texts, lists and dicts, and the tensors in it.

    Args:
        archive: The file.
        root: The value, of the file's root or a part of it.
        place: Where it stands, for names.

    Returns:
        The value, in which each tensor is a `Ref`; all of these by name; and place -> class, where an object
        of a foreign class was replaced by its fields.

    Raises:
        NotDataError: Something in it is no data.
    """
    converter = _Converter(archive)
    value = converter.convert(root, place)
    return value, converter.refs, converter.classes


def _joined(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
