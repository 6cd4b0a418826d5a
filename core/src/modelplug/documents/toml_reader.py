"""Reads TOML into nodes that know everything in the text that defines them."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any, NoReturn

import attrs

from modelplug.documents.errors import DocumentSyntaxError
from modelplug.documents.nodes import LIST, MAPPING, SCALAR, Entry, Node, Path, Place, Source
from modelplug.documents.toml_scanner import (
    ARRAY,
    INLINE,
    MAX_DEPTH,
    Header,
    Part,
    Scanned,
    Scanner,
    Statement,
)
from modelplug.errors import ModelplugError

__all__ = ["DOTTED", "TABLE", "TABLES", "Line", "Section", "TableSource", "TomlReader", "parse_toml"]

TABLE, TABLES, DOTTED = "table", "tables", "dotted"
"""Styles of values: tables with headers or dotted keys; arrays of tables; braces with dotted keys inside."""

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@attrs.define(eq=False)
class Line:
    """A statement, with the entries its key leads through.

    Attributes:
        at: The statement.
        section: The header it stands below.
        entries: The entries that the names of its key mean, in order; the last one holds the value.
    """

    at: Statement
    section: Section
    entries: list[Entry] = attrs.field(factory=list)


@attrs.define(eq=False)
class Section:
    """A header with its statements, and the entries it leads through.

    Attributes:
        at: The header.
        node: The table it opens.
        named: The entries that the names in it mean, in order.
        chain: These, and the items of arrays of tables among them.
        lines: Its statements.
    """

    at: Header
    node: Node
    named: list[Entry] = attrs.field(factory=list)
    chain: list[Entry] = attrs.field(factory=list)
    lines: list[Line] = attrs.field(factory=list)


@attrs.define(eq=False)
class TableSource(Source):
    """What defines a table.

    Attributes:
        section: The section that opens it; None if none does.
        lines: The statements whose dotted keys lead through it.
    """

    section: Section | None = None
    lines: list[Line] = attrs.field(factory=list)


def parse_toml(text: str) -> dict[str, Any]:
    """What a text says, by the standard library.

    Raises:
        DocumentSyntaxError: It is not TOML.
    """
    library = _library()
    try:
        value: dict[str, Any] = library.loads(text.removeprefix("\ufeff"))
    except library.TOMLDecodeError as error:
        message = str(error)
        found = _PLACE.search(message)
        line = int(found.group(1)) if found and found.group(1) else text.count("\n") + 1
        column = int(found.group(2)) if found and found.group(2) else len(text) - text.rfind("\n")
        reason = _PLACE.sub("", message)
        raise DocumentSyntaxError(reason[:1].lower() + reason[1:], line=line, column=column) from error
    except RecursionError as error:
        raise DocumentSyntaxError("values are nested too deep", line=1, column=1) from error
    return value


class TomlReader:
    """Reads a TOML text.

    Attributes:
        root: What it says.
        sections: All its sections, in order; first what stands before the first header.
        offsets: Where each entry stands first, by path.
        written: What tables in braces with dotted keys say, by the identity of their nodes.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.offsets: dict[Path, int] = {(): 0}
        self._dotted: list[Node] = []
        value = parse_toml(text)
        headers = Scanner(text).scan()
        self.root = Node(MAPPING, source=TableSource(0, len(text), TABLE))
        self.sections = [self._section(header) for header in headers]
        self._fill(self.root, value)
        self.written = {id(node): node.plain for node in self._dotted}

    # Tables -----------------------------------------------------------------------------------------------

    def _section(self, header: Header) -> Section:
        node = self.root
        path: Path = ()
        section = Section(header, node)
        for position, part in enumerate(header.parts):
            is_last = position == len(header.parts) - 1
            kind = LIST if is_last and header.is_item else MAPPING
            node, path = self._step(node, path, part, kind, header.start, section)
            if node.kind == LIST:
                node, path = self._item(node, path, header.start, section, add=is_last and header.is_item)
        section.node = node
        assert isinstance(node.source, TableSource)
        node.source.section = section
        if path:
            self.offsets[path] = header.start
        for statement in header.statements:
            section.lines.append(self._line(statement, section, path))
        return section

    def _step(
        self, node: Node, path: Path, part: Part, kind: str, offset: int, section: Section
    ) -> tuple[Node, Path]:
        """Go one name deeper, to a table or an array of tables that may be new."""
        name = self._name(part)
        entry = node.find(name)
        path = (*path, name)
        if entry is None:
            style = TABLES if kind == LIST else TABLE
            entry = self._entry(node, name, path, offset, Node(kind, source=TableSource(0, 0, style)))
        section.named.append(entry)
        section.chain.append(entry)
        return entry.value, path

    def _item(self, node: Node, path: Path, offset: int, section: Section, *, add: bool) -> tuple[Node, Path]:
        """Go to the last item of an array of tables, or to a new one."""
        if add:
            here = (*path, len(node.entries))
            self._entry(node, "", here, offset, Node(MAPPING, source=TableSource(0, 0, TABLE)))
        entry = node.entries[-1]
        section.chain.append(entry)
        return entry.value, (*path, entry.index)

    def _entry(self, node: Node, name: str, path: Path, offset: int, value: Node) -> Entry:
        if len(path) > MAX_DEPTH:
            line = self.text.count("\n", 0, offset) + 1
            reason = f"values are nested more than {MAX_DEPTH} deep"
            raise DocumentSyntaxError(reason, line=line, column=1)
        key = name if node.kind == MAPPING else None
        entry = Entry(name, key, value, node, home=node, origin=path, original=value)
        entry.original_name, entry.original_key, entry.index = name, key, len(node.entries)
        value.owner = entry
        node.entries.append(entry)
        self.offsets[path] = offset
        return entry

    def _line(self, statement: Statement, section: Section, path: Path) -> Line:
        line = Line(statement, section)
        node = section.node
        for part in statement.parts[:-1]:
            name = self._name(part)
            path = (*path, name)
            entry = node.find(name)
            if entry is None:
                table = Node(MAPPING, source=TableSource(0, 0, TABLE))
                entry = self._entry(node, name, path, statement.start, table)
            node = entry.value
            assert isinstance(node.source, TableSource)
            node.source.lines.append(line)
            line.entries.append(entry)
        last = statement.parts[-1]
        path = (*path, self._name(last))
        entry = self._entry(node, str(path[-1]), path, statement.start, Node(SCALAR))
        self._value(entry.value, statement.value, path)
        self._place(entry, statement.value, last, statement.start, None)
        line.entries.append(entry)
        return line

    def _name(self, part: Part) -> str:
        if part.spelled[0] not in "\"'":
            return part.spelled
        (name,) = _library().loads(f"{part.spelled} = 0")
        return str(name)

    # Values -----------------------------------------------------------------------------------------------

    def _value(self, node: Node, scanned: Scanned, path: Path) -> None:
        """Give a node its place in the text, and the entries it holds."""
        node.source = scanned
        if scanned.style == ARRAY:
            node.kind = LIST
            for position, item in enumerate(scanned.items):
                here = (*path, position)
                entry = self._entry(node, "", here, item.value.start, Node(SCALAR))
                self._value(entry.value, item.value, here)
                self._place(entry, item.value, None, item.value.start, item.comma)
        elif scanned.style == INLINE:
            node.kind = MAPPING
            if any(len(item.parts) > 1 for item in scanned.items):
                scanned.style = DOTTED
                self._dotted.append(node)
            for item in scanned.items:
                self._inline(node, item.parts, item.value, path, item.comma)
        scanned.places = [entry.places[-1] for entry in node.entries if entry.places]

    def _inline(self, node: Node, parts: list[Part], value: Scanned, path: Path, comma: int | None) -> None:
        for part in parts[:-1]:
            name = self._name(part)
            path = (*path, name)
            entry = node.find(name)
            if entry is None:
                table = Node(MAPPING, source=Source(part.start, part.start, DOTTED))
                entry = self._entry(node, name, path, part.start, table)
            node = entry.value
        last = parts[-1]
        path = (*path, self._name(last))
        entry = self._entry(node, str(path[-1]), path, parts[0].start, Node(SCALAR))
        self._value(entry.value, value, path)
        self._place(entry, value, last, parts[0].start, comma)

    def _place(self, entry: Entry, value: Scanned, key: Part | None, start: int, comma: int | None) -> None:
        key_start, key_end = (key.start, key.end) if key else (start, start)
        entry.places.append(Place(start, key_start, key_end, value.start, value.end, comma, entry))

    def _fill(self, node: Node, value: Any) -> None:
        """Give scalars the values the standard library read, and see that both agree on the rest."""
        if node.kind == SCALAR:
            node.scalar = value
            return
        steps = range(len(node.entries)) if node.kind == LIST else [entry.name for entry in node.entries]
        agreed = isinstance(value, list if node.kind == LIST else dict) and len(value) == len(node.entries)
        if not agreed or (node.kind == MAPPING and set(steps) != value.keys()):
            self._disagree(node)
        for entry, step in zip(node.entries, steps, strict=True):
            self._fill(entry.value, value[step])

    def _disagree(self, node: Node) -> NoReturn:
        offset = node.source.start if node.source else 0
        line = self.text.count("\n", 0, offset) + 1
        reason = "the places of this table could not be found; please report it with the file"
        raise DocumentSyntaxError(reason, line=line, column=1)


def _library() -> Any:
    try:
        return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError as error:
        raise ModelplugError(
            "TOML files can't be read here",
            why="the library tomli is not installed",
            advice="install it with: pip install 'modelplug[toml]'",
        ) from error
