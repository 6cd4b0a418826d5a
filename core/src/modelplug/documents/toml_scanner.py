"""Finds where everything stands in a TOML text: headers, statements, the parts of keys, and values.

The standard library's reader has accepted the text before, and says what it means. Here are only places.
"""

from __future__ import annotations

import re

import attrs

from modelplug.documents.errors import DocumentSyntaxError
from modelplug.documents.nodes import Source
from modelplug.documents.splices import NEWLINE

__all__ = ["ARRAY", "INLINE", "MAX_DEPTH", "VALUE", "Header", "Item", "Part", "Scanner", "Statement"]

VALUE, ARRAY, INLINE = "value", "array", "inline"
"""Styles of values: without parts; in square brackets; in braces."""

MAX_DEPTH = 100
"""Deeper nesting is refused: nobody writes it, and a recursive reader would run out of stack."""

_BLANKS = re.compile(r"[ \t]*")
_TRIVIA = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*")
_COMMENT_LINE = re.compile(r"[ \t]*#[^\r\n]*")
_PART = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_SCALAR = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'"
    r"|\d{4}-\d\d-\d\d[Tt ]\d\d:[\d:.]+(?:[Zz]|[+-]\d\d:\d\d)?"
    r"|[^\s,\]}#]+",
    re.DOTALL,
)


@attrs.frozen
class Part:
    """One name of a dotted key.

    Attributes:
        spelled: How it is written, quotes included.
        start: Where it begins.
        end: Just past it.
    """

    spelled: str
    start: int
    end: int


@attrs.define(eq=False)
class Item:
    """One entry of an array or inline table.

    Attributes:
        parts: The names of its key; empty in an array.
        value: Its value.
        comma: Where the comma after it stands; None if there is none.
    """

    parts: list[Part]
    value: Scanned
    comma: int | None = None


@attrs.define(eq=False)
class Scanned(Source):
    """A value in the text, with what it holds."""

    items: list[Item] = attrs.field(factory=list)


@attrs.define(eq=False)
class Statement:
    """A line `key = value`, which may go on over more lines.

    Attributes:
        parts: The names of its key.
        value: Its value.
        lead: Where the comment lines directly above it begin, or its own line.
        stop: Just past its last line.
    """

    parts: list[Part]
    value: Scanned
    lead: int
    stop: int

    @property
    def start(self) -> int:
        """Where its key begins."""
        return self.parts[0].start


@attrs.define(eq=False)
class Header:
    """A line `[a.b]` or `[[a.b]]`, and the statements below it; or those before the first one.

    Attributes:
        parts: The names in it; empty for the statements before the first header.
        is_item: Whether it begins an item of an array of tables.
        start: Where its bracket opens.
        lead: Where the comment lines directly above it begin, or its own line.
        body: Just past its line.
        end: Where the next header's `lead` is, or the end of the text.
        statements: The statements below it.
    """

    parts: list[Part]
    is_item: bool
    start: int
    lead: int
    body: int
    end: int = 0
    statements: list[Statement] = attrs.field(factory=list)

    @property
    def last(self) -> int:
        """Just past its last statement, or its own line."""
        return self.statements[-1].stop if self.statements else self.body


class Scanner:
    """Scans a valid TOML text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def scan(self) -> list[Header]:
        """All headers in order; first of all a nameless one for what stands before them."""
        text = self.text
        begin = 1 if text.startswith("\ufeff") else 0
        headers = [Header([], False, begin, begin, begin)]
        at, past = begin, begin
        while (at := self.trivia(at)) < len(text):
            if text[at] == "[":
                header = self.header(at, past)
                headers[-1].end = header.lead
                headers.append(header)
                at = past = header.body
            else:
                statement = self.statement(at, past)
                headers[-1].statements.append(statement)
                at = past = statement.stop
        headers[-1].end = len(text)
        return headers

    def trivia(self, offset: int) -> int:
        """Past white space and comments."""
        found = _TRIVIA.match(self.text, offset)
        return found.end() if found else offset

    def blanks(self, offset: int) -> int:
        """Past blanks."""
        found = _BLANKS.match(self.text, offset)
        return found.end() if found else offset

    def next_line(self, offset: int) -> int:
        """Where the next line begins."""
        found = NEWLINE.search(self.text, offset)
        return found.end() if found else len(self.text)

    def lead(self, start: int, past: int) -> int:
        """The first comment line directly above a line, not before `past`."""
        lead = self.line_start(start)
        while lead > past:
            above = self.line_start(lead - (2 if self.text[lead - 2 : lead] == "\r\n" else 1))
            if above < past or not _COMMENT_LINE.match(self.text, above):
                break
            lead = above
        return lead

    def line_start(self, offset: int) -> int:
        """Where the line of a character begins."""
        start = self.text.rfind("\n", 0, offset) + 1
        return 1 if start == 0 and self.text.startswith("\ufeff") and offset > 0 else start

    def header(self, start: int, past: int) -> Header:
        """The header that begins here; `past` is where what stands before it ends."""
        is_item = self.text.startswith("[[", start)
        parts, _ = self.key(start + (2 if is_item else 1))
        body = self.next_line(parts[-1].end)
        return Header(parts, is_item, start, self.lead(start, past), body)

    def statement(self, start: int, past: int) -> Statement:
        """The statement that begins here; `past` is where what stands before it ends."""
        parts, at = self.key(start)
        value = self.value(self.blanks(at + 1))
        return Statement(parts, value, self.lead(start, past), self.next_line(value.end))

    def key(self, offset: int) -> tuple[list[Part], int]:
        """The names of a dotted key, and what follows them."""
        parts, at = [], self.blanks(offset)
        while True:
            found = _PART.match(self.text, at)
            assert found is not None, f"no key at character {at}"
            parts.append(Part(found.group(), found.start(), found.end()))
            at = self.blanks(found.end())
            if self.text[at : at + 1] != ".":
                return parts, at
            at = self.blanks(at + 1)

    def value(self, start: int, depth: int = 0) -> Scanned:
        """The value that begins here."""
        opening = self.text[start : start + 1]
        if depth > MAX_DEPTH:
            line = self.text.count("\n", 0, start) + 1
            column = start - self.line_start(start) + 1
            reason = f"values are nested more than {MAX_DEPTH} deep"
            raise DocumentSyntaxError(reason, line=line, column=column)
        if opening in ("[", "{"):
            return self.container(start, "]" if opening == "[" else "}", depth)
        found = _SCALAR.match(self.text, start)
        assert found is not None, f"no value at character {start}"
        return Scanned(start, found.end(), VALUE)

    def container(self, start: int, closing: str, depth: int) -> Scanned:
        """The array or inline table that begins here."""
        source = Scanned(start, start, ARRAY if closing == "]" else INLINE)
        at = self.trivia(start + 1)
        while self.text[at : at + 1] != closing:
            parts: list[Part] = []
            if closing == "}":
                parts, at = self.key(at)
                at = self.trivia(at + 1)
            item = Item(parts, self.value(at, depth + 1))
            source.items.append(item)
            at = self.trivia(item.value.end)
            if self.text[at : at + 1] == ",":
                item.comma = at
                at = self.trivia(at + 1)
        source.end = at + 1
        return source
