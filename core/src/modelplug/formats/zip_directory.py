"""The directory of a zip archive, wherever the archive begins in its file, read within bounds.

The standard library's reader loads a directory of any claimed size and knows nothing of where a stored
member's bytes begin, which is what matters for a model inside an executable.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

import attrs

from modelplug.errors import ModelFileError, TruncatedModelError

if TYPE_CHECKING:
    from typing import NoReturn

    from modelplug.formats.source import ByteSource

__all__ = ["ZipMember", "member_bytes", "member_start", "read_zip_directory"]

STORED: Final = 0
DEFLATED: Final = 8

_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64: Final = struct.Struct("<4sLQL")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_MAX_COMMENT: Final = 65535
_MAX_DIRECTORY: Final = 8 << 20
_MAX_MEMBERS: Final = 1 << 16
_MISSING32: Final = 0xFFFFFFFF


@attrs.frozen(kw_only=True)
class ZipMember:
    """One file in the archive.

    Attributes:
        name: Its path within the archive.
        method: 0 for stored as it is, 8 for deflated.
        size: Bytes when unpacked.
        packed_size: Bytes in the archive.
        header_offset: Where its local header begins in the file.
        encrypted: Whether a password is needed.
    """

    name: str
    method: int
    size: int
    packed_size: int
    header_offset: int
    encrypted: bool


def read_zip_directory(source: ByteSource) -> list[ZipMember] | None:
    """List the members of the zip archive that ends where the file ends.

    Args:
        source: The file.

    Returns:
        The members in the directory's order; None if there is no archive (or its end is cut off).

    Raises:
        ModelFileError: The directory is damaged.
    """
    tail_start = max(0, source.size - _END.size - _MAX_COMMENT)
    tail = source.read_at(tail_start, source.size - tail_start)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + _END.size > len(tail):
        return None
    end_at = tail_start + found
    _, _, _, _, count, size, offset, _ = _END.unpack_from(tail, found)
    directory_end = end_at
    locator = source.read_at(end_at - _LOCATOR64.size, _LOCATOR64.size) if end_at >= _LOCATOR64.size else b""
    if locator.startswith(b"PK\x06\x07"):
        directory_end, count, size, offset = _read_zip64_end(source, end_at)
    if size > min(_MAX_DIRECTORY, directory_end) or count > _MAX_MEMBERS:
        _bad(source, f"its zip directory claims {count} members in {size} bytes", end_at)
    # An archive appended to something else keeps offsets from its own beginning; the difference shows here.
    directory_at = directory_end - size
    shift = directory_at - offset
    if shift < 0:
        _bad(source, "its zip directory lies outside the file", end_at)
    return _parse_directory(source, source.read_at(directory_at, size), count, directory_at, shift)


def _read_zip64_end(source: ByteSource, end_at: int) -> tuple[int, int, int, int]:
    # the record is looked for where it belongs, before its locator, for its stated offset may be shifted
    at = end_at - _LOCATOR64.size - _END64.size
    record = source.read_at(at, _END64.size) if at >= 0 else b""
    if not record.startswith(b"PK\x06\x06"):
        _bad(source, "its zip64 directory can't be found", max(at, 0))
    *_, count, size, offset = _END64.unpack(record)
    return at, count, size, offset


def _parse_directory(
    source: ByteSource, data: bytes, count: int, directory_at: int, shift: int
) -> list[ZipMember]:
    members = []
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(data) or data[at : at + 4] != b"PK\x01\x02":
            _bad(source, "an entry of its zip directory is damaged", directory_at + at)
        fields = _ENTRY.unpack_from(data, at)
        flags, method = fields[3], fields[4]
        packed, size, name_length, extra_length, comment_length = fields[8:13]
        header_offset = fields[16]
        name_at = at + _ENTRY.size
        extra_at = name_at + name_length
        extra = data[extra_at : extra_at + extra_length]
        size, packed, header_offset = _widen(extra, size, packed, header_offset)
        members.append(
            ZipMember(
                name=data[name_at:extra_at].decode("utf-8", "replace"),
                method=method,
                size=size,
                packed_size=packed,
                header_offset=header_offset + shift,
                encrypted=bool(flags & 1),
            )
        )
        at = extra_at + extra_length + comment_length
    return members


def _widen(extra: bytes, size: int, packed: int, header_offset: int) -> tuple[int, int, int]:
    """Replace the 32-bit fields that are saturated by those of the ZIP64 extra record."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            record = extra[at + 4 : at + 4 + length]
            wide = iter(struct.unpack(f"<{len(record) // 8}Q", record[: len(record) // 8 * 8]))
            if size == _MISSING32:
                size = next(wide, size)
            if packed == _MISSING32:
                packed = next(wide, packed)
            if header_offset == _MISSING32:
                header_offset = next(wide, header_offset)
            break
        at += 4 + length
    return size, packed, header_offset


def member_start(source: ByteSource, member: ZipMember) -> int:
    """Where the bytes of a member begin in the file.

    Raises:
        ModelFileError: Its local header is not where the directory says.
        TruncatedModelError: The file ends before the member does.
    """
    local = source.read_at(member.header_offset, _LOCAL.size)
    if len(local) < _LOCAL.size or not local.startswith(b"PK\x03\x04"):
        _bad(source, f"the zip member {member.name!r} is not where the directory says", member.header_offset)
    *_, name_length, extra_length = _LOCAL.unpack(local)
    start: int = member.header_offset + _LOCAL.size + name_length + extra_length
    if start + member.packed_size > source.size:
        raise TruncatedModelError(
            f"{source.path.name} ends early: its member {member.name!r} reaches to offset "
            f"{start + member.packed_size}, but the file has {source.size} bytes",
            path=source.path,
            offset=start,
            expected=start + member.packed_size,
            actual=source.size,
            advice="Download or copy the file again.",
        )
    return start


def member_bytes(source: ByteSource, member: ZipMember, most: int) -> bytes | None:
    """The unpacked content of a small member; None if it is larger than `most`, encrypted or damaged."""
    if member.encrypted or member.size > most or member.packed_size > most + 1024:
        return None
    packed = source.read_at(member_start(source, member), member.packed_size)
    if member.method == STORED:
        return packed
    if member.method != DEFLATED:
        return None
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
    except zlib.error:
        return None


def _bad(source: ByteSource, what: str, offset: int) -> NoReturn:
    raise ModelFileError(
        f"{source.path.name} is damaged: {what}, at offset {offset}",
        path=source.path,
        offset=offset,
        advice="Download or copy the file again.",
    )
