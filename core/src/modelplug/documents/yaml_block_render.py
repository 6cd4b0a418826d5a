"""Renders YAML blocks whose entries changed: lines that go, lines that come, and brackets for empty ones."""

from __future__ import annotations

from modelplug.documents.delimited import Chunk
from modelplug.documents.nodes import LIST, MAPPING, Entry, Node, Place, Source
from modelplug.documents.splices import NEWLINE, Splice, blanks_before, indent_at, line_start, spliced
from modelplug.documents.yaml_blocks import is_compact, line_end, next_line
from modelplug.documents.yaml_reader import BLOCK, YamlSource
from modelplug.documents.yaml_texts import YamlTextRenderer

__all__ = ["YamlBlockRenderer"]


class YamlBlockRenderer(YamlTextRenderer):
    """Renders blocks whose entries changed.

    Attributes:
        is_single: Whether no other document follows.
    """

    is_single = True

    def membership(
        self, node: Node, source: Source, stays: list[Place], arrivals: list[Entry]
    ) -> list[Splice]:
        """What has to change because entries left or came."""
        assert isinstance(source, YamlSource)
        if source.style != BLOCK:
            return super().membership(node, source, stays, arrivals)
        splices: list[Splice] = []
        chunks, kept = self.chunks(source), {id(place) for place in stays}
        departures = [self.block_departure(chunk, source) for chunk in chunks if id(chunk.place) not in kept]
        before = next((i for i, entry in enumerate(node.entries) if entry.home is node), 0)
        front, end = arrivals[:before], arrivals[before:]
        if not stays and not arrivals:
            return self.emptied(node, source, departures)
        if is_compact(self.text, source):
            if stays:
                splices += self.compact_start(source, chunks, kept, departures, front)
            else:
                splices += self.compact_refilled(source, departures, end)
                end = []
        else:
            splices += departures
            lead = chunks[0].lead
            splices += [Splice(lead, lead, self.block_lines(front, source.column))] if front else []
        stop = chunks[-1].stop
        return splices + ([Splice(stop, stop, self.block_lines(end, source.column))] if end else [])

    def block_departure(self, chunk: Chunk, source: YamlSource) -> Splice:
        """Takes the lines of an entry out; its comments stay unless it lives on elsewhere."""
        if id(chunk.place.entry) in self.alive:
            return Splice(chunk.lead, chunk.stop, "")
        indent = " " * source.column
        comments = self.comments_between(chunk.place.start, chunk.stop)
        lines = "".join(f"{indent}{comment}{self.newline}" for comment in comments)
        lead = self.text[chunk.lead : line_start(self.text, chunk.place.start)] if chunk.starts_line else ""
        return Splice(chunk.lead, chunk.stop, lead + lines)

    def emptied(self, node: Node, source: YamlSource, departures: list[Splice]) -> list[Splice]:
        """Writes the brackets of a block that lost all its entries."""
        brackets = "{}" if node.kind == MAPPING else "[]"
        if is_compact(self.text, source):
            first = departures[0]
            text = brackets + self.newline + first.text
            return [Splice(first.start, first.end, text), *departures[1:]]
        if node.owner is None:
            begin = departures[0].start
            if node.kind == MAPPING and source.start == source.content and self.is_single:
                return departures  # a document that says nothing is an empty mapping
            return [Splice(begin, begin, brackets + self.newline), *departures]
        return [Splice(source.hook, source.hook, f" {brackets}"), *departures]

    def compact_start(
        self,
        source: YamlSource,
        chunks: list[Chunk],
        kept: set[int],
        departures: list[Splice],
        front: list[Entry],
    ) -> list[Splice]:
        """Rearranges the beginning of a block whose first entry stands behind a dash."""
        first, column = chunks[0], source.column
        added = self.block_lines(front, column)
        if id(first.place) in kept:
            if not front:
                return departures
            head = self.behind_dash(added, column) + " " * column
            return [self.at_dash(first.lead, first.lead, head), *departures]
        start, gone = first.lead, departures[0]
        if added:
            head = self.behind_dash(added, column)
            return [self.at_dash(start, gone.end, head + gone.text), *departures[1:]]
        heir = next(chunk for chunk in chunks if id(chunk.place) in kept)
        leading = [splice for splice in departures if splice.end <= heir.place.start]
        between = spliced(self.text, start, heir.place.start, leading)
        if not between.strip() and not NEWLINE.search(between):
            return [Splice(start, heir.place.start, ""), *departures[len(leading) :]]
        return [self.at_dash(start, gone.end, self.newline + gone.text), *departures[1:]]

    def compact_refilled(
        self, source: YamlSource, departures: list[Splice], arrivals: list[Entry]
    ) -> list[Splice]:
        """Puts new entries in the place of all entries of a block that begins behind a dash."""
        gone = departures[0]
        kept = "".join(splice.text for splice in departures)
        text = self.behind_dash(kept + self.block_lines(arrivals, source.column), source.column)
        rest = [Splice(splice.start, splice.end, "") for splice in departures[1:]]
        return [self.at_dash(gone.start, gone.end, text), *rest]

    def at_dash(self, start: int, end: int, text: str) -> Splice:
        """Puts text behind a dash, without the blank between them if it begins with a line break."""
        begin = blanks_before(self.text, start) if text.startswith(self.newline) else start
        return Splice(begin, end, text)

    def opened(self, node: Node, source: YamlSource) -> list[Splice]:
        """Puts entries into `{}` where a block can take its place."""
        assert node.owner is not None
        home = node.owner.home
        assert home is not None
        assert isinstance(home.source, YamlSource)
        column = home.source.column + len(self.unit)
        end = line_end(self.text, source.end)
        if home.kind == LIST and source.start == source.content and not self.text[source.end : end].strip():
            column = source.content - line_start(self.text, source.content)
            lines = self.behind_dash(self.block_lines(node.entries, column), column)
            return [self.at_dash(source.start, source.end, lines.removesuffix(self.newline))]
        after = next_line(self.text, source.end)
        lines = self.block_lines(node.entries, column)
        start = blanks_before(self.text, source.content)
        return [Splice(start, source.end, ""), Splice(after, after, lines)]

    def first_of_document(self, node: Node, source: YamlSource) -> list[Splice]:
        """Puts entries into a document that said nothing."""
        if not node.entries:
            return []
        at = source.start if self.text[source.start :].strip() else len(self.text)
        gap = "" if line_start(self.text, at) in (at, 0) else self.newline
        return [Splice(at, at, gap + self.block_lines(node.entries, 0))]

    def pair_splices(self, node: Node, source: YamlSource) -> list[Splice]:
        """What has to change in a `key: value` that stands in a list without braces."""
        place = source.places[0]
        stays = any(entry is place.entry for entry in node.entries)
        if stays and len(node.entries) == 1:
            return self.entry_splices(place)
        indent = indent_at(self.text, place.start)
        parts = (
            [] if stays or id(place.entry) in self.alive else self.comments_between(source.start, source.end)
        )
        head = self.comments.joined(parts, self.newline + indent + self.unit, closed=True)
        entries = [
            spliced(self.text, place.start, place.end, self.entry_splices(place))
            if entry is place.entry
            else self.on_one_line([entry], indent, ", ")
            for entry in node.entries
        ]
        return [Splice(source.start, source.end, "{" + head + ", ".join(entries) + "}")]
