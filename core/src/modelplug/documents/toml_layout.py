"""Decides where each part of an edited TOML tree goes: which sections stay, go, move, and follow which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.documents.nodes import LIST, MAPPING, Entry, Node
from modelplug.documents.toml_reader import TABLE, TABLES, Line, Section, TableSource

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEAD", "HOME", "MOVED", "Added", "Fate", "Layout", "is_table"]

HOME, MOVED, DEAD = "home", "moved", "dead"


@attrs.frozen
class Fate:
    """What became of a statement or section.

    Attributes:
        kind: `HOME` if it stays where it is, `MOVED`, or `DEAD`.
        carrier: The entry that carried it away, if it moved.
        depth: The position of that entry in the chain of entries.
    """

    kind: str
    carrier: Entry | None = None
    depth: int = 0


@attrs.define(eq=False)
class Added:
    """A section that the original text does not have.

    Attributes:
        node: The table it opens.
        entry: The entry that holds the table.
        is_item: Whether it is an item of an array of tables.
        has_header: Whether a header is needed, or the sections below it define the table.
    """

    node: Node
    entry: Entry
    is_item: bool = False
    has_header: bool = True


class Layout:
    """Where everything of a tree goes.

    Attributes:
        following: The sections that follow a section, by its identity.
        before: The sections to put before a section.
        below: The tables whose new statements go below a statement, by its identity; with the depth at which
            its key leads through the table.
        written: The entries that need a statement of their own, by the identity of their table.
    """

    def __init__(self, root: Node, sections: list[Section], alive: set[int]) -> None:
        self.root = root
        self.sections = sections
        self.alive = alive
        self.following: dict[int, list[Section | Added]] = {}
        self.before: dict[int, list[Added]] = {}
        self.below: dict[int, list[tuple[Node, int]]] = {}
        self.written: dict[int, list[Entry]] = {}
        self._added: dict[int, Added] = {}
        self._carried: dict[int, list[Section]] = {}
        self._fates: dict[int, Fate] = {}
        for section in sections:
            fate = self.fate(section)
            if fate.carrier is not None:
                self._carried.setdefault(id(fate.carrier), []).append(section)
        self._arrange(root)

    # What became of the original parts --------------------------------------------------------------------

    def fate(self, section: Section) -> Fate:
        """What became of a section."""
        known = self._fates.get(id(section))
        if known is None:
            known = self._fate(section.chain, section.node)
            self._fates[id(section)] = known
        return known

    def line_fate(self, line: Line) -> Fate:
        """What became of a statement, seen from its section."""
        known = self._fates.get(id(line))
        if known is None:
            known = self._fate(line.entries, None)
            if known.kind == HOME and self.fate(line.section).kind == DEAD:
                known = Fate(DEAD)
            self._fates[id(line)] = known
        return known

    def _fate(self, chain: list[Entry], node: Node | None) -> Fate:
        moved = [depth for depth, entry in enumerate(chain) if entry.parent is not entry.home]
        begin = moved[-1] if moved else 0
        if not all(id(entry) in self.alive for entry in chain[begin:]):
            return Fate(DEAD)
        for entry in chain[begin:]:
            is_last = entry is chain[-1]
            if (not is_last or node is not None) and (
                entry.value is not entry.original or degraded(entry.value)
            ):
                return Fate(DEAD)
        return Fate(MOVED, chain[begin], begin) if moved else Fate(HOME)

    # Where the new parts go -------------------------------------------------------------------------------

    def _arrange(self, node: Node) -> None:
        """Place what is new in a table or an array of tables, then what is new below it."""
        lines: list[Entry] = []
        groups: list[Section | Added] = []
        for entry in node.entries:
            if self._needs_line(entry) or self.carried_lines(entry):
                lines.append(entry)
            if is_table(entry):
                new = entry.value.source is None
                groups += [self._add(entry)] if new else self.carried_sections(entry)
        if lines or not node.entries:
            self._write(node, lines)
        if groups:
            anchor = id(self._anchor(node))
            self.following[anchor] = groups + self.following.get(anchor, [])
        for entry in node.entries:
            if is_table(entry):
                self._arrange(entry.value)

    def _needs_line(self, entry: Entry) -> bool:
        """Whether an entry must be written as a statement that the text does not have, or not there."""
        return not is_table(entry) and not (entry.places and entry.home is entry.parent)

    def _add(self, entry: Entry) -> Added:
        inside = entry.value.entries
        has_lines = any(self._needs_line(inner) or self.carried_lines(inner) for inner in inside)
        is_item = entry.parent.kind == LIST
        added = Added(entry.value, entry, is_item, is_item or has_lines or not inside)
        self._added[id(entry.value)] = added
        return added

    def carried_sections(self, entry: Entry) -> list[Section]:
        """The sections that an entry which moved brings along."""
        return self._carried.get(id(entry), [])

    def carried_lines(self, entry: Entry) -> list[Line]:
        """The statements with dotted keys that a table which moved brings along."""
        if not is_table(entry) or entry.home is entry.parent or entry.home is None:
            return []
        source = entry.value.source
        lines = source.lines if isinstance(source, TableSource) else []
        return [line for line in lines if self.line_fate(line).carrier is entry]

    def _write(self, node: Node, lines: list[Entry]) -> None:
        """Decide where the new statements of a table go."""
        source = node.source
        if node.kind == LIST:
            return
        if lines:
            self.written[id(node)] = lines
        if not isinstance(source, TableSource):
            return
        if source.section is not None and (
            not source.section.chain or self.fate(source.section).kind != DEAD
        ):
            return
        located = [(line, depth) for line in source.lines for depth in self._depths(line, node)]
        if located and lines:
            line, depth = located[-1]
            self.below.setdefault(id(line), []).append((node, depth))
            return
        if not lines and (located or self._members(node)):
            return
        assert node.owner is not None
        added = self._added[id(node)] = Added(node, node.owner)
        members = self._members(node)
        if members:
            self.before.setdefault(id(members[0]), []).append(added)
        else:
            anchor = id(self._anchor(node.owner.parent))
            self.following[anchor] = [added, *self.following.get(anchor, [])]

    def _depths(self, line: Line, node: Node) -> Iterator[int]:
        """At which depth a living statement leads through a table, if it still does."""
        fate = self.line_fate(line)
        for depth, entry in enumerate(line.entries):
            if entry.value is node and fate.kind != DEAD and (fate.kind == HOME or fate.depth <= depth):
                yield depth

    def _members(self, node: Node) -> list[Section]:
        """The original sections that are part of a table still, in order."""
        found = []
        for section in self.sections:
            fate = self.fate(section)
            if fate.kind == DEAD and section.chain:
                continue
            if node is self.root:
                if fate.kind != MOVED:
                    found.append(section)
                continue
            depths = [depth for depth, entry in enumerate(section.chain) if entry.value is node]
            if depths and (fate.kind != MOVED or fate.depth <= depths[0]):
                found.append(section)
        return found

    def _anchor(self, node: Node) -> Section | Added:
        """The section after which new parts of a table go."""
        current: Node | None = node
        while current is not None:
            members = self._members(current)
            if members:
                return members[-1]
            if id(current) in self._added:
                return self._added[id(current)]
            current = current.owner.parent if current.owner else None
        return self.sections[0]


def is_table(entry: Entry) -> bool:
    """Whether an entry is written with headers or dotted keys: tables, arrays of tables, new mappings."""
    source = entry.value.source
    if entry.places:
        return False
    if source is None:
        return entry.value.kind == MAPPING
    return source.style in (TABLE, TABLES) and not degraded(entry.value)


def degraded(node: Node) -> bool:
    """Whether an array of tables can't be written as one any more."""
    source = node.source
    if source is None or source.style != TABLES:
        return False
    return not node.entries or any(entry.value.kind != MAPPING for entry in node.entries)
