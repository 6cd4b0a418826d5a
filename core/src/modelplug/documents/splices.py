"""Replaces parts of a text at once, and shifts lines to another indentation."""

from __future__ import annotations

import re

import attrs

__all__ = [
    "NEWLINE",
    "Splice",
    "blanks_before",
    "indent_at",
    "line_start",
    "newline_of",
    "reindent",
    "spliced",
]

NEWLINE = re.compile(r"\r\n|\n|\r")
_BLANKS = re.compile(r"[ \t]*")


@attrs.frozen
class Splice:
    """`text[start:end]` becomes `text`; an insertion if both are equal."""

    start: int
    end: int
    text: str


def spliced(text: str, start: int, end: int, splices: list[Splice]) -> str:
    """`text[start:end]` with the splices in it made.

    Insertions at one place come in the order given, and before a replacement that begins there.
    """
    parts: list[str] = []
    position = start
    for splice in sorted(splices, key=lambda splice: (splice.start, splice.end)):
        if splice.start < position or splice.end > end:
            reason = f"two edits overlap at character {splice.start}"
            raise AssertionError(reason)
        parts += (text[position : splice.start], splice.text)
        position = splice.end
    parts.append(text[position:end])
    return "".join(parts)


def newline_of(text: str) -> str:
    """How the lines of a text end: as its first one does."""
    found = NEWLINE.search(text)
    return found.group() if found else "\n"


def line_start(text: str, offset: int) -> int:
    """Where the line of a character begins, past a byte-order mark."""
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    return start + 1 if start == 0 and text.startswith("\ufeff") and offset > 0 else start


def blanks_before(text: str, offset: int) -> int:
    """Where the blanks directly before a character begin."""
    while offset > 0 and text[offset - 1] in " \t":
        offset -= 1
    return offset


def indent_at(text: str, offset: int) -> str:
    """The white space that begins the line of a character."""
    found = _BLANKS.match(text, line_start(text, offset))
    return found.group() if found else ""


def reindent(text: str, old: str, new: str) -> str:
    """The text with the indentation of every line but the first changed from `old` to `new`."""
    if old == new or not NEWLINE.search(text):
        return text
    lines = re.split(r"(\r\n|\n|\r)", text)
    for position in range(2, len(lines), 2):
        line, last = lines[position], position == len(lines) - 1
        if line.startswith(old) and (line.strip() or last):
            lines[position] = new + line[len(old) :]
    return "".join(lines)
