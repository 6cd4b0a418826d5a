"""Renders an edited TOML tree against its original text, by statements and sections."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from modelplug.documents.nodes import MAPPING, Entry, Node
from modelplug.documents.splices import Splice, indent_at, line_start, spliced
from modelplug.documents.toml_layout import DEAD, HOME, MOVED, Added, Layout, is_table
from modelplug.documents.toml_reader import DOTTED, Line, Section
from modelplug.documents.toml_scalars import key_text
from modelplug.documents.toml_values import TomlValueRenderer, nodes_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.documents.toml_reader import TomlReader

__all__ = ["TomlRenderer"]

_BLANK_LINES = re.compile(r"(?:(?<=\n)|\A)(?:[ \t]*(?:\r\n|\n))+\Z")
_BLANK_END = re.compile(r"(?:\r\n|\n)[ \t]*(?:\r\n|\n)\Z")


class TomlRenderer(TomlValueRenderer):
    """Makes the text of an edited TOML tree.

    Args:
        text: The original text, ending with a line break.
        reader: What was read from it.
        newline: How lines end.
    """

    def __init__(self, text: str, reader: TomlReader, *, newline: str) -> None:
        super().__init__(text, reader, newline=newline)
        self.layout = Layout(reader.root, reader.sections, self.alive)
        self.lines = {id(line.entries[-1]): line for section in reader.sections for line in section.lines}

    def ranges(self, entry: Entry) -> list[tuple[int, int]]:
        """The statements and sections that an entry took along."""
        line = self.lines.get(id(entry))
        if line is not None:
            return [(line.at.lead, line.at.stop)]
        home = entry.home.source if entry.home else None
        if home is not None and home.style == DOTTED:
            inside = (entry, *entry.value.walk())
            return [(place.start, place.end) for inner in inside for place in inner.places]
        if entry.places:
            return super().ranges(entry)
        sections = [(section.at.lead, section.at.end) for section in self.layout.carried_sections(entry)]
        return sections + [(line.at.lead, line.at.stop) for line in self.layout.carried_lines(entry)]

    # Sections ---------------------------------------------------------------------------------------------

    def rendered(self) -> str:
        """The text of the tree as it is now."""
        splices = []
        for section in self.reader.sections:
            fate, at = self.layout.fate(section), section.at
            if fate.kind == HOME:
                splices += self.section_splices(section)
            elif fate.kind == MOVED:
                splices.append(Splice(at.lead, at.end, ""))
            else:
                splices.append(Splice(at.lead, at.end, self.remains(section)))
        text = spliced(self.text, 0, len(self.text), splices)
        return text if _BLANK_END.search(self.text) else self.trimmed(text)

    def section_splices(self, section: Section) -> list[Splice]:
        """What has to change in a section, and what comes before and after it."""
        at = section.at
        splices = [
            Splice(at.lead, at.lead, self.joined(self.emitted(added), at.lead))
            for added in self.layout.before.get(id(section), ())
        ]
        splices += self.header_splices(section)
        splices += self.body_splices(section)
        following = [text for part in self.following(section) for text in self.emitted(part)]
        if following:
            splices.append(Splice(at.end, at.end, self.joined(following, at.end)))
        return splices

    def following(self, part: Section | Added) -> Iterable[Section | Added]:
        """The sections to put after one."""
        return self.layout.following.get(id(part), ())

    def header_splices(self, section: Section) -> list[Splice]:
        """The names in a header that are others now."""
        return [
            Splice(part.start, part.end, key_text(entry.name))
            for part, entry in zip(section.at.parts, section.named, strict=True)
            if entry.name != entry.original_name
        ]

    def body_splices(self, section: Section) -> list[Splice]:
        """What has to change in the statements of a section."""
        splices = [splice for line in section.lines for splice in self.line_splices(line)]
        entries = self.layout.written.get(id(section.node), [])
        if not entries or not self.is_own(section):
            return splices
        at = section.at
        if not at.statements:
            place = at.body if at.parts else at.end
            return [*splices, Splice(place, place, self.first_lines(section, entries))]
        front = self.front(section, entries)
        for place, part in ((at.statements[0].lead, front), (at.last, entries[len(front) :])):
            indent = indent_at(self.text, at.statements[-1].start)
            lines = "".join(self.entry_lines(entry, "", indent) for entry in part)
            splices += [Splice(place, place, lines)] if lines else []
        return splices

    def front(self, section: Section, entries: list[Entry]) -> list[Entry]:
        """The new entries that come before all statements of the section."""
        own = {id(line.entries[0]) for line in section.lines}
        behind = itertools.dropwhile(lambda entry: id(entry) not in own, section.node.entries)
        late = {id(entry) for entry in behind}
        return [entry for entry in entries if id(entry) not in late] if late else []

    def first_lines(self, section: Section, entries: list[Entry]) -> str:
        """The statements of a section that had none."""
        lines = "".join(self.entry_lines(entry, "", "") for entry in entries)
        if section.at.parts:
            return lines
        before = self.text[: section.at.end]
        gap = self.newline if before.strip("\ufeff") and not before.endswith("\n") else ""
        return gap + lines + (self.newline if section.at.end < len(self.text) else "")

    def is_own(self, section: Section) -> bool:
        """Whether new statements of the table go into this section."""
        source = section.node.source
        return getattr(source, "section", None) is section

    def emitted(self, part: Section | Added) -> list[str]:
        """The text of a section that is new here, and of those that follow it."""
        before = [text for added in self.layout.before.get(id(part), ()) for text in self.emitted(added)]
        own = self.added_text(part) if isinstance(part, Added) else self.moved_text(part)
        after = [text for other in self.following(part) for text in self.emitted(other)]
        return [*before, *([own] if own else []), *after]

    def moved_text(self, section: Section) -> str:
        """A section that stood elsewhere, with a header that says where it is now."""
        fate, at = self.layout.fate(section), section.at
        assert fate.carrier is not None
        position = next(i for i, entry in enumerate(section.named) if entry is fate.carrier)
        first, part = at.parts[0], at.parts[position]
        prefix = self.path_text(fate.carrier.parent)
        splices = [splice for splice in self.header_splices(section) if splice.start >= part.start]
        splices.append(Splice(first.start, part.start, f"{prefix}." if prefix else ""))
        return self.trimmed(spliced(self.text, at.lead, at.end, splices + self.body_splices(section)))

    def added_text(self, added: Added) -> str:
        """A section that is new."""
        lines = "".join(
            self.entry_lines(entry, "", "") for entry in self.layout.written.get(id(added.node), ())
        )
        if not added.has_header:
            return ""
        path = self.path_text(added.node)
        return (f"[[{path}]]" if added.is_item else f"[{path}]") + self.newline + lines

    def path_text(self, node: Node) -> str:
        """The path of a table, as a header writes it."""
        names: list[str] = []
        owner = node.owner
        while owner is not None:
            if owner.parent.kind == MAPPING:
                names.insert(0, key_text(owner.name))
            owner = owner.parent.owner
        return ".".join(names)

    def remains(self, section: Section) -> str:
        """The comments of a section that is gone."""
        at = section.at
        used = [
            node
            for line in section.lines
            if id(line.entries[-1]) in self.alive and self.layout.line_fate(line).kind == DEAD
            for node in nodes_of(line.entries[-1].value)
        ]
        comments = self.loose_comments([(at.start, at.end)], used)
        lead = self.text[at.lead : line_start(self.text, at.start)]
        kept = lead + "".join(comment + self.newline for comment in comments)
        sections = self.reader.sections
        gone = itertools.takewhile(
            lambda other: self.layout.fate(other).kind == DEAD, sections[sections.index(section) :]
        )
        end = max(other.at.end for other in gone)
        blank = _BLANK_END.search(self.text, at.lead, end)
        return kept + (self.newline if kept and blank and end < len(self.text) else "")

    def joined(self, texts: list[str], place: int) -> str:
        """Sections for a place between others, with blank lines between them as the text has them."""
        before = self.text[:place]
        is_spaced = not before.strip("\ufeff") or _BLANK_END.search(before) is not None
        if place == len(self.text):
            return ("" if is_spaced else self.newline) + self.newline.join(texts)
        return "".join(text + (self.newline if is_spaced else "") for text in texts)

    def trimmed(self, text: str) -> str:
        """The text without blank lines at its end."""
        return _BLANK_LINES.sub("", text)

    # Statements -------------------------------------------------------------------------------------------

    def line_splices(self, line: Line) -> list[Splice]:
        """What has to change where a statement stands."""
        fate, at = self.layout.line_fate(line), line.at
        if fate.kind == MOVED:
            return [Splice(at.lead, at.stop, "")]
        if fate.kind == DEAD:
            indent = indent_at(self.text, at.start)
            lead = self.text[at.lead : line_start(self.text, at.start)]
            comments = self.comments_between(at.start, at.stop)
            return [Splice(at.lead, at.stop, lead + "".join(indent + c + self.newline for c in comments))]
        below = self.below(line, 0, "")
        return self.inner_splices(line) + ([Splice(at.stop, at.stop, below)] if below else [])

    def inner_splices(self, line: Line, begin: int = 0) -> list[Splice]:
        """What has to change inside a statement, wherever it goes, in its key from one of the names on."""
        outer, self.lifted = self.lifted, []
        place = line.entries[-1].places[-1]
        splices = [
            Splice(part.start, part.end, key_text(entry.name))
            for part, entry in zip(line.at.parts[begin:-1], line.entries[begin:-1], strict=True)
            if entry.name != entry.original_name
        ]
        splices += self.entry_splices(place)
        if self.lifted:
            start = line_start(self.text, line.at.start)
            indent = indent_at(self.text, start)
            text = "".join(indent + comment + self.newline for comment in self.lifted)
            splices.append(Splice(start, start, text))
        self.lifted = outer
        return splices

    def below(self, line: Line, begin: int, prefix: str) -> str:
        """New statements for tables that only dotted keys define, to stand below one of theirs."""
        text = ""
        for node, depth in reversed(self.layout.below.get(id(line), [])):
            names = ".".join(
                part.spelled if entry.name == entry.original_name else key_text(entry.name)
                for part, entry in zip(line.at.parts[begin : depth + 1], line.entries[begin:], strict=False)
            )
            indent = indent_at(self.text, line.at.start)
            for entry in self.layout.written[id(node)]:
                text += self.entry_lines(entry, f"{prefix}{names}.", indent)
        return text

    def entry_lines(self, entry: Entry, prefix: str, indent: str) -> str:
        """An entry, moved or new, as statements whose keys begin with `prefix`."""
        line = self.lines.get(id(entry))
        if line is not None:
            return self.moved_line(line, prefix)
        if is_table(entry):
            return "".join(self.moved_line(line, prefix) for line in self.layout.carried_lines(entry))
        outer, self.lifted = self.lifted, []
        core = indent + prefix + self.piece_core(entry)
        lead = "".join(indent + comment + self.newline for comment in self.lifted)
        self.lifted = outer
        return lead + core + self.newline

    def moved_line(self, line: Line, prefix: str) -> str:
        """A statement that stood elsewhere."""
        fate, at = self.layout.line_fate(line), line.at
        first, part = at.parts[0], at.parts[fate.depth]
        splices = [*self.inner_splices(line, fate.depth), Splice(first.start, part.start, prefix)]
        return spliced(self.text, at.lead, at.stop, splices) + self.below(line, fate.depth, prefix)
