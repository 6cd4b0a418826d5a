"""Where the entries of a container in brackets stand, with the comments that belong to each of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from modelplug.documents.splices import NEWLINE, blanks_before, line_start

if TYPE_CHECKING:
    from modelplug.documents.nodes import Place, Source

__all__ = ["Chunk", "Comments", "chunks_of"]

_BLANKS = re.compile(r"[ \t]*")


@attrs.frozen
class Comments:
    """How a format writes comments.

    Attributes:
        line: How a comment begins that ends with its line.
        any: One comment, where one can stand.
        same_line: What may follow an entry on its line: blanks, and comments that end on that line.
    """

    line: str
    any: re.Pattern[str]
    same_line: re.Pattern[str]

    def of(self, trivia: str) -> list[str]:
        """The comments in a piece of text that holds nothing else, in order."""
        return self.any.findall(trivia)

    def joined(self, comments: list[str], newline: str, *, closed: bool) -> str:
        """Comments on one line as far as that is possible.

        Args:
            comments: The comments.
            newline: What ends a line and begins the next one.
            closed: Whether something else follows, so that the last comment must end.
        """
        parts = []
        for position, comment in enumerate(comments):
            last = position == len(comments) - 1
            parts.append(comment)
            if not last or closed:
                parts.append(newline if comment.startswith(self.line) else " ")
        return "".join(parts)


@attrs.frozen
class Chunk:
    """One entry of a container with everything that belongs to it.

    Attributes:
        place: The entry itself.
        first: Where the comments about it begin, or the entry if there are none.
        lead: The start of that line if only blanks stand before; else `first`.
        tail: Just past its comma and the comments behind it on its line.
        stop: Just past the line's end if nothing else follows on the line; else `tail`.
        starts_line: Whether only blanks stand before `first` on its line.
        ends_line: Whether nothing else follows on the line where it ends.
    """

    place: Place
    first: int
    lead: int
    tail: int
    stop: int
    starts_line: bool
    ends_line: bool

    @property
    def owns_lines(self) -> bool:
        """Whether it shares no line with anything else."""
        return self.starts_line and self.ends_line

    def cut(self, text: str, *, alone: bool, at_end: bool) -> tuple[int, int]:
        """What goes when the entry goes, so that what stands around it joins neatly.

        Args:
            text: The whole text.
            alone: Whether no other original entry stays in the container.
            at_end: Whether none stays behind it.
        """
        if self.owns_lines:
            return self.lead, self.stop
        if alone:
            return self.first, self.tail
        if self.starts_line and at_end:
            return self.lead, self.tail
        if self.ends_line or at_end:
            return blanks_before(text, self.first), self.tail
        after = _BLANKS.match(text, self.tail)
        return self.first, after.end() if after else self.tail


def chunks_of(text: str, source: Source, comments: Comments) -> list[Chunk]:
    """The entries of a container with what belongs to each, in the order of the text.

    A comment belongs to an entry if it stands on its line, or directly above it with no blank line between.
    """
    chunks: list[Chunk] = []
    opened = comments.same_line.match(text, source.start + 1)
    newline = NEWLINE.match(text, opened.end()) if opened else None
    begin = newline.end() if newline else source.start + 1
    for place in source.places:
        chunk = _chunk(text, begin, place, comments, is_last=place is source.places[-1])
        chunks.append(chunk)
        begin = chunk.stop
    return chunks


def _chunk(text: str, begin: int, place: Place, comments: Comments, *, is_last: bool) -> Chunk:
    first = _first_comment(text, begin, place.start, comments)
    lead = line_start(text, first)
    starts_line = lead > 0 and lead >= begin and not text[lead:first].strip(" \t")
    past = place.end if place.comma is None else place.comma + 1
    found = comments.same_line.match(text, past)
    after = found.end() if found else past
    newline = NEWLINE.match(text, after)
    ends_line = newline is not None or after == len(text)
    tail = past + len(text[past:after].rstrip(" \t")) if is_last or ends_line else past
    return Chunk(
        place=place,
        first=first,
        lead=lead if starts_line else first,
        tail=tail,
        stop=newline.end() if newline else after if ends_line else tail,
        starts_line=starts_line,
        ends_line=ends_line,
    )


def _first_comment(text: str, begin: int, start: int, comments: Comments) -> int:
    """Where the comments that stand directly above `start` begin."""
    first = start
    for found in reversed(list(comments.any.finditer(text, begin, start))):
        if len(NEWLINE.findall(text, found.end(), first)) > 1:
            break
        first = found.start()
    return first
