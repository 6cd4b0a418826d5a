"""Changes one value in a JSON text and leaves every other byte alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modelplug.jsonspans.parser import parse
from modelplug.jsonspans.style import Style, dumps, render

if TYPE_CHECKING:
    from modelplug.jsonspans.nodes import Member, Node, Path

__all__ = ["EditError", "remove", "set_value"]

_SAME_LINE = re.compile(r"(?:[ \t]+|/\*[^\r\n]*?\*/)*(?://[^\r\n]*)?")
_BLANKS = re.compile(r"[ \t]*")
_NEWLINE = re.compile(r"\r\n|\n|\r")


class EditError(ValueError):
    """The edit makes no sense for this text: a step leads into something that is no container.

    Attributes:
        path: The path as far as it leads.
    """

    def __init__(self, reason: str, path: Path) -> None:
        self.path = path
        super().__init__(reason)


def set_value(text: str, path: Path, value: Any) -> str:
    """The text with `value` at `path`; missing objects on the way are made.

    A value that is there already, equal and of the same type, leaves the text exactly as it was. An array
    takes a position it has, or the next one.

    Args:
        text: A JSON text, comments and all.
        path: Names into objects, positions into arrays; not empty.
        value: Any value JSON can hold.

    Raises:
        JsonSyntaxError: The text can't be parsed.
        EditError: A step leads into a value that is neither object nor array.
        ValueError: JSON can't hold the value.
    """
    dumps(value)  # refuses NaN and the like before anything else happens
    root = parse(text)
    style = Style.of(text, root)
    node, owner = root, None
    for depth, step in enumerate(path):
        _demand_container(node, step, path[:depth])
        found = node.member(step)
        if found is None:
            return _insert(text, node, owner, step, _nested(path[depth + 1 :], value), style)
        node, owner = found.value, found
    if dumps(node.value) == dumps(value):  # as JSON sees it: 1, 1.0 and true are three values
        return text
    inline = style.is_inline(text, node) or (owner is not None and not style.starts_line(text, owner.start))
    new = render(value, style, style.indent_at(text, node.start), inline=inline)
    return text[: node.start] + new + text[node.end :]


def remove(text: str, path: Path) -> str:
    """The text without the entry at `path`; the same text if there is none.

    Comments outside the entry stay; a name that occurs more than once is removed everywhere.

    Raises:
        JsonSyntaxError: The text can't be parsed.
        EditError: The path is empty.
    """
    if not path:
        reason = "the root can't be removed"
        raise EditError(reason, path)
    while True:
        parent = parse(text).find(path[:-1])
        found = parent.member(path[-1]) if parent else None
        if parent is None or found is None:
            return text
        text = _remove_member(text, parent, found)
        if parent.kind == "array":
            return text


def _demand_container(node: Node, step: str | int, path: Path) -> None:
    wanted = "object" if isinstance(step, str) else "array"
    where = ".".join(map(str, path)) or "the whole text"
    if node.kind != wanted:
        reason = f"{where} is not an {wanted}, so it can't hold {step!r}"
        raise EditError(reason, path)
    if isinstance(step, int) and not 0 <= step <= len(node.members):
        reason = f"{where} has {len(node.members)} items, so there is no place for number {step}"
        raise EditError(reason, path)


def _nested(path: Path, value: Any) -> Any:
    """The value inside the containers that are missing on the way to it."""
    for step in reversed(path):
        if isinstance(step, int) and step != 0:
            reason = f"a new list has no place for number {step}"
            raise EditError(reason, path)
        value = {step: value} if isinstance(step, str) else [value]
    return value


# Inserting --------------------------------------------------------------------------------------------


def _insert(text: str, node: Node, owner: Member | None, step: str | int, value: Any, style: Style) -> str:
    if not node.members:
        return _insert_first(text, node, owner, step, value, style)
    last = node.members[-1]
    multiline = style.starts_line(text, last.start)
    indent = style.indent_at(text, last.start)
    entry = _entry(step, value, style.colon_of(text, last), style, indent, multiline=multiline)
    end = last.end if last.comma is None else last.comma + 1
    comma_before, comma_after = (",", "") if last.comma is None else ("", ",")
    if not multiline:
        gap = " " if style.spaced(text, node) else ""
        return text[:end] + comma_before + gap + entry + comma_after + text[end:]
    # A comment at the end of the last entry's line is about that entry, so the new one goes below it.
    below = _same_line_end(text, end)
    added = style.newline + indent + entry + comma_after
    return text[:end] + comma_before + text[end:below] + added + text[below:]


def _insert_first(
    text: str, node: Node, owner: Member | None, step: str | int, value: Any, style: Style
) -> str:
    inner = text[node.start + 1 : node.end - 1]
    comments = inner.rstrip(" \t\r\n")
    at = node.start + 1 + len(comments)
    tail = text[at : node.end - 1]
    outer = style.indent_at(text, node.start)
    multiline = "\n" in inner or "\r" in inner or owner is None or style.starts_line(text, owner.start)
    entry = _entry(step, value, ": ", style, outer + style.unit, multiline=multiline)
    if not multiline:
        return text[:at] + (" " if comments else "") + entry + text[at:]
    closing = "" if _NEWLINE.search(tail) else style.newline + outer
    return text[:at] + style.newline + outer + style.unit + entry + tail + closing + text[node.end - 1 :]


def _entry(step: str | int, value: Any, colon: str, style: Style, indent: str, *, multiline: bool) -> str:
    rendered = render(value, style, indent, inline=not multiline)
    return f"{dumps(step)}{colon}{rendered}" if isinstance(step, str) else rendered


def _same_line_end(text: str, offset: int) -> int:
    """Just past the comments that end the line of `offset`; `offset` if something else stands there."""
    found = _SAME_LINE.match(text, offset)
    end = found.end() if found else offset
    at_line_end = end == len(text) or text[end] in "\r\n"
    return end if at_line_end and text[offset:end].strip() else offset


# Removing ---------------------------------------------------------------------------------------------


def _remove_member(text: str, parent: Node, member: Member) -> str:
    position = parent.members.index(member)
    cuts = [(member.start, member.end)]
    if member.comma is not None:
        cuts.append((member.comma, member.comma + 1))
    elif position > 0:
        previous = parent.members[position - 1].comma
        assert previous is not None  # there would be no next member without it
        cuts.append((previous, previous + 1))
    cuts.append(_surrounding_blanks(text, member, parent, position))
    return _cut(text, cuts)


def _surrounding_blanks(text: str, member: Member, parent: Node, position: int) -> tuple[int, int]:
    """The white space that goes with the entry: its line if it has one to itself, else blanks beside it."""
    end = member.end if member.comma is None else member.comma + 1
    if member.comma is not None and text[member.end : member.comma].strip():
        return (member.start, member.start)  # a comment stands between value and comma, and it stays
    after = _blanks_end(text, end)
    line_start = member.start
    while line_start > 0 and text[line_start - 1] in " \t":
        line_start -= 1
    newline = _NEWLINE.match(text, after)
    if newline and line_start > 0 and text[line_start - 1] in "\r\n":
        return (line_start, newline.end())
    if member.comma is not None:
        return (end, after)
    if position > 0:
        previous = parent.members[position - 1].comma
        gap_start = member.start if previous is None else previous + 1
        if not text[gap_start : member.start].strip(" \t"):
            return (gap_start, member.start)
    return (member.start, member.start)


def _blanks_end(text: str, offset: int) -> int:
    found = _BLANKS.match(text, offset)
    return found.end() if found else offset


def _cut(text: str, cuts: list[tuple[int, int]]) -> str:
    kept, position = [], 0
    for start, end in sorted(cuts):
        if end <= position:
            continue
        kept.append(text[position : max(start, position)])
        position = end
    kept.append(text[position:])
    return "".join(kept)
