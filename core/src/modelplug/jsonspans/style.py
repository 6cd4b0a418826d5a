"""How a JSON text is laid out, and new values laid out the same way."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from modelplug.jsonspans.nodes import Member, Node

__all__ = ["Style", "dumps", "render"]

_NEWLINE = re.compile(r"\r\n|\n|\r")
_COLON = re.compile(r"[ \t]*:[ \t]*")


@attrs.frozen(kw_only=True)
class Style:
    """What a text's layout looks like.

    Attributes:
        newline: How its lines end.
        unit: One step of indentation.
    """

    newline: str
    unit: str

    @classmethod
    def of(cls, text: str, root: Node) -> Style:
        """The layout of a text: its first line end, and the indentation of its outermost entries."""
        newline = _NEWLINE.search(text)
        unit = "  "
        for member in root.members:
            indent = _line_indent(text, member.start)
            outer = _line_indent(text, root.start) or ""
            if indent is not None and len(indent) > len(outer):
                unit = indent[len(outer) :]
                break
        return cls(newline=newline.group() if newline else "\n", unit=unit)

    def starts_line(self, text: str, offset: int) -> bool:
        """Whether only white space stands before `offset` on its line, and a line before that."""
        return _line_indent(text, offset) is not None

    def indent_at(self, text: str, offset: int) -> str:
        """The white space that begins the line of `offset`."""
        start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
        found = re.compile(r"[ \t]*").match(text, start)
        return found.group() if found else ""

    def is_inline(self, text: str, node: Node) -> bool:
        """Whether a container is written on one line."""
        return bool(node.members) and not _NEWLINE.search(text[node.start : node.end])

    def spaced(self, text: str, node: Node) -> bool:
        """Whether a space follows the commas of a container written on one line."""
        if len(node.members) < 2:
            return True
        comma = node.members[0].comma
        return comma is None or text[comma + 1 : comma + 2] in (" ", "\t", "\r", "\n")

    def colon_of(self, text: str, member: Member) -> str:
        """The colon as this entry writes it, with its blanks."""
        between = text[member.key_end : member.value.start]
        return between if _COLON.fullmatch(between) else ": "


def _line_indent(text: str, offset: int) -> str | None:
    start = offset
    while start > 0 and text[start - 1] in " \t":
        start -= 1
    return text[start:offset] if start > 0 and text[start - 1] in "\r\n" else None


def render(value: Any, style: Style, indent: str, *, inline: bool) -> str:
    """The value as JSON, laid out for a line that begins with `indent`.

    Args:
        value: What to write.
        style: How the text around it is laid out.
        indent: The indentation of the line the value begins on.
        inline: Whether everything goes on that line.
    """
    if inline or not isinstance(value, (dict, list, tuple)) or not value:
        return dumps(value)
    if not isinstance(value, dict) and not any(isinstance(item, (dict, list, tuple)) for item in value):
        return dumps(value)
    deeper = indent + style.unit
    if isinstance(value, dict):
        entries = [f"{dumps(str(k))}: {render(v, style, deeper, inline=False)}" for k, v in value.items()]
    else:
        entries = [render(item, style, deeper, inline=False) for item in value]
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    body = f",{style.newline}".join(deeper + entry for entry in entries)
    return f"{opening}{style.newline}{body}{style.newline}{indent}{closing}"


def dumps(value: Any) -> str:
    """The value as JSON on one line, in readable characters wherever these can be written to a file."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(value, allow_nan=False)
    return text
