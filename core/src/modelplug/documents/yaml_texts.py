"""Writes entries of a YAML tree, moved or new, for new places: as lines of a block or between brackets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.documents.brackets import BracketRenderer
from modelplug.documents.delimited import Chunk, Comments
from modelplug.documents.nodes import LIST, MAPPING, SCALAR, Entry, Node, Source
from modelplug.documents.rendering import Piece
from modelplug.documents.splices import NEWLINE, indent_at, reindent, spliced
from modelplug.documents.yaml_blocks import block_chunks, line_end, shifted
from modelplug.documents.yaml_reader import BLOCK, EMPTY, FLOW, YamlSource
from modelplug.documents.yaml_scalars import is_plain_in_flow, scalar_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.documents.nodes import Place

__all__ = ["YamlTextRenderer"]

_COMMENTS = Comments(line="#", any=re.compile(r"#[^\r\n]*"), same_line=re.compile(r"[ \t]*(?:#[^\r\n]*)?"))
_COMMENT = re.compile(r"(?:^|(?<=[\s\ufeff]))#[^\r\n]*", re.MULTILINE)


class YamlTextRenderer(BracketRenderer):
    """Writes entries for new places.

    Args:
        text: The original text, ending with a line break.
        root: The tree as it is now.
        scalars: Where scalars stand in the text.
        newline: How lines end.
    """

    def __init__(self, text: str, root: Node, scalars: list[tuple[int, int]], *, newline: str) -> None:
        super().__init__(text, root, _COMMENTS, newline=newline, unit=" " * _unit(root))
        self.scalars = scalars

    def key_text(self, key: Any) -> str:
        """A key that means the same in every version of YAML."""
        return scalar_text(key)

    def scalar_text(self, value: Any) -> str:
        """A scalar that means the same in every version of YAML."""
        return scalar_text(value)

    def find_comments(self) -> Iterator[tuple[int, int]]:
        """Where the comments stand: number signs outside of scalars."""
        at = 0
        for start, end in [*self.scalars, (len(self.text), len(self.text))]:
            yield from (found.span() for found in _COMMENT.finditer(self.text, at, start))
            at = end
            if self.text[start : start + 1] in ("|", ">"):
                header = _COMMENT.search(self.text, start, line_end(self.text, start))
                if header:
                    yield header.span()

    def chunks(self, source: Source) -> list[Chunk]:
        """The entries of a block or of brackets, with what belongs to each."""
        assert isinstance(source, YamlSource)
        if source.style == FLOW:
            return super().chunks(source)
        known = self._chunks.get(id(source))
        if known is None:
            known = block_chunks(self.text, source) if source.style == BLOCK else [_pair(source.places[0])]
            self._chunks[id(source)] = known
        return known

    def is_inline(self, node: Node) -> bool:
        """Whether a new value stands on one line even in a block."""
        if node.kind == MAPPING:
            return not node.entries
        return node.kind != LIST or all(
            self.is_inline(e.value) and e.value.kind != LIST for e in node.entries
        )

    def inline_text(self, node: Node, style: str = "") -> str:
        """A new value on one line, text with the quotation marks that were there before."""
        if node.kind == SCALAR:
            return scalar_text(node.scalar, style if style in ("'", '"') else "")
        return self.written(node, "", inline=True)

    def node_lines(self, node: Node, column: int) -> str:
        """The entries of a new value that does not stand on one line."""
        if node.kind == MAPPING:
            return self.block_lines(node.entries, column)
        return "".join(self.item_lines(entry.value, column) for entry in node.entries)

    def item_lines(self, node: Node, column: int) -> str:
        """A new item of a list."""
        dash = " " * column + "-"
        if self.is_inline(node):
            return f"{dash} {self.inline_text(node)}{self.newline}"
        lines = self.behind_dash(self.node_lines(node, column + 2), column + 2)
        return dash + (lines if lines.startswith(self.newline) else f" {lines}")

    def block_lines(self, entries: list[Entry], column: int) -> str:
        """Entries, moved or new, as lines of a block."""
        return "".join(self.entry_lines(entry, column) for entry in entries)

    def entry_lines(self, entry: Entry, column: int) -> str:
        """An entry, moved or new, as lines of a block."""
        if entry.parent.kind == LIST:
            return self.item_lines(entry.value, column)
        if not entry.places:
            return f"{' ' * column}{self.key_text(entry.key)}:{self.value_lines(entry.value, column)}"
        home = entry.home.source if entry.home else None
        assert isinstance(home, YamlSource)
        (chunk,) = self.chunks_for(entry)
        if home.style != BLOCK:
            return self.lines_from_brackets(chunk, column)
        lines = spliced(self.text, chunk.lead, chunk.stop, self.entry_splices(chunk.place))
        return shifted(lines if chunk.starts_line else " " * home.column + lines, column - home.column)

    def behind_dash(self, lines: str, column: int) -> str:
        """Lines of a block, to stand behind a dash and a blank."""
        return self.newline + lines if lines.lstrip(" ").startswith("#") else lines[column:]

    def value_lines(self, node: Node, column: int) -> str:
        """A new value behind the colon of a key that stands in `column`."""
        if self.is_inline(node):
            return f" {self.inline_text(node)}{self.newline}"
        return self.newline + self.node_lines(node, column + len(self.unit))

    def lines_from_brackets(self, chunk: Chunk, column: int) -> str:
        """An entry that stood in brackets, as lines of a block."""
        place, entry, indent = chunk.place, chunk.place.entry, " " * column
        above = self.comments.of(self.text[chunk.first : place.start])
        behind = self.comments.of(self.tail(chunk, indent))
        between = self.comments.of(self.text[place.key_end : place.value_start])
        lead = "".join(f"{indent}{comment}{self.newline}" for comment in above + between + behind[:-1])
        key = self.text[place.key_start : place.key_end]
        if entry.name != entry.original_name:
            key = self.key_text(entry.key)
        node = entry.value
        if node.source is None:
            if not self.is_inline(node):
                lead += "".join(f"{indent}{comment}{self.newline}" for comment in behind[-1:])
                return f"{lead}{indent}{key}:{self.value_lines(node, column)}"
            value = " " + self.inline_text(node)
        else:
            body = spliced(self.text, node.source.start, node.source.end, self.splices(node))
            value = (
                " " + _deepened(reindent(body, indent_at(self.text, place.start), indent), column)
                if body
                else ""
            )
        tail = f" {behind[-1]}" if behind else ""
        return f"{lead}{indent}{key}:{value}{tail}{self.newline}"

    def moved(self, chunk: Chunk, indent: str, *, inline: bool) -> Piece:
        """An entry that stood elsewhere, for a place between brackets."""
        entry = chunk.place.entry
        source = entry.home.source if entry.home else None
        if source is not None and source.style != BLOCK:
            piece = super().moved(chunk, indent, inline=inline)
            return attrs.evolve(piece, core=piece.core + " ") if piece.core.endswith(":") else piece
        comments = self.comments_between(chunk.first, chunk.stop)
        for inner in entry.value.walk():
            if inner.places and inner.home is not inner.parent:
                comments += [
                    c for part in self.chunks_for(inner) for c in self.comments_between(part.first, part.stop)
                ]
        lead = "".join(f"{comment}{self.newline}{indent}" for comment in comments)
        return Piece(lead, self.in_brackets(entry), "")

    def in_brackets(self, entry: Entry) -> str:
        """An entry that stood in a block, without its comments, as it can stand between brackets."""
        value = self.node_in_brackets(entry.value)
        if entry.parent.kind == LIST:
            return value
        place = entry.places[-1] if entry.places else None
        if place is not None and entry.name == entry.original_name:
            key = self.text[place.key_start : place.key_end]
            can_stay = key[0] in "\"'" or entry in entry.parent.merges or is_plain_in_flow(key)
            key = key if can_stay else self.key_text(entry.key)
        else:
            key = self.key_text(entry.key)
        return f"{key}: {value}"

    def node_in_brackets(self, node: Node) -> str:
        """A value that stood in a block, as it can stand between brackets."""
        source = node.source
        if not isinstance(source, YamlSource):
            if node.kind == SCALAR:
                return scalar_text(node.scalar)
        elif (
            source.style == FLOW
            and "\n" not in self.text[source.start : source.end]
            and not super().splices(node)
        ):
            return self.text[source.start : source.end]
        elif node.kind == SCALAR:
            return self.scalar_in_brackets(node, source)
        entries = [self.in_brackets(entry) for entry in node.merges + node.entries]
        opening, closing = "{}" if node.kind == MAPPING else "[]"
        head = ""
        if isinstance(source, YamlSource) and source.start < source.hook:
            head = self.text[source.start : source.hook] + " "  # its anchor and tag
        return head + opening + ", ".join(entries) + closing

    def scalar_in_brackets(self, node: Node, source: YamlSource) -> str:
        """A scalar of a block, as it was written if that means the same in brackets."""
        written = self.text[source.start : source.end]
        if source.style == EMPTY:
            return f"{written} null".lstrip()
        if source.style == "alias" or (source.style in ("'", '"') and not NEWLINE.search(written)):
            return written
        content = self.text[source.content : source.end]
        if source.style == "plain" and is_plain_in_flow(content):
            return written
        return self.text[source.start : source.content] + scalar_text(node.scalar)


def _pair(place: Place) -> Chunk:
    return Chunk(
        place=place,
        first=place.start,
        lead=place.start,
        tail=place.end,
        stop=place.end,
        starts_line=False,
        ends_line=False,
    )


def _unit(node: Node) -> int:
    """How much deeper the first block inside another one is indented."""
    for entry in node.walk():
        source, outer = entry.value.source, entry.home.source if entry.home else None
        if isinstance(source, YamlSource) and isinstance(outer, YamlSource) and entry.home is not None:
            is_nested = (
                source.style == outer.style == BLOCK and entry.value.kind == entry.home.kind == MAPPING
            )
            if is_nested and source.column > outer.column:
                return source.column - outer.column
    return 2


def _deepened(text: str, column: int) -> str:
    """A value of several lines, each but the first indented deeper than `column`."""
    lines = NEWLINE.split(text)
    indents = [len(line) - len(line.lstrip(" ")) for line in lines[1:] if line.strip()]
    if not indents or min(indents) > column:
        return text
    first, *_ = lines
    return first + shifted(text[len(first) :], column + 2 - min(indents))
