"""JSON, with comments and trailing commas: read into a tree, and rendered from it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from modelplug import jsonspans
from modelplug.documents.brackets import BracketRenderer
from modelplug.documents.delimited import Comments
from modelplug.documents.dialect import Dialect
from modelplug.documents.errors import DocumentSyntaxError
from modelplug.documents.nodes import LIST, MAPPING, SCALAR, Entry, Node, Path, Place, Source
from modelplug.documents.splices import newline_of, spliced
from modelplug.jsonspans.style import Style, dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JsonFormat"]

_COMMENTS = Comments(
    line="//",
    any=re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL),
    same_line=re.compile(r"(?:[ \t]+|/\*.*?\*/)*(?://[^\r\n]*)?", re.DOTALL),
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*|/\*.*?\*/', re.DOTALL)
_KINDS = {"object": MAPPING, "array": LIST}


class JsonFormat(Dialect):
    """One JSON text."""

    name = "JSON"
    scalars = (type(None),)
    half_pairs = True
    documents = 1

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            parsed = jsonspans.parse(text)
        except jsonspans.JsonSyntaxError as error:
            raise DocumentSyntaxError(error.reason, line=error.line, column=error.column) from error
        self.offsets: dict[Path, int] = {(): parsed.start}
        self.duplicates: list[Path] = []
        self._parsed = parsed
        self.root = self._node(parsed, None, ())

    def render(self) -> str:
        """The text of the tree as it is now."""
        style = Style.of(self.text, self._parsed)
        renderer = _JsonRenderer(
            self.text, self.root, _COMMENTS, newline=newline_of(self.text), unit=style.unit
        )
        return spliced(self.text, 0, len(self.text), renderer.splices(self.root))

    def value_of(self, text: str) -> Any:
        """What a rendered text says, read independently of the tree."""
        try:
            return json.loads(text.removeprefix("\ufeff"))
        except ValueError:  # comments, or trailing commas
            return jsonspans.parse(text).value

    def _node(self, parsed: jsonspans.Node, owner: Entry | None, path: Path) -> Node:
        kind = _KINDS.get(parsed.kind, SCALAR)
        source = Source(parsed.start, parsed.end)
        node = Node(kind, parsed.scalar, source=source, owner=owner)
        if parsed.members:
            source.places = list(self._places(node, parsed, path))
        return node

    def _places(self, node: Node, parsed: jsonspans.Node, path: Path) -> Iterator[Place]:
        by_name: dict[str, Entry] = {}
        for position, member in enumerate(parsed.members):
            name = member.key or ""
            step = position if member.key is None else member.key
            here = (*path, step)
            entry = by_name.get(name) if member.key is not None else None
            if entry is None:
                entry = Entry(name, name, node, node, home=node, origin=here, index=len(node.entries))
                entry.original_name = entry.original_key = name
                node.entries.append(entry)
                by_name[name] = entry
            else:
                self.duplicates.append(here)
            entry.value = entry.original = self._node(member.value, entry, here)
            self.offsets[here] = member.start
            place = Place(
                start=member.start,
                key_start=member.start,
                key_end=member.key_end,
                value_start=member.value.start,
                end=member.end,
                comma=member.comma,
                entry=entry,
            )
            entry.places.append(place)
            yield place


class _JsonRenderer(BracketRenderer):
    def find_comments(self) -> Iterator[tuple[int, int]]:
        for found in _TOKEN.finditer(self.text):
            if not found.group().startswith('"'):
                yield found.span()

    def key_text(self, key: Any) -> str:
        return dumps(key)

    def scalar_text(self, value: Any) -> str:
        return dumps(value)
