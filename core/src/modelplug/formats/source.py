"""Reading bytes from a model file without mapping it: bounded windows, and an error that names the offset.

A mapping would be simpler, but a file that shrinks while it is mapped (a download that restarts) kills the
process with SIGBUS. Windows of a fixed size also keep memory use independent of what a header claims.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from typing import TYPE_CHECKING, Final

from modelplug.errors import ModelFileError, ModelNotFoundError, TruncatedModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO, NoReturn

__all__ = ["ByteSource", "Cursor", "exists", "file_size", "is_directory"]

_WINDOW: Final = 64 * 1024  # small enough for malloc to use the same pages again: a third faster than 4 MiB
_ABSURD_LENGTH: Final = 1 << 31


def exists(path: Path) -> bool:
    """Whether there is something at `path`; False too where the system rejects the path or denies to look."""
    return os.path.exists(path)  # noqa: PTH110  Path.exists() raises for a name that is too long


def is_directory(path: Path) -> bool:
    """Whether `path` is a directory; False too where the system rejects the path or denies to look."""
    return os.path.isdir(path)  # noqa: PTH112  Path.is_dir() raises for a name that is too long


def file_size(path: Path) -> int:
    """The size of a regular file in bytes.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelFileError: It is not a regular file (opening a FIFO would wait for ever), or can't be examined.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ModelNotFoundError(
            f"there is no file {path}", path=path, advice="Check the spelling of the path."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"can't examine {path}", path=path, why=str(error), advice="Check the path and its permissions."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(
            f"{path} is not a regular file",
            path=path,
            why="it is a directory, a device, a pipe or a socket",
            advice="Give the path of a model file or of a model directory.",
        )
    return status.st_size


class ByteSource:
    """The bytes of a file, or of the part of it that is the model (a llamafile's payload).

    Args:
        path: The file.
        start: Bytes to leave out at its beginning.
        length: Bytes that belong to the model; None for all the rest.
    """

    def __init__(self, path: Path, start: int = 0, length: int | None = None) -> None:
        whole = file_size(path)
        self.path = path
        self.start = start
        self.size = max(0, whole - start if length is None else min(length, whole - start))
        try:
            self._file: BinaryIO = path.open("rb", buffering=0)
        except OSError as error:
            raise ModelFileError(
                f"can't open {path}",
                path=path,
                why=error.strerror or str(error),
                advice="Check that you may read the file (`ls -l`).",
            ) from error

    def __enter__(self) -> ByteSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on; fewer only at the end of the model's data."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        try:
            self._file.seek(self.start + offset)
            data = self._file.read(count)
            while len(data) < count:
                more = self._file.read(count - len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise ModelFileError(
                f"can't read {self.path} at offset {self.start + offset}",
                path=self.path,
                offset=self.start + offset,
                why=error.strerror or str(error),
                advice="Check the disk or the network share, then try again.",
            ) from error
        return data


class Cursor:
    """A position in a `ByteSource` that reads forward and never past its end.

    Args:
        source: Where the bytes come from.
        big_endian: The byte order of numbers.
        position: Where to start.
    """

    def __init__(self, source: ByteSource, *, big_endian: bool = False, position: int = 0) -> None:
        self.source = source
        self.position = position
        order = ">" if big_endian else "<"
        self.order = order
        self._u32 = struct.Struct(order + "I")
        self._u64 = struct.Struct(order + "Q")
        self._window = b""
        self._window_start = 0

    @property
    def remaining(self) -> int:
        """Bytes left."""
        return self.source.size - self.position

    def fill(self, count: int) -> int:
        """Have the next `count` bytes in the window, and return where in it they begin.

        Raises:
            TruncatedModelError: The file ends before.
        """
        begin = self.position - self._window_start
        if begin < 0 or begin + count > len(self._window):
            if count > self.remaining:
                self.truncated(count)
            self._window = self.source.read_at(self.position, max(count, _WINDOW))
            self._window_start = self.position
            begin = 0
            if len(self._window) < count:  # the file shrank after it was opened
                self.truncated(count)
        return begin

    def truncated(self, count: int, what: str = "the header goes on") -> NoReturn:
        """Raise the error for a file that ends before `count` more bytes."""
        position = self.source.start + self.position
        raise TruncatedModelError(
            f"{self.source.path.name} ends early: {what} at offset {position}, but the file has only "
            f"{self.source.start + self.source.size} bytes",
            path=self.source.path,
            offset=position,
            expected=position + count,
            actual=self.source.start + self.source.size,
            why="the file is cut off, as an interrupted download or copy leaves it, or damaged",
            advice="Download or copy the file again and compare its size or checksum with the source's.",
        )

    def bad(self, what: str, *, offset: int | None = None, why: str = "", advice: str = "") -> NoReturn:
        """Raise a `ModelFileError` that names the offset (by default the present position)."""
        where = self.source.start + (self.position if offset is None else offset)
        raise ModelFileError(
            f"{self.source.path.name} is damaged: {what}, at offset {where}",
            path=self.source.path,
            offset=where,
            why=why,
            advice=advice or "Download or convert the model again; this file can't be used as it is.",
        )

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        begin = self.fill(count)
        self.position += count
        return self._window[begin : begin + count]

    def u32(self) -> int:
        """The next unsigned 32-bit number."""
        begin = self.fill(4)
        self.position += 4
        value: int = self._u32.unpack_from(self._window, begin)[0]
        return value

    def u64(self) -> int:
        """The next unsigned 64-bit number."""
        begin = self.fill(8)
        self.position += 8
        value: int = self._u64.unpack_from(self._window, begin)[0]
        return value

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """The next values of a fixed layout."""
        begin = self.fill(layout.size)
        self.position += layout.size
        return layout.unpack_from(self._window, begin)

    def skip(self, count: int, what: str) -> None:
        """Go on by `count` bytes without reading them; `what` they are is for the error."""
        if count > self.remaining:
            self.truncated(count, what)
        self.position += count

    def skip_strings(self, count: int, width: int, what: str) -> None:
        """Go past `count` strings, each a length of `width` bytes and that many bytes."""
        length_at = (self._u64 if width == 8 else self._u32).unpack_from
        usual = width == 8 and self.order == "<"
        while count:
            begin = self.fill(width)
            buffer = self._window
            if usual:
                offset, count = _skip_runs(buffer, begin, count, length_at)
            else:
                offset, count = _skip_blocks(buffer, begin, count, width, length_at)
            while count and offset + width <= len(buffer):
                offset += length_at(buffer, offset)[0] + width
                count -= 1
            if self._window_start + offset > self.source.size:
                self._overlong_string(begin, width, what)
            self.position = self._window_start + offset

    def _overlong_string(self, offset: int, width: int, what: str) -> NoReturn:
        """Find the string, from `offset` in the window on, that reaches past the end, and raise for it."""
        length_at = (self._u64 if width == 8 else self._u32).unpack_from
        following = offset
        while self._window_start + following <= self.source.size:
            offset = following
            following += length_at(self._window, offset)[0] + width
        self.position = self._window_start + offset
        if following - offset > _ABSURD_LENGTH:
            self.bad(f"{what} contain a string of {following - offset - width} bytes")
        self.truncated(following - offset, what + " go on")


# Nearly all the time of inspecting a model goes into skipping the strings of its vocabulary, 30,000 to
# 800,000 of them. A plain loop takes 50 ns for each; a regular expression that matches runs of short ones,
# length and all, takes 30.
_RUN: Final = 32
_PATIENCE: Final = 16
_SHORT_STRINGS: Final = re.compile(
    b"(?:%b){%d}" % (b"|".join(b"\\x%02x\\0{7}.{%d}" % (length, length) for length in range(48)), _RUN),
    re.DOTALL,
)


def _skip_runs(
    buffer: bytes, offset: int, count: int, length_at: Callable[[bytes, int], tuple[int, ...]]
) -> tuple[int, int]:
    """As `_skip_blocks`, for little-endian lengths of 8 bytes; faster where the strings are short."""
    patience = _PATIENCE
    while count >= _RUN and patience:
        found = _SHORT_STRINGS.match(buffer, offset)
        if found is not None:
            offset = found.end()
            count -= _RUN
            continue
        patience -= 1
        offset, left = _skip_blocks(buffer, offset, _RUN, 8, length_at)
        count -= _RUN - left
        if left:  # the buffer ends here
            return offset, count
    return _skip_blocks(buffer, offset, count, 8, length_at)


def _skip_blocks(
    buffer: bytes, offset: int, count: int, width: int, length_at: Callable[[bytes, int], tuple[int, ...]]
) -> tuple[int, int]:
    """Go past as many strings as the buffer holds, by eights; return the offset and the strings left."""
    block = offset
    try:
        for _ in range(count >> 3):
            offset += length_at(buffer, offset)[0] + width
            offset += length_at(buffer, offset)[0] + width
            offset += length_at(buffer, offset)[0] + width
            offset += length_at(buffer, offset)[0] + width
            offset += length_at(buffer, offset)[0] + width
            offset += length_at(buffer, offset)[0] + width
            offset += length_at(buffer, offset)[0] + width
            offset += length_at(buffer, offset)[0] + width
            block = offset
            count -= 8
    except (struct.error, OverflowError):  # the buffer ends within the next eight strings
        return block, count
    return offset, count
