"""Safetensors files: a length, a JSON header that places every tensor, and the tensors' bytes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import attrs

from modelplug.errors import ModelFileError, TruncatedModelError
from modelplug.formats.fingerprint import FingerprintBuilder
from modelplug.formats.model_info import ModelInfo
from modelplug.formats.not_a_model import refuse_unknown
from modelplug.formats.source import ByteSource, exists
from modelplug.formats.weights import Tensor, count_parameters, dominant_type, layer_sizes, type_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import NoReturn, TypeGuard

__all__ = ["DTYPE_BITS", "SafetensorsFile", "inspect_safetensors", "read_safetensors"]

MAX_HEADER: Final = 16 << 20
MAX_TENSORS: Final = 1 << 16
_MAX_METADATA: Final = 128
_MAX_METADATA_VALUE: Final = 1 << 16

DTYPE_BITS: Final[dict[str, int]] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits of one element of every type the format knows."""

# The header is walked entry by entry: a JSON parser would build the whole of a hostile header, which takes up
# to thirty times its size, and a regular expression for texts keeps a stack as deep as they are long.
_SPACE: Final = re.compile(rb"\s*")
_COLON: Final = re.compile(rb"\s*:\s*")
_CLOSED: Final = re.compile(rb"\s*\}")
_ENTRY: Final = re.compile(rb"\{[^{}]{1,2048}\}")
# How the safetensors library itself writes an entry; anything else goes through the JSON parser.
_USUAL_ENTRY: Final = re.compile(
    rb'\{"dtype":"(\w{1,20})","shape":\[((?:\d{1,18}(?:,\d{1,18}){0,15})?)\],"data_offsets":\[(\d{1,18}),(\d{1,18})\]\}'
)
_NEXT: Final = re.compile(rb"\s*([,}])")
_LONGEST_KEY: Final = 4096
_MAX_QUOTES: Final = 1 << 20
_MAX_BACKSLASHES: Final = 64


@attrs.frozen(kw_only=True)
class SafetensorsFile:
    """What one safetensors file holds.

    Attributes:
        tensors: Its tensors in the header's order.
        metadata: The texts of its `__metadata__`.
        header_bytes: Bytes before the first tensor.
        size: Bytes of the file.
    """

    tensors: tuple[Tensor, ...]
    metadata: dict[str, str]
    header_bytes: int
    size: int


def inspect_safetensors(path: Path) -> ModelInfo:
    """Inspect one safetensors file by itself.

    Args:
        path: The file.

    Returns:
        What its header says; architecture and context length are in the directory's `config.json`, not here.

    Raises:
        ModelFileError: The header is damaged, or tensors overlap or leave gaps.
        TruncatedModelError: The file is cut off.
    """
    builder = FingerprintBuilder()
    file = read_safetensors(path, builder)
    warnings: tuple[str, ...] = ()
    if exists(path.with_name("config.json")):
        warnings = (f"this is the weight file of a model directory; give the directory: {path.parent}",)
    adapter = any(".lora_" in tensor.name for tensor in file.tensors)
    return ModelInfo(
        path=path,
        format="safetensors",
        kind="adapter" if adapter else "model",
        parameters=count_parameters(file.tensors),
        quantization=dominant_type(file.tensors),
        tensor_types=type_bytes(file.tensors),
        layers=len(layer_sizes(file.tensors).layers) or None,
        size=file.size,
        files=(path,),
        weights=layer_sizes(file.tensors),
        fingerprint=builder.result(),
        warnings=warnings,
        metadata=dict(file.metadata),
    )


def read_safetensors(path: Path, builder: FingerprintBuilder | None = None) -> SafetensorsFile:
    """Read and check the header of a safetensors file.

    Args:
        path: The file.
        builder: Takes the file into a fingerprint, if given.

    Returns:
        Its tensors and metadata.

    Raises:
        NotAModelError: It is something else.
        ModelFileError: The header is damaged, or tensors overlap or leave gaps.
        TruncatedModelError: The file is cut off.
    """
    with ByteSource(path) as source:
        head = source.read_at(0, 4096)
        if head[8:9] != b"{":  # a Git LFS pointer, a web page, nothing at all
            refuse_unknown(path, head, source.size)
        length = int.from_bytes(head[:8], "little")
        if length > MAX_HEADER:
            _bad(path, f"its header claims {length} bytes (at most {MAX_HEADER})", 0)
        if 8 + length > source.size:
            _cut_off(path, 8 + length, source.size, "its header")
        header = source.read_at(8, length)
        tensors, metadata, data_end = _Header(path, header).parse()
        if 8 + length + data_end > source.size:
            _cut_off(path, 8 + length + data_end, source.size, "its tensors")
        if 8 + length + data_end < source.size:
            extra = source.size - 8 - length - data_end
            _bad(path, f"{extra} bytes follow its last tensor", 8 + length + data_end)
        if builder is not None:
            builder.add(source, 8 + length)
        return SafetensorsFile(
            tensors=tuple(tensors), metadata=metadata, header_bytes=8 + length, size=source.size
        )


class _Header:
    """The JSON header, walked from entry to entry."""

    def __init__(self, path: Path, text: bytes) -> None:
        self.path = path
        self.text = text
        self.metadata: dict[str, str] = {}
        self.spans: list[tuple[int, int, str]] = []
        self.tensors: list[Tensor] = []
        self.names: set[str] = set()
        self.quotes_left = _MAX_QUOTES

    def parse(self) -> tuple[list[Tensor], dict[str, str], int]:
        """All tensors, the metadata, and where the last tensor's data ends."""
        if self.text[:1] != b"{":
            self.bad("its header is not a JSON object", 0)
        at = self.members(1, self.member)
        rest = self.text[at:].strip(b" \t\r\n")
        if rest:
            self.bad("its header goes on after its end", at)
        return self.tensors, self.metadata, self.check_order()

    def bad(self, what: str, at: int) -> NoReturn:
        """Raise for something at an offset within the header."""
        _bad(self.path, what, 8 + at)

    def members(self, at: int, member: Callable[[str, int], int]) -> int:
        """Walk the members of an object from behind its brace; return where it ends."""
        closed = _CLOSED.match(self.text, at)
        while closed is None:
            name, at = self.key(at)
            at = member(name, at)
            separator = _NEXT.match(self.text, at)
            if separator is None:
                self.bad("its header is not the JSON this format uses", at)
            at = separator.end()
            if separator[1] == b"}":
                return at
        return closed.end()

    def key(self, at: int) -> tuple[str, int]:
        """A key and where its value begins."""
        space = _SPACE.match(self.text, at)
        at = space.end() if space else at
        end = self.string_end(at)
        colon = _COLON.match(self.text, end)
        if colon is None or end - at > _LONGEST_KEY:
            self.bad("its header is not the JSON this format uses", at)
        return self.string(at, end), colon.end()

    def string_end(self, at: int) -> int:
        """Where the text that begins at `at` ends: behind the first quote that no backslash escapes."""
        quote = at if self.text[at : at + 1] == b'"' else -1
        while True:
            quote = self.text.find(b'"', quote + 1) if quote >= 0 else -1
            if quote < 0:
                self.bad("its header is not the JSON this format uses", at)
            self.quotes_left -= 1
            before = self.text[max(at + 1, quote - _MAX_BACKSLASHES) : quote]
            backslashes = len(before) - len(before.rstrip(b"\\"))
            if backslashes == _MAX_BACKSLASHES or self.quotes_left < 0:
                self.bad("a text in its header consists of escapes", at)
            if backslashes % 2 == 0:
                return quote + 1

    def string(self, at: int, end: int) -> str:
        """The text between two offsets, decoded."""
        raw = self.text[at:end]
        if raw.isascii() and b"\\" not in raw and raw.decode("ascii").isprintable():
            return raw[1:-1].decode("ascii")
        try:
            value = json.loads(raw)
        except ValueError as error:
            self.bad(f"a text in its header can't be decoded ({error})", at)
        return str(value)

    def member(self, name: str, at: int) -> int:
        """Read one entry of the header; return where it ends."""
        if name in self.names:
            self.bad(f"{name!r} occurs twice", at)
        self.names.add(name)
        if name != "__metadata__":
            return self.tensor(name, at)
        if self.text[at : at + 1] != b"{":
            self.bad("`__metadata__` is not an object", at)
        return self.members(at + 1, self.metadata_entry)

    def metadata_entry(self, name: str, at: int) -> int:
        """Read one text of the metadata; return where it ends."""
        if self.text[at : at + 1] != b'"':
            self.bad("`__metadata__` is not an object of texts", at)
        end = self.string_end(at)
        if end - at <= _MAX_METADATA_VALUE and len(self.metadata) < _MAX_METADATA:
            self.metadata[name] = self.string(at, end)
        return end

    def tensor(self, name: str, at: int) -> int:
        """Read one tensor's entry; return where it ends."""
        if len(self.tensors) >= MAX_TENSORS:
            self.bad(f"there are more than {MAX_TENSORS} tensors", at)
        usual = _USUAL_ENTRY.match(self.text, at)
        if usual is not None:
            following, dtype = usual.end(), usual[1].decode("ascii")
            shape = [int(length) for length in usual[2].split(b",")] if usual[2] else []
            begin, end = int(usual[3]), int(usual[4])
        else:
            following, dtype, shape, begin, end = self.unusual_entry(name, at)
        elements = 1
        for dimension in shape:
            elements *= dimension
        size = end - begin
        bits = DTYPE_BITS.get(dtype)
        if size < 0 or (bits is not None and size * 8 != elements * bits):
            self.bad(f"tensor {name!r} of {elements} {dtype} values has {size} bytes", at)
        self.spans.append((begin, end, name))
        self.tensors.append(Tensor(name, tuple(shape), dtype, elements, size))
        return following

    def unusual_entry(self, name: str, at: int) -> tuple[int, str, list[int], int, int]:
        """Parse a tensor's entry as JSON: where it ends, its type, shape, and the offsets of its data."""
        match = _ENTRY.match(self.text, at)
        try:
            entry = json.loads(match[0]) if match else None
        except (ValueError, RecursionError):
            entry = None
        if match is None or not isinstance(entry, dict):
            self.bad(f"the entry of tensor {name!r} is not a JSON object", at)
        dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        if not isinstance(dtype, str) or not _whole_numbers(shape) or not _whole_numbers(offsets, 2):
            self.bad(f"the entry of tensor {name!r} lacks a proper `dtype`, `shape` or `data_offsets`", at)
        return match.end(), dtype, shape, offsets[0], offsets[1]

    def check_order(self) -> int:
        """Check that the tensors fill the data section without overlap or gap; return its end."""
        end = 0
        for begin, following, name in sorted(self.spans):
            if begin != end:
                fault = "overlaps the tensor before it" if begin < end else "leaves a gap before it"
                self.bad(f"tensor {name!r} {fault} (data offset {begin}, expected {end})", 0)
            end = following
        return end


def _whole_numbers(value: object, count: int | None = None) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and (len(value) <= 16 if count is None else len(value) == count)
        and all(type(item) is int and 0 <= item < 1 << 63 for item in value)
    )


def _bad(path: Path, what: str, offset: int) -> NoReturn:
    raise ModelFileError(
        f"{path.name} is damaged: {what}, at offset {offset}",
        path=path,
        offset=offset,
        advice="Download the file again, or save it again with the `safetensors` library.",
    )


def _cut_off(path: Path, expected: int, actual: int, what: str) -> NoReturn:
    raise TruncatedModelError(
        f"{path.name} ends early: {what} need {expected:,} bytes, but it has {actual:,} "
        f"({expected - actual:,} are missing)",
        path=path,
        offset=actual,
        expected=expected,
        actual=actual,
        why="the file is cut off, as an interrupted download or copy leaves it",
        advice="Download or copy the file again and compare its size with the source's.",
    )
