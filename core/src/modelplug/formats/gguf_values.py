"""The values in a GGUF header: scalars are read, arrays are recorded and read only on demand."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.formats.source import ByteSource, Cursor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["GgufArray", "LongString", "ValueReader", "kind_of"]

_STRING: Final = 8
_ARRAY: Final = 9
_BOOL: Final = 7
TYPE_NAMES: Final = (
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "float32",
    "bool",
    "string",
    "array",
    "uint64",
    "int64",
    "float64",
)
_LETTERS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_WIDTHS: Final = {number: struct.calcsize("<" + letter) for number, letter in _LETTERS.items()}

# Bounds on what a header may make the reader do. A vocabulary of 262,144 tokens and 514,906 merges is the
# largest in wide use; four million strings take a third of a second.
MAX_STRINGS: Final = 1 << 22
MAX_TEXT: Final = 1 << 20
MAX_TEXT_TOTAL: Final = 1 << 23
MAX_NAMES_TOTAL: Final = 1 << 23
MAX_NESTED: Final = 1 << 16
MAX_DEPTH: Final = 4
_ABSURD_LENGTH: Final = 1 << 40


@attrs.frozen(kw_only=True)
class LongString:
    """A text too long to keep; only its place is recorded.

    Attributes:
        length: Bytes.
        offset: Where it begins, from the start of the model.
    """

    length: int
    offset: int

    def describe_kind(self) -> str:
        """What it is, in words."""
        return f"a text of {self.length} bytes"

    def describe(self) -> dict[str, Any]:
        """What is known of it, as plain data."""
        return {"type": "string", "length": self.length, "offset": self.offset}


@attrs.frozen(kw_only=True)
class GgufArray:
    """An array in the header: its element type, length and place. Elements are read on demand.

    Attributes:
        items: Name of the element type, for example `string` or `uint32`.
        length: Number of elements.
        offset: Where its first element begins, from the start of the model.
        byte_length: Bytes that all elements take.
        path: The file it is in.
        start: Bytes before the model in that file.
        big_endian: The byte order of numbers.
        wide: Whether lengths take 8 bytes (all versions but the first).
    """

    items: str
    length: int
    offset: int
    byte_length: int
    path: Path
    start: int = 0
    big_endian: bool = False
    wide: bool = True

    def describe_kind(self) -> str:
        """What it is, in words."""
        return f"an array of {self.length} values of type {self.items}"

    def describe(self) -> dict[str, Any]:
        """What is known of it without reading elements, as plain data."""
        return {"type": "array", "items": self.items, "length": self.length, "offset": self.offset}

    def __len__(self) -> int:
        return self.length

    def read(self, first: int = 0, count: int | None = None) -> list[Any]:
        """Read some of the elements.

        Args:
            first: Index of the first one wanted.
            count: How many; None for all the rest.

        Returns:
            Numbers, truth values, texts (undecodable bytes become U+FFFD) or, for nested arrays,
            `GgufArray`s.
        """
        wanted = max(0, min(self.length - first, self.length if count is None else count))
        with ByteSource(self.path, self.start) as source:
            cursor = Cursor(source, big_endian=self.big_endian, position=self.offset)
            reader = ValueReader(cursor, wide=self.wide)
            number = TYPE_NAMES.index(self.items)
            if number in _WIDTHS:
                cursor.position += first * _WIDTHS[number]
                return reader.numbers(number, wanted)
            if number == _STRING:
                cursor.skip_strings(first, 8 if self.wide else 4, "the strings of an array")
                return [reader.raw_string().decode("utf-8", "replace") for _ in range(wanted)]
            for _ in range(first):
                reader.array("an array")
            return [reader.array("an array") for _ in range(wanted)]

    def __getitem__(self, index: int) -> Any:
        if index < 0:
            index += self.length
        if not 0 <= index < self.length:
            message = f"index {index} of an array of {self.length}"
            raise IndexError(message)
        return self.read(index, 1)[0]

    def __iter__(self) -> Iterator[Any]:
        # In batches: one element at a time would walk a string array from its start each time.
        for first in range(0, self.length, 4096):
            yield from self.read(first, 4096)


def kind_of(value: object) -> str:
    """What a header value is, in words, for error messages."""
    if isinstance(value, (GgufArray, LongString)):
        return value.describe_kind()
    words = {bool: "a truth value", str: "a text", float: "a fraction", int: "a whole number"}
    return words.get(type(value), "absent")


class ValueReader:
    """Reads the values of a header one after the other, within bounds.

    Args:
        cursor: Where to read.
        wide: Whether lengths take 8 bytes (all versions but the first).
    """

    def __init__(self, cursor: Cursor, *, wide: bool) -> None:
        self.cursor = cursor
        self.wide = wide
        self._layouts = {number: struct.Struct(cursor.order + letter) for number, letter in _LETTERS.items()}
        self._strings_left = MAX_STRINGS
        self._nested_left = MAX_NESTED
        self._text_left = MAX_TEXT_TOTAL
        self._names_left = MAX_NAMES_TOTAL

    def _length(self, what: str) -> int:
        at = self.cursor.position
        length = self.cursor.u64() if self.wide else self.cursor.u32()
        if length > self.cursor.remaining:
            if length >= _ABSURD_LENGTH:
                self.cursor.bad(f"{what} claims a length of {length} bytes", offset=at)
            self.cursor.truncated(length, f"{what} goes on")
        return length

    def raw_string(self) -> bytes:
        """The next string, undecoded; for arrays whose place was checked before."""
        return self.cursor.take(self._length("a string"))

    def name(self, what: str, longest: int) -> str:
        """The next string as a name that must be UTF-8 and not longer than `longest` bytes."""
        at = self.cursor.position
        length = self.cursor.u64() if self.wide else self.cursor.u32()
        if length > longest:
            self.cursor.bad(f"{what} claims a length of {length} bytes (at most {longest})", offset=at)
        if length > self.cursor.remaining:
            self.cursor.truncated(length, f"{what} goes on")
        self._names_left -= length
        if self._names_left < 0:
            self.cursor.bad(f"its names take more than {MAX_NAMES_TOTAL} bytes together", offset=at)
        return self._decode(self.cursor.take(length), what, at)

    def _decode(self, data: bytes, what: str, at: int) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            self.cursor.bad(f"{what} is not valid UTF-8 ({error.reason})", offset=at)

    def value(self, key: str) -> Any:
        """The value of the entry `key`, beginning with its type."""
        at = self.cursor.position
        number = self.cursor.u32()
        layout = self._layouts.get(number)
        if layout is not None:
            scalar = self.cursor.unpack(layout)[0]
            if number != _BOOL:
                return scalar
            if scalar > 1:
                self.cursor.bad(f"{key!r} is a truth value stored as {scalar}", offset=at)
            return bool(scalar)
        if number == _STRING:
            return self._text(key)
        if number != _ARRAY:
            self.cursor.bad(f"{key!r} has the unknown value type {number}", offset=at)
        return self.array(f"{key!r}")

    def _text(self, key: str) -> str | LongString:
        at = self.cursor.position
        length = self._length(f"the text of {key!r}")
        if length > MAX_TEXT or length > self._text_left:
            place = LongString(length=length, offset=self.cursor.position)
            self.cursor.skip(length, f"the text of {key!r} goes on")
            return place
        self._text_left -= length
        return self._decode(self.cursor.take(length), f"the text of {key!r}", at)

    def array(self, what: str, depth: int = 1) -> GgufArray:
        """The next array, recorded and skipped."""
        at = self.cursor.position
        number = self.cursor.u32()
        if number >= len(TYPE_NAMES):
            self.cursor.bad(f"the array {what} has elements of the unknown type {number}", offset=at)
        at_length = self.cursor.position
        length = self.cursor.u64() if self.wide else self.cursor.u32()
        offset = self.cursor.position
        if number in _WIDTHS:
            if length >= _ABSURD_LENGTH:
                self.cursor.bad(f"the array {what} claims {length} elements", offset=at_length)
            self.cursor.skip(length * _WIDTHS[number], f"the array {what} goes on")
        elif number == _STRING:
            self._strings_left -= length
            if self._strings_left < 0:
                self.cursor.bad(
                    f"the array {what} claims {length} strings (at most {MAX_STRINGS} in all)",
                    offset=at_length,
                )
            self.cursor.skip_strings(length, 8 if self.wide else 4, f"the strings of {what}")
        else:
            self._nested_left -= length
            if self._nested_left < 0 or depth >= MAX_DEPTH:
                self.cursor.bad(f"the array {what} is nested too deeply or too widely", offset=at_length)
            for _ in range(length):
                self.array(what, depth + 1)
        return GgufArray(
            items=TYPE_NAMES[number],
            length=length,
            offset=offset,
            byte_length=self.cursor.position - offset,
            path=self.cursor.source.path,
            start=self.cursor.source.start,
            big_endian=self.cursor.order == ">",
            wide=self.wide,
        )

    def numbers(self, number: int, count: int) -> list[Any]:
        """The next `count` values of a scalar type."""
        width = _WIDTHS[number]
        data = self.cursor.take(count * width)
        values: list[Any] = list(struct.unpack(f"{self.cursor.order}{count}{_LETTERS[number]}", data))
        return [bool(value) for value in values] if number == _BOOL else values
