"""Renders containers in brackets (JSON, flow YAML, inline TOML) against their original text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.documents.nodes import LIST, MAPPING, Entry, Node, Place, Source
from modelplug.documents.rendering import Piece, Renderer
from modelplug.documents.splices import NEWLINE, Splice, indent_at, line_start, reindent, spliced

if TYPE_CHECKING:
    from modelplug.documents.delimited import Chunk

__all__ = ["BracketRenderer"]


class BracketRenderer(Renderer):
    """Makes the text of an edited tree whose containers stand in brackets."""

    # Containers that stand in the text --------------------------------------------------------------------

    def splices(self, node: Node) -> list[Splice]:
        """What has to change in the original text of a value."""
        source = node.source
        if source is None or node.kind not in (MAPPING, LIST):
            return []
        present = {id(entry) for entry in node.entries + node.merges}
        stays = [place for place in source.places if id(place.entry) in present]
        splices = [splice for place in stays for splice in self.entry_splices(place)]
        arrivals = [entry for entry in node.entries if entry.home is not node]
        if len(stays) < len(source.places) or arrivals:
            splices += self.membership(node, source, stays, arrivals)
        return splices

    def entry_splices(self, place: Place) -> list[Splice]:
        """What has to change inside an entry that stays where it was."""
        entry, splices = place.entry, []
        if entry.name != entry.original_name:
            splices.append(Splice(place.key_start, place.key_end, self.key_text(entry.key)))
        if place is entry.places[-1]:
            if entry.value is entry.original:
                splices += self.splices(entry.value)
            else:
                splices.append(Splice(place.value_start, place.end, self.replacement(place)))
        return splices

    def replacement(self, place: Place) -> str:
        """The new value of an entry that stays."""
        original = place.entry.original
        written = self.text[place.value_start : place.end]
        inline = not self.starts_line(place.start) or (
            original is not None
            and bool(original.source and original.source.places)
            and not NEWLINE.search(written)
        )
        return self.value_text(place.entry, indent_at(self.text, place.start), inline=inline)

    def membership(
        self, node: Node, source: Source, stays: list[Place], arrivals: list[Entry]
    ) -> list[Splice]:
        """What has to change because entries left or came."""
        if not source.places:
            return self.first_entries(node, source, arrivals)
        chunks, kept = self.chunks(source), {id(place) for place in stays}
        splices: list[Splice] = []
        last = max((i for i, chunk in enumerate(chunks) if id(chunk.place) in kept), default=-1)
        for position, chunk in enumerate(chunks):
            if id(chunk.place) not in kept:
                after = splices[-1].end if splices else source.start + 1
                splices.append(self.departure(chunk, after, alone=not stays, at_end=position > last))
        # The original entries stand together: what was put in stands before the first or behind the last.
        before = next((i for i, entry in enumerate(node.entries) if entry.home is node), 0)
        front, end = arrivals[:before], arrivals[before:]
        trailing = source.places[-1].comma is not None
        splices += self.commas(stays, trailing=trailing, more=bool(end))
        splices += self.at_front(
            chunks, front, departed=splices[0] if id(chunks[0].place) not in kept else None
        )
        splices += self.at_end(chunks, stays, end)
        if not node.entries:
            inner = spliced(self.text, source.start + 1, source.end - 1, splices)
            if not inner.strip():
                return [Splice(source.start + 1, source.end - 1, "")]
        return splices

    def commas(self, stays: list[Place], *, trailing: bool, more: bool) -> list[Splice]:
        """Commas that are missing now, or too many."""
        splices = []
        for place in stays:
            wanted = more or trailing or place is not stays[-1]
            if wanted and place.comma is None:
                splices.append(Splice(place.end, place.end, self.comma_after(place)))
            elif not wanted and place.comma is not None:
                splices.append(Splice(place.comma, place.comma + 1, ""))
        return splices

    def comma_after(self, place: Place) -> str:  # noqa: ARG002  YAML asks for it
        """The comma to put behind an entry that had none."""
        return ","

    # Entries that leave -----------------------------------------------------------------------------------

    def departure(self, chunk: Chunk, after: int, *, alone: bool, at_end: bool) -> Splice:
        """Takes an entry out of the text behind `after`; its comments stay unless it lives on elsewhere."""
        start, end = chunk.cut(self.text, alone=alone, at_end=at_end)
        start = max(start, after)
        if id(chunk.place.entry) in self.alive:
            return Splice(start, end, "")
        place, indent = chunk.place, indent_at(self.text, chunk.place.start)
        rest = self.comments_between(place.start, chunk.tail)
        if chunk.owns_lines:
            kept = self.lead_lines(chunk) + "".join(f"{indent}{comment}{self.newline}" for comment in rest)
            return Splice(start, end, kept)
        every = self.comments_between(chunk.first, chunk.tail)
        closed = not NEWLINE.match(self.text, end)
        kept = self.comments.joined(every, self.newline + indent, closed=closed)
        gap = self.text[start : chunk.first]
        if kept.startswith("#") and not gap and self.text[start - 1] not in " \t\r\n":
            gap = " "  # without it, this would be no comment
        return Splice(start, end, gap + kept if kept else "")

    def lead_lines(self, chunk: Chunk) -> str:
        """The whole lines of comments above an entry."""
        start = chunk.place.start
        own = line_start(self.text, start)
        if not self.text[own:start].strip(" \t"):
            return self.text[chunk.lead : own]
        return self.text[chunk.lead : start].rstrip(" \t") + self.newline

    # Entries that arrive ----------------------------------------------------------------------------------

    def first_entries(self, node: Node, source: Source, arrivals: list[Entry]) -> list[Splice]:
        """Puts entries into a container that was empty, at most with a comment in it."""
        inner = self.text[source.start + 1 : source.end - 1]
        at = source.start + 1 + len(inner.rstrip(" \t\r\n"))
        outer = indent_at(self.text, source.start)
        owner = node.owner.places[-1] if node.owner and node.owner.places else None
        if not (NEWLINE.search(inner) or owner is None or self.starts_line(owner.start)):
            gap = " " if inner.strip() else ""
            return [Splice(at, at, gap + self.on_one_line(arrivals, outer, ", "))]
        added = self.newline + self.on_lines(arrivals, outer + self.unit, comma_last=False)
        if NEWLINE.search(self.text[at : source.end - 1]):
            return [Splice(at, at, added.removesuffix(self.newline))]
        return [Splice(at, at, added + outer)]

    def at_front(
        self, chunks: list[Chunk], arrivals: list[Entry], *, departed: Splice | None
    ) -> list[Splice]:
        """Puts entries before the first one, which may have departed."""
        if not arrivals:
            return []
        first = chunks[0]
        indent = indent_at(self.text, first.place.start)
        if first.starts_line:
            return [Splice(first.lead, first.lead, self.on_lines(arrivals, indent, comma_last=True))]
        at = departed.start if departed else first.first
        separator = self.separator(chunks)
        return [Splice(at, at, self.on_one_line(arrivals, indent, separator) + separator)]

    def at_end(self, chunks: list[Chunk], stays: list[Place], arrivals: list[Entry]) -> list[Splice]:
        """Puts entries after the last one."""
        if not arrivals:
            return []
        last = chunks[-1]
        comma_last = last.place.comma is not None
        indent = indent_at(self.text, last.place.start)
        if last.owns_lines:
            return [Splice(last.stop, last.stop, self.on_lines(arrivals, indent, comma_last=comma_last))]
        if not stays:
            added = self.on_one_line(arrivals, indent, self.separator(chunks))
            return [Splice(last.first, last.first, added + ("," if comma_last else ""))]
        anchor = next(chunk for chunk in chunks if chunk.place is stays[-1])
        if anchor.ends_line:
            return [Splice(anchor.stop, anchor.stop, self.on_lines(arrivals, indent, comma_last=comma_last))]
        at = anchor.tail
        if last.starts_line:
            added = self.newline + self.on_lines(arrivals, indent, comma_last=comma_last)
            added = added.removesuffix(self.newline)
            closing = self.newline + indent if self.is_open(arrivals[-1], indent) else ""
            return [Splice(at, at, added + closing)]
        separator = self.separator(chunks)
        added = self.on_one_line(arrivals, indent, separator)
        gap = "" if added.startswith(self.newline) else separator.removeprefix(",")
        return [Splice(at, at, gap + added + ("," if comma_last else ""))]

    def on_lines(self, entries: list[Entry], indent: str, *, comma_last: bool) -> str:
        """New entries, each on lines of its own."""
        pieces = [piece for entry in entries for piece in self.pieces(entry, indent, inline=False)]
        lines = []
        for piece in pieces:
            comma = "," if comma_last or piece is not pieces[-1] else ""
            lines.append(f"{indent}{piece.lead}{piece.core}{comma}{piece.tail}{self.newline}")
        return "".join(lines)

    def on_one_line(self, entries: list[Entry], indent: str, separator: str) -> str:
        """New entries one behind the other; comments that end with their line break it."""
        parts, broken = [], self.newline + indent + self.unit
        for piece in (piece for entry in entries for piece in self.pieces(entry, indent, inline=True)):
            above, behind = self.comments.of(piece.lead), self.comments.of(piece.tail)
            lead = self.comments.joined(above, broken, closed=True)
            tail = self.comments.joined(behind, broken, closed=True)
            parts.append(
                (broken if broken in lead else "")
                + lead
                + piece.core
                + (" " + tail.rstrip(" ") if tail else "")
            )
        return separator.join(parts).replace(f", {self.newline}", f",{self.newline}")

    def separator(self, chunks: list[Chunk]) -> str:
        """The comma of a container written on one line, with a blank if it writes one."""
        comma = chunks[0].place.comma if len(chunks) > 1 else None
        return ", " if comma is None or self.text[comma + 1] in " \t\r\n" else ","

    def is_open(self, entry: Entry, indent: str) -> bool:
        """Whether an entry ends with a comment that would swallow what follows on the line."""
        comments = self.comments.of(self.pieces(entry, indent, inline=False)[-1].tail)
        return bool(comments) and comments[-1].startswith(self.comments.line)

    # Text for new places ----------------------------------------------------------------------------------

    def pieces(self, entry: Entry, indent: str, *, inline: bool) -> list[Piece]:
        """An entry, moved or new, written for a place on a line that begins with `indent`."""
        if not entry.places:
            key = "" if entry.parent.kind == LIST else self.key_text(entry.key) + self.colon
            return [Piece("", key + self.value_text(entry, indent, inline=inline), "")]
        return [self.moved(chunk, indent, inline=inline) for chunk in self.chunks_for(entry)]

    def moved(self, chunk: Chunk, indent: str, *, inline: bool) -> Piece:
        """An entry that stood elsewhere, with its comments."""
        place, entry, text = chunk.place, chunk.place.entry, self.text
        old = indent_at(text, place.start)
        key = text[place.start : place.key_start]
        key += (
            text[place.key_start : place.key_end]
            if entry.name == entry.original_name
            else self.key_text(entry.key)
        )
        key += reindent(text[place.key_end : place.value_start], old, indent)
        value = (
            self.value_text(entry, indent, inline=inline)
            if place is entry.places[-1]
            else reindent(text[place.value_start : place.end], old, indent)
        )
        return Piece(
            reindent(text[chunk.first : place.start], old, indent), key + value, self.tail(chunk, indent)
        )

    def tail(self, chunk: Chunk, indent: str) -> str:
        """The comments behind an entry, without its comma, as they can stand behind it elsewhere."""
        place = chunk.place
        comma = chunk.tail if place.comma is None else place.comma
        before, after = self.text[place.end : comma], self.text[comma + 1 : chunk.tail]
        if NEWLINE.search(before):
            comments = self.comments.of(before) + self.comments.of(after)
            return (
                " " + self.comments.joined(comments, self.newline + indent, closed=False) if comments else ""
            )
        return (before + after).rstrip(" \t")

    def value_text(self, entry: Entry, indent: str, *, inline: bool) -> str:
        """The value of an entry, for a line that begins with `indent`."""
        node = entry.value
        if node.source is None:
            return self.written(node, indent, inline=inline)
        body = spliced(self.text, node.source.start, node.source.end, self.splices(node))
        return reindent(body, indent_at(self.text, entry.places[-1].start), indent)

    def written(self, node: Node, indent: str, *, inline: bool) -> str:
        """A new value."""
        if node.kind not in (MAPPING, LIST):
            return self.scalar_text(node.scalar)
        opening, closing = "{}" if node.kind == MAPPING else "[]"
        if not node.entries:
            return opening + closing
        flat = node.kind == LIST and all(entry.value.kind not in (MAPPING, LIST) for entry in node.entries)
        if inline or flat:
            return opening + self.on_one_line(node.entries, indent, ", ") + closing
        body = self.on_lines(node.entries, indent + self.unit, comma_last=False)
        return opening + self.newline + body + indent + closing
