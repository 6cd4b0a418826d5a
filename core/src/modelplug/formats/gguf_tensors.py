"""The tensor table of a GGUF file checked against the file: sizes, order, alignment, overlap, end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.errors import ModelFileError, TruncatedModelError
from modelplug.formats.ggml_types import GGML_TYPES, ggml_type_name
from modelplug.formats.weights import Tensor

if TYPE_CHECKING:
    from typing import NoReturn

    from modelplug.formats.gguf_header import GgufHeader, TensorEntry
    from modelplug.formats.source import ByteSource

__all__ = ["place_tensors"]

_FARTHEST_OFFSET = 1 << 50
# Writers pad the end of a file; what is more than a page or two was not meant to be there.
_PADDING = 1 << 16


def place_tensors(source: ByteSource, header: GgufHeader) -> tuple[list[Tensor], list[str]]:
    """Compute the exact size of every tensor and check that its data lies where it may.

    Args:
        source: The model's bytes.
        header: Its header.

    Returns:
        The tensors in the file's order, and warnings. A tensor of an unknown type gets the space up to the
        next one as its size, and a warning.

    Raises:
        TruncatedModelError: The file ends before the tensors do.
        ModelFileError: Tensors overlap, are misaligned, or do not fill whole blocks of their type.
    """
    ordered = sorted(header.tensors, key=lambda entry: entry.offset)
    sizes: dict[str, int] = {}
    gaps = 0
    previous: TensorEntry | None = None
    end = 0
    available = source.size - header.data_start
    for index, entry in enumerate(ordered):
        if entry.offset % header.alignment:
            _bad(source, entry, f"begins at data offset {entry.offset}, no multiple of {header.alignment}")
        if entry.offset < end and previous is not None:
            _bad(source, entry, f"overlaps tensor {previous.name!r}")
        following = ordered[index + 1].offset if index + 1 < len(ordered) else max(available, entry.offset)
        size = _tensor_bytes(source, entry, following)
        gaps += entry.offset - end >= header.alignment
        previous, end, sizes[entry.name] = entry, entry.offset + size, size
    _check_end(source, header, ordered, sizes)
    tensors = [
        Tensor(entry.name, entry.shape, ggml_type_name(entry.type_number), entry.elements, sizes[entry.name])
        for entry in header.tensors
    ]
    return tensors, _warnings(header, ordered, gaps, available - end)


def _tensor_bytes(source: ByteSource, entry: TensorEntry, following: int) -> int:
    known = GGML_TYPES.get(entry.type_number)
    if known is None:
        return following - entry.offset
    row = entry.shape[0] if entry.shape else 1
    if row % known.block_size:
        _bad(
            source,
            entry,
            f"has rows of {row} values, which is no multiple of the {known.block_size} that {known.name} "
            "stores together",
        )
    return known.row_bytes(entry.elements)


def _check_end(
    source: ByteSource, header: GgufHeader, ordered: list[TensorEntry], sizes: dict[str, int]
) -> None:
    available = source.size - header.data_start
    past = [entry for entry in ordered if entry.offset + sizes[entry.name] > available]
    if not past:
        return
    first = past[0]
    needed = max(entry.offset + sizes[entry.name] for entry in past)
    if needed > _FARTHEST_OFFSET:
        _bad(source, first, f"would lie at data offset {first.offset}, far outside the file")
    expected = source.start + header.data_start + needed
    actual = source.start + source.size
    raise TruncatedModelError(
        f"{source.path.name} ends early: its tensors need {expected:,} bytes, but it has {actual:,} "
        f"({expected - actual:,} are missing); the first incomplete tensor is {first.name!r}",
        path=source.path,
        offset=source.start + header.data_start + first.offset,
        expected=expected,
        actual=actual,
        why="the file is cut off, as an interrupted download or copy leaves it",
        advice="Download or copy the file again and compare its size with the source's.",
    )


def _warnings(header: GgufHeader, ordered: list[TensorEntry], gaps: int, unused: int) -> list[str]:
    warnings = []
    unknown = {entry.type_number for entry in ordered if entry.type_number not in GGML_TYPES}
    if unknown:
        numbers = ", ".join(str(number) for number in sorted(unknown)[:8])
        warnings.append(
            f"unknown tensor type {numbers}: sizes of these tensors are taken from the next one's offset"
        )
    removed = {GGML_TYPES[e.type_number].name for e in ordered if e.type_number in GGML_TYPES} & {
        known.name for known in GGML_TYPES.values() if known.removed
    }
    if removed:
        warnings.append(f"tensor types that current engines no longer load: {', '.join(sorted(removed))}")
    if gaps:
        warnings.append(f"there are unused bytes before {gaps} of the tensors; llama.cpp refuses such files")
    if ordered and unused > _PADDING:
        warnings.append(
            f"{unused:,} bytes follow the last tensor and belong to nothing; an engine that maps the file "
            "may read them all the same, which takes time"
        )
    if list(header.tensors) != ordered:
        warnings.append("the tensors' data is not in the order of the table; llama.cpp refuses such files")
    longest = max((entry for entry in ordered), key=lambda entry: len(entry.name), default=None)
    if longest is not None and len(longest.name.encode()) > 63:
        warnings.append(f"tensor name {longest.name[:80]!r} is longer than the 63 bytes llama.cpp accepts")
    return warnings


def _bad(source: ByteSource, entry: TensorEntry, what: str) -> NoReturn:
    offset = source.start + entry.at
    raise ModelFileError(
        f"{source.path.name} is damaged: tensor {entry.name!r} {what} (table entry at offset {offset})",
        path=source.path,
        offset=offset,
        advice="Download or convert the model again; this file can't be used as it is.",
    )
