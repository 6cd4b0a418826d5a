"""The demo model's GGUF file taken apart, and written again with the same weights in another precision.

Nothing but the standard library is used, so that a plugin's tests can compare engines on identical weights
without a tensor library. It is made for the one file that modelplug bundles (little-endian, Q8_0 and F32).
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PRECISIONS", "DemoGguf", "Tensor", "read_demo_gguf", "write_demo_gguf"]

F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8

PRECISIONS = {"f32": (F32, 0), "f16": (F16, 1), "q8_0": (Q8_0, 7), "q4_0": (Q4_0, 2)}
"""Precision -> the ggml type of its matrices, and its number in `general.file_type`."""

BLOCK = 32
Q8_0_BYTES = 34
ALIGNMENT = 32
SCALARS = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


@attrs.frozen(kw_only=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        name: Its GGUF name.
        shape: Rows first, then the elements of a row; a vector has its length alone.
        values: Its numbers, row by row.
        stored: Its bytes as they are in the file.
        kind: Its ggml type in the file.
    """

    name: str
    shape: tuple[int, ...]
    values: array[float]
    stored: bytes
    kind: int


@attrs.frozen(kw_only=True)
class DemoGguf:
    """The bundled file, read whole.

    Attributes:
        metadata: Key -> value, arrays as lists.
        entries: The bytes of the metadata section, as they are in the file.
        file_type_offset: Where in `entries` the value of `general.file_type` stands.
        tensors: The tensors in the file's order.
    """

    metadata: dict[str, Any]
    entries: bytes
    file_type_offset: int
    tensors: tuple[Tensor, ...]


class _Reader:
    """Reads GGUF values one after another."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def scalar(self, letter: str) -> Any:
        layout = struct.Struct(f"<{letter}")
        (value,) = layout.unpack_from(self.data, self.position)
        self.position += layout.size
        return value

    def text(self) -> str:
        length = self.scalar("Q")
        begin = self.position
        self.position += length
        return self.data[begin : self.position].decode()

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            element = self.scalar("I")
            return [self.value(element) for _ in range(self.scalar("Q"))]
        return self.scalar(SCALARS[kind])


def read_demo_gguf(path: Path) -> DemoGguf:
    """Read the metadata and the dequantised weights of a GGUF file like the bundled one."""
    data = path.read_bytes()
    reader = _Reader(data, 4)
    version, tensor_count, entry_count = (reader.scalar(letter) for letter in "IQQ")
    if data[:4] != b"GGUF" or version != 3:
        raise ValueError(f"{path} is not a little-endian GGUF file of version 3")
    begin = reader.position
    metadata: dict[str, Any] = {}
    file_type_offset = 0
    for _ in range(entry_count):
        key, kind = reader.text(), reader.scalar("I")
        if key == "general.file_type":
            file_type_offset = reader.position - begin
        metadata[key] = reader.value(kind)
    entries = data[begin : reader.position]
    table = [_read_row(reader) for _ in range(tensor_count)]
    start = reader.position + -reader.position % ALIGNMENT
    tensors = tuple(_read_tensor(data, start, *row) for row in table)
    return DemoGguf(metadata=metadata, entries=entries, file_type_offset=file_type_offset, tensors=tensors)


def write_demo_gguf(source: DemoGguf, path: Path, precision: str) -> None:
    """Write the same model with its matrices in another precision; vectors stay as they are.

    Args:
        source: The model.
        path: The file to write.
        precision: `f32`, `f16` (both lossless for the bundled model), `q8_0` (the bundled bytes) or `q4_0`.
    """
    kind, file_type = PRECISIONS[precision]
    entries = bytearray(source.entries)
    struct.pack_into("<I", entries, source.file_type_offset, file_type)
    table, data = bytearray(), bytearray()
    for tensor in source.tensors:
        stored_as = kind if len(tensor.shape) > 1 else tensor.kind
        data += bytes(-len(data) % ALIGNMENT)
        name = tensor.name.encode()
        dimensions = tensor.shape[::-1]
        table += struct.pack("<Q", len(name)) + name
        table += struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, stored_as, len(data))
        data += tensor.stored if stored_as == tensor.kind else _encode(tensor.values, stored_as)
    header = b"GGUF" + struct.pack("<IQQ", 3, len(source.tensors), len(source.metadata)) + entries + table
    path.write_bytes(header + bytes(-len(header) % ALIGNMENT) + data + bytes(-len(data) % ALIGNMENT))


def little_endian_floats(values: array[float]) -> bytes:
    """The bytes of 32-bit floats, least significant first."""
    if sys.byteorder == "big":
        values = array("f", values)
        values.byteswap()
    return values.tobytes()


def _read_row(reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    name = reader.text()
    dimensions = [reader.scalar("Q") for _ in range(reader.scalar("I"))]
    kind, offset = reader.scalar("I"), reader.scalar("Q")
    return name, tuple(dimensions[::-1]), kind, offset


def _read_tensor(
    data: bytes, start: int, name: str, shape: tuple[int, ...], kind: int, offset: int
) -> Tensor:
    count = 1
    for length in shape:
        count *= length
    if kind not in (F32, Q8_0):
        raise ValueError(f"tensor {name} has type {kind}, but only F32 and Q8_0 are read here")
    size = 4 * count if kind == F32 else count // BLOCK * Q8_0_BYTES
    stored = data[start + offset : start + offset + size]
    values = array("f", struct.unpack(f"<{count}f", stored)) if kind == F32 else _dequantize(stored)
    return Tensor(name=name, shape=shape, values=values, stored=stored, kind=kind)


def _dequantize(stored: bytes) -> array[float]:
    values = array("f")
    for scale, *integers in struct.iter_unpack(f"<e{BLOCK}b", stored):
        values.extend([scale * integer for integer in integers])
    return values


def _encode(values: array[float], kind: int) -> bytes:
    if kind == F32:
        return little_endian_floats(values)
    if kind == F16:
        return struct.pack(f"<{len(values)}e", *values)
    return _quantize_q4_0(values)


def _quantize_q4_0(values: array[float]) -> bytes:
    """Blocks of a scale and 32 four-bit numbers, rounded as llama.cpp does with 32-bit arithmetic."""
    scales = [max(values[at : at + BLOCK], key=abs) / -8 for at in range(0, len(values), BLOCK)]
    inverses = array("f", [1 / scale if scale else 0.0 for scale in scales])
    # A product or sum of two 32-bit floats, computed with 64 bits and stored in 32, is rounded once.
    products = array("f", [value * inverses[index // BLOCK] for index, value in enumerate(values)])
    steps = [min(15, int(shifted)) for shifted in array("f", [product + 8.5 for product in products])]
    packed = bytearray()
    for index, scale in enumerate(scales):
        low = steps[index * BLOCK : index * BLOCK + BLOCK // 2]
        high = steps[index * BLOCK + BLOCK // 2 : (index + 1) * BLOCK]
        packed += struct.pack("<e", scale)
        packed += bytes(first | second << 4 for first, second in zip(low, high, strict=True))
    return bytes(packed)
