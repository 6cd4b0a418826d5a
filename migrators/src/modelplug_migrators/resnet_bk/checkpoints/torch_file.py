"""Writes files that `torch.load` reads, without torch: zip archives with a pickle of data, and tensors."""

from __future__ import annotations

import struct
import zlib
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.migration.checkpoints import NewFile
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref
from modelplug_migrators.resnet_bk.checkpoints.reading.records import Device, Global, Scalar, Size
from modelplug_migrators.resnet_bk.checkpoints.reading.stored import STORAGE_TYPES, row_major

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.migration.checkpoints.build import Sink

__all__ = ["UnwritableError", "torch_file"]

_STORAGES: Final = {dtype: kind for kind, dtype in STORAGE_TYPES.items() if kind != "UntypedStorage"}
_ALIGNMENT: Final = 64
_FLAGS: Final = 0x0808  # names are UTF-8, and sizes stand behind the content
_DATE: Final = 0x21  # 1 January 1980, the first day that the format knows
_WIDE: Final = 0xFFFFFFFF
_VERSION: Final = 45


class UnwritableError(ValueError):
    """A value can't stand in a file of torch's that is loaded as data."""


def torch_file(name: str, root: Any) -> NewFile:
    """A file to write.

    Args:
        name: Its name.
        root: What it holds: plain values, in which tensors are `Ref`s with their names in the account.

    Raises:
        UnwritableError: Something in it is of another kind.
    """
    pickler = _Pickler()
    data = pickler.dump(root)
    top = name.rpartition(".")[0] or name
    members: list[_Member] = [
        _Member(f"{top}/data.pkl", data),
        _Member(f"{top}/byteorder", b"little"),
        *(_Member(f"{top}/data/{number}", ref) for number, ref in enumerate(pickler.refs)),
        _Member(f"{top}/version", b"3\n"),
    ]

    def write(sink: Sink) -> None:
        _write_zip(sink, members)

    return NewFile(name=name, size=sum(member.size + 2 * _ALIGNMENT for member in members), write=write)


# The pickle -----------------------------------------------------------------------------------------------


class _Pickler:
    """Writes a pickle of protocol 2, which every torch reads."""

    def __init__(self) -> None:
        self.refs: list[Ref] = []
        self._parts: list[bytes] = []

    def dump(self, value: Any) -> bytes:
        """The pickle of a value."""
        self._parts = [b"\x80\x02"]
        self._save(value)
        return b"".join((*self._parts, b"."))

    def _put(self, *parts: bytes) -> None:
        self._parts += parts

    def _save(self, value: Any) -> None:
        kind = type(value)
        if value is None or kind is bool:
            self._put(b"N" if value is None else b"\x88" if value else b"\x89")
        elif kind is int:
            self._put(_int(value))
        elif kind is float:
            self._put(b"G", struct.pack(">d", value))
        elif kind is str:
            data = value.encode("utf-8", "surrogatepass")
            self._put(b"X", struct.pack("<I", len(data)), data)
        elif kind is tuple:
            self._put(b"(")
            for item in value:
                self._save(item)
            self._put(b"t")
        elif kind is list:
            self._put(b"](")
            for item in value:
                self._save(item)
            self._put(b"e")
        elif kind in (dict, OrderedDict):
            self._dict(value)
        elif kind is Ref:
            self._tensor(value)
        else:
            self._other(value)

    def _dict(self, value: dict[Any, Any]) -> None:
        self._put(b"ccollections\nOrderedDict\n)R(" if isinstance(value, OrderedDict) else b"}(")
        for key, item in value.items():
            self._save(key)
            self._save(item)
        self._put(b"u")

    def _tensor(self, ref: Ref) -> None:
        tensor = ref.tensor
        storage = _STORAGES.get(tensor.dtype)
        if ref.is_array:
            raise UnwritableError(f"{ref.key} is an array of NumPy's, which torch does not load as data")
        if storage is None:
            raise UnwritableError(
                f"{ref.key} is of the type {tensor.dtype}, which torch before 2.3 did not write"
            )
        elements = 1
        for length in tensor.shape:
            elements *= length
        self._put(b"ctorch._utils\n_rebuild_tensor_v2\n((")
        self._save("storage")
        self._put(b"ctorch\n", storage.encode(), b"\n")
        self._save(str(len(self.refs)))
        self._save("cpu")
        self._put(_int(elements), b"tQK\x00")
        self._save(tensor.shape)
        self._save(row_major(tensor.shape))
        self._put(b"\x89ccollections\nOrderedDict\n)RtR")
        self.refs.append(ref)

    def _other(self, value: Any) -> None:
        if isinstance(value, Size):
            self._save(value.lengths)
        elif isinstance(value, Device):
            self._save(value.name)
        elif isinstance(value, Scalar) and value.number is not None:
            self._save(value.number)
        elif isinstance(value, Counter):
            self._save(dict(value))
        elif isinstance(value, Global) and value.name.startswith("torch."):
            module, _, name = value.name.rpartition(".")
            self._put(b"c", module.encode(), b"\n", name.encode(), b"\n")
        else:
            raise UnwritableError(f"a {type(value).__name__} in it can't be written as data")


def _int(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return b"K" + struct.pack("<B", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    if len(data) > 255:
        raise UnwritableError("a number in it is too large")
    return b"\x8a" + struct.pack("<B", len(data)) + data


# The archive ----------------------------------------------------------------------------------------------


@attrs.frozen
class _Member:
    """One file of the archive.

    Attributes:
        name: Its name.
        content: Its bytes, or the tensor whose values they are.
    """

    name: str
    content: bytes | Ref

    @property
    def size(self) -> int:
        """Bytes of its content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.tensor.size


def _write_zip(sink: Sink, members: Iterable[_Member]) -> None:
    """Write all members as they are, then the directory; checksums stand behind what they are of."""
    position = 0
    entries: list[bytes] = []
    for member in members:
        name = member.name.encode()
        header = struct.pack("<4s5H3L", b"PK\x03\x04", _VERSION, _FLAGS, 0, 0, _DATE, 0, _WIDE, _WIDE)
        wide = struct.pack("<2H2Q", 1, 16, 0, 0)
        used = position + len(header) + 4 + len(name) + len(wide) + 4
        padding = -used % _ALIGNMENT
        extra = wide + struct.pack("<2H", 0x4246, padding) + b"Z" * padding
        beginning = header + struct.pack("<2H", len(name), len(extra)) + name + extra
        sink.write(beginning)
        checksum = _write_content(sink, member)
        size = member.size
        descriptor = struct.pack("<4sL2Q", b"PK\x07\x08", checksum, size, size)
        sink.write(descriptor)
        entries.append(_entry(name, checksum, size, position))
        position += len(beginning) + size + len(descriptor)
    directory = b"".join(entries)
    sink.write(directory + _end(len(entries), len(directory), position))


def _write_content(sink: Sink, member: _Member) -> int:
    """Write the bytes of a member; gives their checksum."""
    if isinstance(member.content, bytes):
        sink.write(member.content)
        return zlib.crc32(member.content)
    checksum = 0

    def watch(chunk: bytes) -> None:
        nonlocal checksum
        checksum = zlib.crc32(chunk, checksum)

    sink.tensor(member.content.key, member.content.tensor, watch)
    return checksum


def _entry(name: bytes, checksum: int, size: int, position: int) -> bytes:
    wide = struct.pack("<2H3Q", 1, 24, size, size, position)
    fixed = struct.pack(
        "<4s6H3L5H2L",
        b"PK\x01\x02", _VERSION, _VERSION, _FLAGS, 0, 0, _DATE, checksum, _WIDE, _WIDE, len(name), len(wide),
        0, 0, 0, 0, _WIDE,
    )  # fmt: skip
    return fixed + name + wide


def _end(count: int, size: int, position: int) -> bytes:
    wide = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, _VERSION, _VERSION, 0, 0, count, count, size, position
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, position + size, 1)
    few = min(count, 0xFFFF)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, few, few, min(size, _WIDE), _WIDE, 0)
    return wide + locator + end
