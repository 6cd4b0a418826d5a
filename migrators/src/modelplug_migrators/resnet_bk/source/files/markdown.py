"""Python in fenced blocks of a Markdown file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.source.files.parts import Part, PartedFile
from modelplug_migrators.resnet_bk.source.parsing import is_python

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Markdown"]

_OPENING = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*\{?\.?([\w+-]*)[^`\r\n]*")
_LANGUAGES = frozenset({"py", "python", "python3"})


class Markdown(PartedFile):
    """A Markdown file: its Python blocks are read as one program, in their order.

    Args:
        text: The whole file.
    """

    def __init__(self, text: str) -> None:
        self._indents: dict[Part, str] = {}
        parts, unread = [], []
        for part, indent in _blocks(text):
            if is_python(part.text):
                parts.append(part)
                self._indents[part] = indent
            else:
                unread.append((part, "this block is not read: it is no Python"))
        super().__init__(text, parts, unread)

    def written(self, part: Part, changed: str) -> str:
        """How a changed block stands in the file: with its indentation."""
        indent = self._indents[part]
        return "".join(indent + line if line.strip() else line for line in changed.splitlines(keepends=True))


def _blocks(text: str) -> Iterator[tuple[Part, str]]:
    """The Python blocks, and how far each is indented."""
    at, open_at, fence, indent, wanted = 0, -1, "", "", False
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        found = _OPENING.match(line)
        if open_at < 0 and found:
            indent, fence = found[1], found[2]
            wanted = found[3].lower() in _LANGUAGES
            open_at = at + len(line)
        elif open_at >= 0 and len(bare) >= len(fence) and bare == fence[0] * len(bare):
            if wanted:
                yield Part(open_at, at, _outdented(text[open_at:at], indent)), indent
            open_at = -1
        at += len(line)


def _outdented(text: str, indent: str) -> str:
    """A block without its indentation; one that is not indented evenly stays, and is no Python then."""
    lines = text.splitlines(keepends=True)
    if any(line.strip() and not line.startswith(indent) for line in lines):
        return text
    return "".join(line[len(indent) :] if line.strip() else line for line in lines)
