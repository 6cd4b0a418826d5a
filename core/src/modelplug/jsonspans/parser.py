"""Parses JSON with comments and trailing commas, keeping the place of everything."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from modelplug.jsonspans.nodes import JsonSyntaxError, Member, Node

__all__ = ["parse", "skip_trivia"]

MAX_DEPTH = 200
"""Deeper nesting is refused: nobody writes it, and a recursive reader would run out of stack."""

_TRIVIA = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_PLAIN = r'[^"\\\x00-\x1f]*'
# Runs of plain characters at a time: notebooks have pictures of megabytes in one string.
_STRING = re.compile(rf'"{_PLAIN}(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{{4}}){_PLAIN})*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_LITERALS = {"true": True, "false": False, "null": None}


def parse(text: str) -> Node:
    """The root value of a JSON text, with the place of every part.

    Args:
        text: The text; a byte-order mark at its start is skipped.

    Raises:
        JsonSyntaxError: It is not JSON, or nests deeper than 200 levels, or holds NaN or Infinity.
    """
    parser = _Parser(text)
    start = parser.trivia(1 if text.startswith("\ufeff") else 0)
    root = parser.value(start, 0)
    rest = parser.trivia(root.end)
    if rest < len(text):
        parser.fail("there is something after the end of the value", rest)
    return root


def skip_trivia(text: str, offset: int) -> int:
    """The first offset from `offset` on that is neither white space nor inside a comment."""
    found = _TRIVIA.match(text, offset)
    return found.end() if found else offset


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text

    def fail(self, reason: str, offset: int) -> NoReturn:
        raise JsonSyntaxError(reason, self.text, offset)

    def trivia(self, offset: int) -> int:
        end = skip_trivia(self.text, offset)
        if self.text.startswith("/*", end):
            self.fail("this comment is never closed with */", end)
        return end

    def value(self, offset: int, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self.fail(f"values are nested more than {MAX_DEPTH} deep", offset)
        character = self.text[offset : offset + 1]
        if character == "{":
            return self.container(offset, depth, kind="object", closing="}")
        if character == "[":
            return self.container(offset, depth, kind="array", closing="]")
        if character == '"':
            return self.string(offset)
        if character == "-" or character.isdigit():
            return self.number(offset)
        return self.literal(offset)

    def container(self, offset: int, depth: int, *, kind: str, closing: str) -> Node:
        members: list[Member] = []
        position = self.trivia(offset + 1)
        while self.text[position : position + 1] != closing:
            if members and members[-1].comma is None:
                self.expected(f"a comma or {closing}", position, opened=offset)
            member = (
                self.member(position, depth, closing, offset)
                if kind == "object"
                else self.item(position, depth)
            )
            position = self.trivia(member.end)
            if self.text[position : position + 1] == ",":
                member = Member(
                    key=member.key,
                    start=member.start,
                    key_end=member.key_end,
                    value=member.value,
                    comma=position,
                )
                position = self.trivia(position + 1)
            members.append(member)
        return Node(kind=kind, start=offset, end=position + 1, members=tuple(members))

    def item(self, offset: int, depth: int) -> Member:
        return Member(key=None, start=offset, key_end=offset, value=self.value(offset, depth + 1))

    def member(self, offset: int, depth: int, closing: str, opened: int) -> Member:
        if self.text[offset : offset + 1] != '"':
            self.expected(f"a key in double quotes or {closing}", offset, opened=opened)
        key = self.string(offset)
        colon = self.trivia(key.end)
        if self.text[colon : colon + 1] != ":":
            self.expected(f"a colon after the key {json.dumps(key.scalar)}", colon, opened=opened)
        value = self.value(self.trivia(colon + 1), depth + 1)
        return Member(key=str(key.scalar), start=offset, key_end=key.end, value=value)

    def expected(self, wanted: str, offset: int, *, opened: int) -> NoReturn:
        if offset >= len(self.text):
            line = JsonSyntaxError("", self.text, opened).line
            self.fail(f"the text ends inside the {self.text[opened]} that line {line} opens", offset)
        self.fail(f"expected {wanted}, found {self.shown(offset)}", offset)

    def shown(self, offset: int) -> str:
        word = _WORD.match(self.text, offset)
        return repr(word.group() if word else self.text[offset])

    def string(self, offset: int) -> Node:
        found = _STRING.match(self.text, offset)
        if found is None:
            self.bad_string(offset)
        return Node(kind="string", start=offset, end=found.end(), scalar=json.loads(found.group()))

    def bad_string(self, offset: int) -> NoReturn:
        position = offset + 1
        while position < len(self.text):
            character = self.text[position]
            if character == "\\":
                if not re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})').match(self.text, position):
                    self.fail("this backslash escapes nothing; a backslash itself is written \\\\", position)
                position += 1
            elif character in "\r\n":
                self.fail("the string is not closed before the end of the line", offset)
            elif character < " ":
                self.fail("a control character must be written as \\uXXXX in a string", position)
            position += 1
        self.fail("the string is never closed", offset)

    def number(self, offset: int) -> Node:
        found = _NUMBER.match(self.text, offset)
        if found is None or re.compile(r"[0-9A-Za-z_.+-]").match(self.text, found.end()):
            self.fail("this is not a number as JSON writes it", offset)
        spelled = found.group()
        is_whole = found.group(1) is None and found.group(2) is None
        if is_whole and len(spelled) > 300:
            self.fail("this number has more than 300 digits", offset)
        scalar = int(spelled) if is_whole else float(spelled)
        if scalar in (float("inf"), float("-inf")):
            self.fail("this number is too large", offset)
        return Node(kind="number", start=offset, end=found.end(), scalar=scalar)

    def literal(self, offset: int) -> Node:
        found = _WORD.match(self.text, offset)
        word = found.group() if found else ""
        if word in _LITERALS:
            return Node(kind="literal", start=offset, end=offset + len(word), scalar=_LITERALS[word])
        raise JsonSyntaxError(self.no_value(word, offset), self.text, offset)

    def no_value(self, word: str, offset: int) -> str:
        if offset >= len(self.text):
            return "the text ends where a value should stand"
        if word in ("NaN", "Infinity"):
            return f"{word} is not a value JSON can hold"
        if word.lower() in _LITERALS or word == "None":
            right = "null" if word == "None" else word.lower()
            return f"expected {right}, found {word}: JSON spells it in lower case"
        if self.text[offset] == "'":
            return "strings are written in double quotes"
        return f"expected a value, found {self.shown(offset)}"
