"""Renders the values of an edited TOML tree: arrays and tables in braces, as they stand in statements."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modelplug.documents.brackets import BracketRenderer
from modelplug.documents.delimited import Chunk, Comments
from modelplug.documents.nodes import LIST, MAPPING, SCALAR, Entry, Node, Place, Source, same
from modelplug.documents.rendering import Piece
from modelplug.documents.splices import Splice, spliced
from modelplug.documents.toml_reader import DOTTED
from modelplug.documents.toml_scalars import key_text, scalar_text
from modelplug.documents.toml_scanner import ARRAY, INLINE, Scanned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelplug.documents.toml_reader import TomlReader

__all__ = ["TomlValueRenderer", "nodes_of"]

_COMMENTS = Comments(line="#", any=re.compile(r"#[^\r\n]*"), same_line=re.compile(r"[ \t]*(?:#[^\r\n]*)?"))
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'"
    r"|#[^\r\n]*",
    re.DOTALL,
)


class TomlValueRenderer(BracketRenderer):
    """Makes the text of values.

    No comment can stand in braces. Those of entries that come to stand there are collected, to be put above
    the statement that holds the braces.

    Args:
        text: The original text, ending with a line break.
        reader: What was read from it.
        newline: How lines end.

    Attributes:
        lifted: The comments that have to go above the statement that is being written.
    """

    colon = " = "

    def __init__(self, text: str, reader: TomlReader, *, newline: str) -> None:
        super().__init__(text, reader.root, _COMMENTS, newline=newline, unit="  ")
        self.reader = reader
        self.lifted: list[str] = []

    def key_text(self, key: Any) -> str:
        """A name as a key."""
        return key_text(key)

    def scalar_text(self, value: Any) -> str:
        """A scalar on one line."""
        return scalar_text(value)

    def find_comments(self) -> Iterator[tuple[int, int]]:
        """Where the comments stand: number signs outside of quotation marks."""
        for found in _TOKEN.finditer(self.text):
            if found.group().startswith("#"):
                yield found.span()

    def splices(self, node: Node) -> list[Splice]:
        """What has to change in a value."""
        source = node.source
        if not isinstance(source, Scanned) or source.style not in (ARRAY, INLINE, DOTTED):
            return []
        if source.style == DOTTED:
            if same(node.plain, self.reader.written[id(node)]):
                return []
            self.lifted += self.loose_comments([(source.start, source.end)], nodes_of(node))
            return [Splice(source.start, source.end, self.in_braces(node))]
        return super().splices(node)

    def departure(self, chunk: Chunk, after: int, *, alone: bool, at_end: bool) -> Splice:
        """Takes an entry out; its comments stay, if need be above the statement."""
        home = chunk.place.entry.home
        splice = super().departure(chunk, after, alone=alone, at_end=at_end)
        if home is None or home.kind == LIST or id(chunk.place.entry) in self.alive:
            return splice
        # No comment can stand in braces, but in an array in them.
        self.lifted += self.comments_between(chunk.place.start, chunk.tail)
        return Splice(splice.start, splice.end, "")

    def first_entries(self, node: Node, source: Source, arrivals: list[Entry]) -> list[Splice]:
        """Puts entries into empty brackets."""
        inner = self.text[source.start + 1 : source.end - 1]
        if inner.strip():
            return super().first_entries(node, source, arrivals)
        text = self.on_one_line(arrivals, "", ", ")
        return [Splice(source.start + 1, source.end - 1, text if node.kind == LIST else f" {text} ")]

    def replacement(self, place: Place) -> str:
        """The new value of an entry that stays, text with the quotation marks it had."""
        node = place.entry.value
        if node.kind == SCALAR:
            return scalar_text(node.scalar, self.text[place.value_start])
        return self.written(node, "", inline=True)

    def pieces(self, entry: Entry, indent: str, *, inline: bool) -> list[Piece]:  # noqa: ARG002  always inline
        """An entry written for a place between brackets."""
        if entry.parent.kind == LIST:
            return [Piece("", self.in_line(entry.value), "")]
        return [Piece("", self.piece_core(entry), "")]

    def piece_core(self, entry: Entry) -> str:
        """Key and value of an entry; its comments are lifted above the statement it gets into."""
        if entry.home is not None and entry.home is not entry.parent:
            self.lifted += self.loose_comments(self.ranges(entry), nodes_of(entry.value))
        return f"{self.written_key(entry)} = {self.in_line(entry.value)}"

    def written_key(self, entry: Entry) -> str:
        """A key as it was written, or a new name."""
        place = entry.places[-1] if entry.places else None
        if place is None or entry.name != entry.original_name:
            return key_text(entry.name)
        return self.text[place.key_start : place.key_end]

    def loose_comments(self, ranges: list[tuple[int, int]], nodes: Iterable[Node]) -> list[str]:
        """The comments in parts of the text that are not inside values which are written as they were."""
        sources = [node.source for node in nodes if isinstance(node.source, Scanned)]
        inside = [(source.start, source.end) for source in sources if source.style != DOTTED]
        return [comment for start, end in ranges for comment in self.comments_between(start, end, inside)]

    def in_line(self, node: Node) -> str:
        """A value that can stand in a statement, with all it holds."""
        source = node.source
        if isinstance(source, Scanned):
            return spliced(self.text, source.start, source.end, self.splices(node))
        if source is None:
            return self.written(node, "", inline=True)
        if node.kind == LIST:
            return "[" + ", ".join(self.in_line(entry.value) for entry in node.entries) + "]"
        return self.in_braces(node)

    def in_braces(self, node: Node) -> str:
        """A table between braces."""
        entries = [
            self.piece_core(entry)
            if entry.home is not node
            else f"{self.written_key(entry)} = {self.in_line(entry.value)}"
            for entry in node.entries
        ]
        return "{ " + ", ".join(entries) + " }" if entries else "{}"

    def written(self, node: Node, indent: str, *, inline: bool) -> str:  # noqa: ARG002  always inline
        """A new value on one line."""
        if node.kind == MAPPING:
            return self.in_braces(node)
        return super().written(node, indent, inline=True)


def nodes_of(node: Node) -> list[Node]:
    """A value and all values in it."""
    return [node, *(entry.value for entry in node.walk())]
