"""Tensors in a file, whose values are read a piece at a time."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Final, Literal

import attrs

from modelplug.errors import ModelFileError
from modelplug.formats.safetensors import DTYPE_BITS
from modelplug.formats.source import ByteSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelplug_migrators.resnet_bk.checkpoints.reading.records import Tensor

__all__ = [
    "ELEMENT_TYPES",
    "STORAGE_TYPES",
    "StoredTensor",
    "gather",
    "row_major",
    "stored_tensor",
    "width_of",
]

# What fits into the cache of a core is written twice as fast as a megabyte.
CHUNK: Final = 1 << 18
# Expanded tensors can claim any size; no checkpoint has one that is so much larger than its memory.
_MOST_EXPANDED: Final = 1 << 30

ELEMENT_TYPES: Final[dict[str, str]] = {
    "float64": "F64", "double": "F64", "float32": "F32", "float": "F32", "float16": "F16", "half": "F16",
    "bfloat16": "BF16", "int64": "I64", "long": "I64", "int32": "I32", "int": "I32", "int16": "I16",
    "short": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "bool": "BOOL", "complex64": "C64", "cfloat": "C64", "complex128": "C128", "cdouble": "C128",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
"""Name of a torch type -> its name in safetensors files, or `C128`, which these don't know."""

STORAGE_TYPES: Final[dict[str, str]] = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128",
    "UntypedStorage": "U8",
}  # fmt: skip
"""Class of a storage -> the type of its elements."""

_GATHERING: Final = threading.Lock()
_UNITS: Final[dict[int, Literal["B", "H", "I", "Q"]]] = {1: "B", 2: "H", 4: "I", 8: "Q", 16: "Q"}


def width_of(dtype: str) -> int:
    """Bytes of one element."""
    return 16 if dtype == "C128" else DTYPE_BITS[dtype] // 8


@attrs.frozen(kw_only=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        path: The file.
        start: Where its memory begins in the file.
        offset: Where it begins in its memory, in elements.
        dtype: The type of its elements.
        shape: Its dimensions.
        stride: How far apart its elements are in each dimension, in elements.
    """

    path: Path
    start: int
    offset: int = 0
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes that its values take."""
        return math.prod(self.shape) * width_of(self.dtype)

    @property
    def identity(self) -> object:
        """What two tensors have in common that are one and the same memory seen in the same way."""
        return (self.path, self.start, self.offset, self.dtype, self.shape, self.stride)

    @property
    def span(self) -> int:
        """Elements from the first one to behind the last one, in its memory."""
        if 0 in self.shape:
            return 0
        return 1 + sum((length - 1) * step for length, step in zip(self.shape, self.stride, strict=True))

    @property
    def place(self) -> tuple[Path, int] | None:
        """Where its values stand, if they do so without gaps and in order."""
        return (self.path, self._begin) if self._is_contiguous() else None

    @property
    def _begin(self) -> int:
        return self.start + self.offset * width_of(self.dtype)

    def chunks(self) -> Iterator[bytes]:
        """Its values in order, a piece at a time."""
        if 0 in self.shape:
            return
        width = width_of(self.dtype)
        with ByteSource(self.path) as source:
            if self._is_contiguous():
                for position in range(0, self.size, CHUNK):
                    yield self._read(source, self._begin + position, min(CHUNK, self.size - position))
            else:
                yield from gather(
                    self._read(source, self._begin, self.span * width), self.shape, self.stride, width
                )

    def _read(self, source: ByteSource, position: int, count: int) -> bytes:
        data = source.read_at(position, count)
        if len(data) < count:
            raise ModelFileError(
                f"{self.path.name} ends early",
                path=self.path,
                offset=position,
                why=f"{count} bytes of a tensor should be at offset {position}, and {len(data)} are",
                advice="Copy the file again.",
            )
        return data

    def _is_contiguous(self) -> bool:
        expected = 1
        for length, step in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if length != 1:
                if step != expected:
                    return False
                expected *= length
        return True


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor whose last dimension varies fastest, without gaps."""
    return tuple(math.prod(shape[number + 1 :]) for number in range(len(shape)))


def gather(memory: bytes, shape: tuple[int, ...], stride: tuple[int, ...], width: int) -> Iterator[bytes]:
    """The values of a tensor that is a view, such as a transposed one, in order.

    Args:
        memory: The memory, from the tensor's first element on.
        shape: Its dimensions, none of them 0.
        stride: How far apart its elements are in each dimension, in elements.
        width: Bytes of an element.
    """
    units = memoryview(memory).cast(_UNITS[width])
    parts = max(1, width // 8)
    *outer, length = shape or (1,)
    *steps, step = stride or (1,)
    rows = bytearray()
    for position in _positions(tuple(outer), tuple(steps)):
        row = memoryview(bytearray(length * width)).cast(_UNITS[width])
        for part in range(parts):
            first = position * parts + part
            if step:
                row[part::parts] = units[first : first + (length - 1) * step * parts + 1 : step * parts]
            else:
                row[part::parts] = memoryview(bytes(units[first : first + 1]) * length).cast(_UNITS[width])
        rows += row
        if len(rows) >= CHUNK:
            yield bytes(rows)
            rows.clear()
    yield bytes(rows)


def _positions(shape: tuple[int, ...], stride: tuple[int, ...]) -> Iterator[int]:
    """Where the rows of a tensor begin in its memory, in order."""
    if not shape:
        yield 0
        return
    for number in range(shape[0]):
        for inner in _positions(shape[1:], stride[1:]):
            yield number * stride[0] + inner


def stored_tensor(path: Path, record: Tensor, start: int, available: int) -> StoredTensor:
    """The tensor that a record describes.

    Args:
        path: The file that holds its memory.
        record: The record.
        start: Where the memory begins in the file.
        available: The bytes of the memory.

    Raises:
        ValueError: It is of an unknown type, or not all of it lies in its memory.
    """
    dtype = (
        ELEMENT_TYPES.get(record.dtype, "") if record.dtype else STORAGE_TYPES.get(record.storage.kind, "")
    )
    if not dtype:
        raise ValueError(f"its elements are of the unknown type {record.dtype or record.storage.kind}")
    tensor = StoredTensor(
        path=path,
        start=start,
        offset=record.storage.offset + record.offset,
        dtype=dtype,
        shape=record.shape,
        stride=record.stride,
    )
    if tensor.size and (tensor.offset + tensor.span) * width_of(dtype) > available:
        raise ValueError("it reaches beyond the memory it is in")
    if tensor.size > max(available, _MOST_EXPANDED):
        raise ValueError(f"it claims {tensor.size} bytes, and has {available}")
    return tensor
