"""The header of a GGUF file: key/value entries and the tensor table, read without touching the weights."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from modelplug.errors import UnsupportedFormatError
from modelplug.formats.gguf_values import ValueReader, kind_of
from modelplug.formats.not_a_model import refuse_unknown
from modelplug.formats.source import Cursor

if TYPE_CHECKING:
    from modelplug.formats.source import ByteSource

__all__ = ["GGUF_MAGIC", "GgufHeader", "TensorEntry", "read_gguf_header"]

GGUF_MAGIC: Final = b"GGUF"

# No published model comes near these; a file that exceeds them is damaged or hostile.
MAX_ENTRIES: Final = 1 << 14
MAX_TENSORS: Final = 1 << 16
MAX_NAME: Final = 1 << 12
MAX_DIMENSIONS: Final = 4
MAX_ELEMENTS: Final = (1 << 63) - 1
MAX_ALIGNMENT: Final = 1 << 24


class TensorEntry(NamedTuple):
    """One row of the tensor table.

    Attributes:
        name: The tensor's name.
        shape: Its dimensions, fastest-varying first.
        type_number: Its ggml type.
        offset: Bytes from the start of the data section.
        elements: Product of the dimensions.
        at: Where in the file this row stands.
    """

    name: str
    shape: tuple[int, ...]
    type_number: int
    offset: int
    elements: int
    at: int


@attrs.frozen(kw_only=True)
class GgufHeader:
    """What a GGUF file says before its weights.

    Attributes:
        version: 1, 2 or 3.
        big_endian: The byte order of its numbers.
        entries: Key -> scalar value, `GgufArray` or `LongString`.
        places: Key -> where in the file its entry begins.
        tensors: The tensor table, in the file's order.
        alignment: Bytes to which the data of every tensor is aligned.
        data_start: Bytes from the start of the model at which the data section begins.
        end: Bytes of the header, without the padding that follows it.
    """

    version: int
    big_endian: bool
    entries: dict[str, Any]
    places: dict[str, int]
    tensors: tuple[TensorEntry, ...]
    alignment: int
    data_start: int
    end: int


def read_gguf_header(source: ByteSource) -> GgufHeader:
    """Read and check the header of a GGUF file.

    Args:
        source: The model's bytes.

    Returns:
        The header; arrays in it are recorded by type, length and place, and read only on demand.

    Raises:
        ModelFileError: The header is damaged; the error names the offset.
        TruncatedModelError: The file ends within its header.
        UnsupportedFormatError: It is GGUF of a version that is not known here.
        NotAModelError: It is no GGUF at all.
    """
    version, big_endian = _read_version(source)
    cursor = Cursor(source, big_endian=big_endian, position=8)
    wide = version > 1
    tensor_count = _read_count(cursor, wide, "tensors", MAX_TENSORS)
    entry_count = _read_count(cursor, wide, "metadata entries", MAX_ENTRIES)
    values = ValueReader(cursor, wide=wide)
    entries: dict[str, Any] = {}
    places: dict[str, int] = {}
    for _ in range(entry_count):
        at = cursor.position
        key = values.name("the key of a metadata entry", MAX_NAME)
        if key in entries:
            cursor.bad(f"the metadata key {key!r} occurs twice", offset=at)
        places[key] = at
        entries[key] = values.value(key)
    alignment = _alignment(cursor, entries, places.get("general.alignment"))
    tensors = _read_tensors(cursor, values, tensor_count, wide)
    end = cursor.position
    return GgufHeader(
        version=version,
        big_endian=big_endian,
        entries=entries,
        places=places,
        tensors=tensors,
        alignment=alignment,
        data_start=end + -end % alignment,
        end=end,
    )


def _read_version(source: ByteSource) -> tuple[int, bool]:
    cursor = Cursor(source)
    head = source.read_at(0, 4096)
    if not head.startswith(GGUF_MAGIC):  # one shard of several may be a Git LFS pointer or a web page
        refuse_unknown(source.path, head, source.size)
    cursor.position = len(GGUF_MAGIC)
    raw = cursor.take(4)
    little, big = int.from_bytes(raw, "little"), int.from_bytes(raw, "big")
    if 1 <= little <= 3:
        return little, False
    if 1 <= big <= 3:
        return big, True
    version = min(little, big)
    raise UnsupportedFormatError(
        f"{source.path.name} is GGUF of version {version}, which can't be read here",
        path=source.path,
        offset=source.start + 4,
        why="versions 1, 2 and 3 are known",
        advice="Update modelplug, or convert the model to GGUF version 3.",
    )


def _read_count(cursor: Cursor, wide: bool, what: str, most: int) -> int:
    at = cursor.position
    count = cursor.u64() if wide else cursor.u32()
    if count > most:
        cursor.bad(f"it claims {count} {what} (at most {most} are plausible)", offset=at)
    # Not compared with the file's size: a shortfall is found, and named, where the file really ends.
    return count


def _alignment(cursor: Cursor, entries: dict[str, Any], at: int | None) -> int:
    alignment = entries.get("general.alignment", 32)
    if isinstance(alignment, bool) or not isinstance(alignment, int):
        cursor.bad(f"`general.alignment` is {kind_of(alignment)} instead of a whole number", offset=at)
    if not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        cursor.bad(
            f"`general.alignment` is {alignment}, which is not a power of two up to {MAX_ALIGNMENT}",
            offset=at,
        )
    return alignment


def _read_tensors(cursor: Cursor, values: ValueReader, count: int, wide: bool) -> tuple[TensorEntry, ...]:
    # dimensions, type and offset are read at once: models with experts have many thousand tensors
    letter = "Q" if wide else "I"
    layouts = [struct.Struct(f"{cursor.order}{n}{letter}IQ") for n in range(MAX_DIMENSIONS + 1)]
    tensors: list[TensorEntry] = []
    names: set[str] = set()
    for _ in range(count):
        at = cursor.position
        name = values.name("the name of a tensor", MAX_NAME)
        if name in names:
            cursor.bad(f"there are two tensors named {name!r}", offset=at)
        names.add(name)
        dimensions = cursor.u32()
        if dimensions > MAX_DIMENSIONS:
            cursor.bad(f"tensor {name!r} has {dimensions} dimensions (at most {MAX_DIMENSIONS})", offset=at)
        *shape, type_number, offset = cursor.unpack(layouts[dimensions])
        elements = 1
        for length in shape:
            elements *= length
        if elements == 0:
            cursor.bad(f"tensor {name!r} has a dimension of 0", offset=at)
        if elements > MAX_ELEMENTS:
            cursor.bad(f"tensor {name!r} has dimensions {shape}, whose product overflows 63 bits", offset=at)
        tensors.append(TensorEntry(name, tuple(shape), type_number, offset, elements, at))
    return tuple(tensors)
