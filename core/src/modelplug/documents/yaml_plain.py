"""Reads YAML in its plainest form, which most configurations have, in a fraction of the library's time.

Lines of `key: value` in steps of indentation, lists of scalars, comments. Anything else (block texts,
aliases, tags, brackets in brackets, escapes, several documents) is left to the library, and so is every
fault. What is accepted means exactly what the library says; the tests compare the two part by part.
"""

from __future__ import annotations

import re
from typing import Any

from modelplug.documents.yaml_events import (
    DOCUMENT,
    DOCUMENT_END,
    LIST_END,
    LIST_START,
    MAPPING_END,
    MAPPING_START,
    TEXT_SCALAR,
    Event,
)

__all__ = ["plain_events"]

_ODD = re.compile("[^\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_WORD = r"[\w./+@%()-]*"
_PLAIN = rf"(?:[A-Za-z_/]|\.{{1,2}}/|[-+]?\.?[0-9]){_WORD}(?: (?:[\w./+@%(]){_WORD})*"
_SCALAR = rf"~|{_PLAIN}|\"[^\"\\\r\n]*\"|'[^'\r\n]*'"
_LINE = re.compile(
    r"(?P<indent> *)"
    r"(?:(?P<key>[A-Za-z_][\w-]*(?:\.[\w-]+)*):(?=[ \r\n]|\Z)|(?P<dash>-)(?= ))?"
    rf"(?: *(?P<value>{_SCALAR}|\[ *(?:(?:{_SCALAR})(?: *, *(?:{_SCALAR}))* *,? *)?\])(?=[ \r\n]|\Z))?"
    r"(?P<blank> *)(?P<comment>#[^\r\n]*)?(?:\r\n|\n|\Z)"
)
_LONGEST = 300
"""Longer keys and numbers may be too long for the library."""

_ITEM = re.compile(_SCALAR)
_WHOLE = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)")
_TEXT = re.compile(r"(?:[A-Za-z_/]|\.{1,2}/)")
_WORDS = {
    "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class _NotPlain(Exception):  # noqa: N818  no error: the library's turn
    """The text has something that only the library reads."""


def plain_events(text: str) -> list[Event] | None:
    """The parts of a text in its plainest form; None if it is not."""
    begin = 1 if text.startswith("\ufeff") else 0
    if _ODD.search(text, begin):
        return None
    try:
        return _Lines(text).events_from(begin)
    except _NotPlain:
        return None


class _Lines:
    """Goes through the lines of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.events: list[Event] = []
        self.levels: list[tuple[int, str, set[str]]] = []
        self.is_pending = False
        self.at = 0

    def events_from(self, begin: int) -> list[Event]:
        """All parts of the text, or an exception."""
        self.at = begin
        text, events = self.text, self.events
        events.append(Event(DOCUMENT))
        while self.at < len(text):
            line = _LINE.match(text, self.at)
            if line is None:
                raise _NotPlain
            if line["key"] is not None or line["dash"] is not None:
                self.entry(line)
            elif line["value"] is not None:
                raise _NotPlain
            self.at = line.end()
        if not self.levels:
            raise _NotPlain
        self.close(-1, MAPPING_START)
        events.append(Event(DOCUMENT_END, len(text), len(text)))
        return events

    def entry(self, line: re.Match[str]) -> None:
        """A line that begins an entry of a mapping or an item of a list."""
        column = line.end("indent") - line.start("indent")
        key, value = line["key"], line["value"]
        kind = LIST_START if key is None else MAPPING_START
        start = line.end("indent")
        if line["comment"] and not line["blank"] and line.end("blank") > start:
            raise _NotPlain  # no blank before the number sign: this is no comment
        if not self.is_pending or not self.opens(column, kind):
            self.close(column, kind)
            if not self.levels or self.levels[-1][:2] != (column, kind):
                if self.events[1:]:
                    raise _NotPlain
                self.open(column, kind, start)
        else:
            self.open(column, kind, start)
        if key is not None:
            names = self.levels[-1][2]
            if key in names or key in _WORDS or len(key) > _LONGEST:
                raise _NotPlain
            names.add(key)
            self.events.append(Event(TEXT_SCALAR, start, line.end("key"), key))
            self.is_pending = value is None
        elif value is None:
            raise _NotPlain
        if value is not None:
            if line.start("value") == line.end("key") + 1 or line.start("value") == line.end("dash"):
                raise _NotPlain
            self.value(line.start("value"), line.end("value"))

    def opens(self, column: int, kind: str) -> bool:
        """Whether a line begins the value of the key above it."""
        outer = self.levels[-1][0]
        return column > outer or (column == outer and kind == LIST_START)

    def open(self, column: int, kind: str, start: int) -> None:
        """A mapping or list begins."""
        self.levels.append((column, kind, set()))
        self.events.append(Event(kind, start, start))
        self.is_pending = False

    def close(self, column: int, kind: str) -> None:
        """Mappings and lists that are indented deeper end, and a list beside a key of the same column."""
        if self.is_pending:
            self.events.append(Event(TEXT_SCALAR, self.at, self.at))
            self.is_pending = False
        while self.levels and (
            self.levels[-1][0] > column
            or (self.levels[-1][0] == column and self.levels[-1][1] == LIST_START and kind == MAPPING_START)
        ):
            _, closed, _ = self.levels.pop()
            self.events.append(Event(MAPPING_END if closed == MAPPING_START else LIST_END))

    def value(self, start: int, end: int) -> None:
        """A scalar, or a list of scalars in brackets."""
        if self.text[start] != "[":
            self.scalar(start, end)
            return
        self.events.append(Event(LIST_START, start, start + 1, flow=True))
        at = start + 1
        while found := _ITEM.search(self.text, at, end - 1):
            self.scalar(found.start(), found.end())
            at = found.end()
        self.events.append(Event(LIST_END, end - 1, end))

    def scalar(self, start: int, end: int) -> None:
        """One scalar."""
        written = self.text[start:end]
        if written[0] in "\"'":
            self.events.append(Event(TEXT_SCALAR, start, end, written[1:-1], written[0]))
        else:
            self.events.append(Event(TEXT_SCALAR, start, end, _meaning(written)))


def _meaning(written: str) -> Any:
    """The value of a scalar without quotation marks."""
    if written in _WORDS:
        return _WORDS[written]
    if _TEXT.match(written):
        return written
    if len(written) > _LONGEST:
        raise _NotPlain
    if _WHOLE.fullmatch(written):
        return int(written)
    if _DECIMAL.fullmatch(written):
        return float(written)
    raise _NotPlain
