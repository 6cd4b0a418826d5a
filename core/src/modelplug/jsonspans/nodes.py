"""What a JSON text is made of, and where each part stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JsonSyntaxError", "Member", "Node", "Path", "line_and_column"]

Path = tuple["str | int", ...]
"""Steps from the root: names into objects, positions into arrays."""


class JsonSyntaxError(ValueError):
    """The text is not JSON, even with comments and trailing commas allowed.

    Attributes:
        reason: What is wrong, without the place.
        offset: Where, in characters from the start of the text.
        line: The line, from 1.
        column: The column, from 1.
    """

    def __init__(self, reason: str, text: str, offset: int) -> None:
        self.reason = reason
        self.offset = offset
        self.line, self.column = line_and_column(text, offset)
        super().__init__(f"line {self.line}, column {self.column}: {reason}")


@attrs.frozen(kw_only=True)
class Member:
    """One entry of an object or array.

    Attributes:
        key: Its name; None in an array.
        start: Where the entry begins: its key's opening quote, or the value itself in an array.
        key_end: Just past the key's closing quote; equal to `start` in an array.
        value: Its value.
        comma: Where the comma after it stands; None if there is none.
    """

    key: str | None
    start: int
    key_end: int
    value: Node
    comma: int | None = None

    @property
    def end(self) -> int:
        """Just past the value."""
        return self.value.end


@attrs.frozen(kw_only=True)
class Node:
    """One value and where it stands: `text[start:end]`.

    Attributes:
        kind: `object`, `array`, `string`, `number` or `literal` (true, false, null).
        start: Where it begins, in characters.
        end: Just past its last character.
        scalar: The Python value of a string, number or literal.
        members: The entries of an object or array, in order, duplicates included.
    """

    kind: str
    start: int
    end: int
    scalar: Any = None
    members: tuple[Member, ...] = ()

    @property
    def value(self) -> Any:
        """The Python value, containers included; of duplicate keys the last one counts."""
        if self.kind == "object":
            return {member.key: member.value.value for member in self.members}
        if self.kind == "array":
            return [member.value.value for member in self.members]
        return self.scalar

    def member(self, step: str | int) -> Member | None:
        """The entry of that name or position; the last one if the name occurs more than once."""
        if self.kind == "object" and isinstance(step, str):
            return next((m for m in reversed(self.members) if m.key == step), None)
        if self.kind == "array" and isinstance(step, int) and 0 <= step < len(self.members):
            return self.members[step]
        return None

    def find(self, path: Path) -> Node | None:
        """The node at `path` below this one, or None."""
        node: Node | None = self
        for step in path:
            found = node.member(step) if node is not None else None
            node = found.value if found else None
        return node

    def duplicates(self, path: Path = ()) -> Iterator[tuple[Path, Member]]:
        """Every entry whose name occurred before in the same object, with its path."""
        seen: set[str] = set()
        for position, member in enumerate(self.members):
            step = position if member.key is None else member.key
            if member.key is not None:
                if member.key in seen:
                    yield (*path, step), member
                seen.add(member.key)
            yield from member.value.duplicates((*path, step))


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    r"""The line and column of a character, both from 1; `\n`, `\r\n` and `\r` end lines."""
    before = text[:offset].replace("\r\n", "\n").replace("\r", "\n")
    column = offset - max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset))
    if text.startswith("\ufeff") and "\n" not in before:
        column -= 1
    return before.count("\n") + 1, column
