"""Where the entries of indented YAML blocks stand, with the comments that belong to each of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modelplug.documents.delimited import Chunk
from modelplug.documents.nodes import Source
from modelplug.documents.splices import NEWLINE, line_start
from modelplug.documents.yaml_reader import BLOCK, YamlSource

if TYPE_CHECKING:
    from modelplug.documents.nodes import Place

__all__ = ["block_begin", "block_chunks", "is_compact", "line_end", "next_line", "shifted"]

_BLANKS = re.compile(r"[ \t]*")
_LINE = re.compile(r"([ \t]*)(#?)[^\r\n]*")


def line_end(text: str, offset: int) -> int:
    """Where the line of a character ends, before its line break."""
    found = NEWLINE.search(text, offset)
    return found.start() if found else len(text)


def next_line(text: str, offset: int) -> int:
    """Where the line after that of a character begins, or the end of the text."""
    found = NEWLINE.search(text, offset)
    return found.end() if found else len(text)


def is_compact(text: str, source: YamlSource) -> bool:
    """Whether the first entry of a block stands on the line of the dash before it."""
    start = line_start(text, source.content)
    return bool(text[start : source.content].strip(" \t"))


def block_begin(text: str, source: YamlSource) -> int:
    """Where the lines of a block begin, the comments above its first entry included."""
    if is_compact(text, source):
        return source.content
    return next_line(text, source.hook) if source.hook > line_start(text, source.hook) else source.hook


def block_chunks(text: str, source: YamlSource) -> list[Chunk]:
    """The entries of a block with what belongs to each, in the order of the text.

    Comments belong to an entry if they stand on its lines, directly above it with no blank line between, or
    below it, indented deeper than the entry itself if that holds a block.
    """
    chunks: list[Chunk] = []
    begin = block_begin(text, source)
    for place in source.places:
        value = place.entry.original.source if place.entry.original else None
        lead = _lead(text, begin, place)
        tail = line_end(text, place.end)
        stop = next_line(text, place.end)
        if isinstance(value, Source) and value.style == BLOCK:
            stop, tail = _with_deeper_comments(text, stop, tail, source.column)
        compact = bool(text[line_start(text, place.start) : place.start].strip(" \t"))
        chunks.append(
            Chunk(
                place=place,
                first=_BLANKS.match(text, lead).end(),  # type: ignore[union-attr]
                lead=lead,
                tail=tail,
                stop=stop,
                starts_line=not compact,
                ends_line=True,
            )
        )
        begin = stop
    return chunks


def _lead(text: str, begin: int, place: Place) -> int:
    """The start of the first comment line directly above an entry, or of its own line."""
    lead = line_start(text, place.start)
    if text[lead : place.start].strip(" \t"):
        return place.start
    while lead > begin:
        above = line_start(text, lead - (2 if text[lead - 2 : lead] == "\r\n" else 1))
        found = _LINE.match(text, above)
        if above < begin or found is None or not found.group(2):
            break
        lead = above
    return lead


def _with_deeper_comments(text: str, stop: int, tail: int, column: int) -> tuple[int, int]:
    """Extends an entry over the comments below it that are indented deeper than it is."""
    at = stop
    while at < len(text):
        found = _LINE.match(text, at)
        end = found.end() if found else at
        is_comment = found is not None and bool(found.group(2))
        if is_comment and found is not None and len(found.group(1)) > column:
            stop, tail = next_line(text, end), end
        elif text[at:end].strip():
            break
        at = next_line(text, end)
    return stop, tail


def shifted(text: str, by: int) -> str:
    """The text with every line indented by so many more columns, or less."""
    if not by:
        return text
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    return "".join(_shifted_line(line, by) for line in lines)


def _shifted_line(line: str, by: int) -> str:
    if not line.strip("\r\n"):
        return line
    if by > 0:
        return " " * by + line
    spaces = len(line) - len(line.lstrip(" "))
    return line[min(-by, spaces) :]
