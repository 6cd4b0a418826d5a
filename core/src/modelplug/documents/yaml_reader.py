"""Reads YAML into nodes that know their exact place in the text.

`ruamel.yaml` finds the tokens and says what scalars mean. What it does not tell is found here: where the
value of an empty entry would stand, where a block ends, which anchor an alias means.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from modelplug.documents.nodes import LIST, MAPPING, SCALAR, Entry, Node, Path, Place, Source
from modelplug.documents.splices import line_start
from modelplug.documents.yaml_events import (
    ALIAS,
    DOCUMENT,
    DOCUMENT_END,
    LIST_END,
    MAPPING_END,
    MAPPING_START,
    TEXT_SCALAR,
    Event,
    fault,
    library_events,
    yaml_library,
)
from modelplug.documents.yaml_plain import plain_events

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

__all__ = ["BLOCK", "EMPTY", "FLOW", "PAIR", "YamlReader", "YamlSource", "skip_trivia"]

BLOCK, FLOW, PAIR, EMPTY = "block", "flow", "pair", "empty"
"""Styles of values: indented lines; brackets; one `key: value` in a flow list; nothing at all."""

MAX_DEPTH = 100
"""Deeper nesting is refused: nobody writes it, and a recursive reader would run out of stack."""

MAX_EXPANDED = 100_000
"""More values than this, aliases followed, are refused: small texts can be made to unfold without bound."""

_TRIVIA = re.compile(r"(?:[ \t\r\n\ufeff]+|#[^\r\n]*)*")
_PROPERTIES = re.compile(r"(?:(?:!<[^>]*>|[&!][^\s,\[\]{}]*)(?:[ \t]+|(?=[\r\n,\[\]{}])|$))+")
_BLANK_END = re.compile(r"(?:\r\n|\n|\r)[ \t\r\n]*\Z")


@attrs.define(eq=False)
class YamlSource(Source):
    """Where a YAML value stands.

    Attributes:
        content: Where it begins behind its anchor and tag.
        hook: Where a value could begin that stands on the line of its key or dash.
        column: The column of the entries of a block.
        anchor: The name of its anchor; empty if it has none.
    """

    content: int = 0
    hook: int = 0
    column: int = 0
    anchor: str = ""


def skip_trivia(text: str, offset: int) -> int:
    """The first offset from `offset` on that is neither white space nor inside a comment."""
    found = _TRIVIA.match(text, offset)
    return found.end() if found else offset


class YamlReader:
    """Reads the first document of a YAML text.

    Attributes:
        root: What it says; an empty mapping if it says nothing.
        offsets: Where each entry stands, by path.
        anchors: The nodes that have an anchor, by its name, in order.
        aliases: The nodes that refer to another one, each with that one.
        keys: The entries whose keys have an anchor, by the identity of the key's node.
        scalars: Where scalars stand, of all documents, in order.
        documents: How many documents the text holds.

    Raises:
        DocumentSyntaxError: The text is not YAML.
        ModelplugError: `ruamel.yaml` is not installed.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.offsets: dict[Path, int] = {}
        self.anchors: dict[str, list[Node]] = {}
        self.aliases: list[tuple[Node, Node]] = []
        self.keys: dict[int, Entry] = {}
        self.scalars: list[tuple[int, int]] = []
        self.documents = 0
        self._open: set[int] = set()
        self._weights: dict[int, int] = {}
        self._events = iter(_events(text))
        self.root = self._stream()

    def fail(self, reason: str, offset: int) -> NoReturn:
        """Say what is wrong where."""
        raise fault(self.text, reason, offset)

    # The stream -------------------------------------------------------------------------------------------

    def _stream(self) -> Node:
        root: Node | None = None
        end = len(self.text)
        for event in self._events:
            if event.kind == DOCUMENT:
                self.documents += 1
                if self.documents == 1:
                    mark = 1 if self.text.startswith("\ufeff") else 0
                    root = self._node(next(self._events), None, (), event.end if event.explicit else mark, 0)
            elif event.kind == DOCUMENT_END and self.documents == 1:
                end = event.start
            elif event.kind == TEXT_SCALAR:  # of a later document
                self._remember(event)
        if root is None or (root.kind == SCALAR and root.scalar is None and _style(root) == EMPTY):
            root = Node(MAPPING, source=YamlSource(end, end, EMPTY, content=end, hook=end))
        self.offsets[()] = root.source.start if root.source else 0
        return root

    def _remember(self, event: Event) -> None:
        if event.start < event.end:
            self.scalars.append((event.start, event.end))

    # Nodes ------------------------------------------------------------------------------------------------

    def _node(self, event: Event, owner: Entry | None, path: Path, hook: int, depth: int) -> Node:
        """The node that an event begins.

        Args:
            event: Its first event.
            owner: The entry that holds it.
            path: Its path.
            hook: Just past the colon or dash before it.
            depth: How deep it is nested.
        """
        if depth > MAX_DEPTH:
            self.fail(f"values are nested more than {MAX_DEPTH} deep", event.start)
        if event.kind == ALIAS:
            return self._alias(event, owner, hook)
        source = YamlSource(event.start, event.end, hook=hook)
        source.content = source.start
        node = Node(SCALAR, source=source, owner=owner)
        if event.anchor or event.tagged:
            self._properties(event, node, source)
        if event.kind == TEXT_SCALAR:
            self._scalar(event, node, source)
        else:
            node.kind = MAPPING if event.kind == MAPPING_START else LIST
            self._open.add(id(node))
            if event.flow:
                source.style = FLOW if self.text[source.content] in "[{" else PAIR
            else:
                source.style = BLOCK
            fill = self._mapping if node.kind == MAPPING else self._list
            fill(node, source, path, depth)
            self._open.discard(id(node))
        self._weights[id(node)] = 1 + sum(
            self._weights[id(entry.value)] for entry in node.entries + node.merges
        )
        return node

    def _properties(self, event: Event, node: Node, source: YamlSource) -> None:
        found = _PROPERTIES.match(self.text, source.start)
        source.content = found.end() if found else source.start
        source.hook = source.start + len(self.text[source.start : source.content].rstrip())
        if event.anchor:
            source.anchor = event.anchor
            self.anchors.setdefault(source.anchor, []).append(node)

    def _alias(self, event: Event, owner: Entry | None, hook: int) -> Node:
        known = self.anchors.get(event.anchor)
        start, end = event.start, event.end
        if not known:
            self.fail(f"there is no anchor &{event.anchor} before this alias", start)
        if id(known[-1]) in self._open:
            self.fail(f"the alias *{event.anchor} stands inside the value it refers to", start)
        source = YamlSource(start, end, "alias", content=start, hook=hook)
        node = Node(SCALAR, source=source, owner=owner)
        self.aliases.append((node, known[-1]))
        self._weights[id(node)] = self._weights[id(known[-1])]
        if sum(self._weights[id(alias)] for alias, _ in self.aliases) > MAX_EXPANDED:
            self.fail(f"with its aliases the document holds more than {MAX_EXPANDED} values", start)
        node.scalar = known[-1].plain
        return node

    def _scalar(self, event: Event, node: Node, source: YamlSource) -> None:
        self._remember(event)
        node.scalar = event.meaning
        source.style = event.style or "plain"
        if source.content > source.start and not self.text[source.content : source.end].strip():
            source.content = source.hook
        if source.content >= source.end and not event.style:
            source.style = EMPTY
            if source.start == source.content:
                source.start = source.content = source.hook
            source.end = source.content = source.hook
        elif event.style in ("|", ">"):
            source.end = self._block_scalar_end(source)

    def _block_scalar_end(self, source: YamlSource) -> int:
        """Where a block scalar ends, without the blank lines that follow and don't belong to it."""
        written = self.text[source.content : source.end]
        header, *_ = re.split(r"\r\n|\n|\r", written, maxsplit=1)
        if "+" in header.partition("#")[0]:
            return source.content + len(re.sub(r"(?:\r\n|\n|\r)\Z", "", written))
        body = written[len(header) :]
        first = re.search(r"^( *)[^ \r\n]", body, re.MULTILINE)
        indent = len(first.group(1)) if first else 0
        while found := re.search(r"(?:\r\n|\n|\r)([ \t]*)\Z", body):
            if len(found.group(1)) > indent:
                break
            body = body[: found.start()]
        return source.content + len(header) + len(body)

    # Entries ----------------------------------------------------------------------------------------------

    def _list(self, node: Node, source: YamlSource, path: Path, depth: int) -> None:
        at = source.content + 1 if source.style == FLOW else source.content
        while (event := next(self._events)).kind != LIST_END:
            step = len(node.entries)
            entry = Entry("", None, node, node, home=node, origin=(*path, step), index=step)
            start = hook = event.start
            if source.style == BLOCK:
                start = skip_trivia(self.text, at)
                hook = start + 1
            entry.value = entry.original = self._node(event, entry, (*path, step), hook, depth + 1)
            value = entry.value.source
            assert value is not None
            start = value.start if source.style == FLOW else start
            at = self._place(source, entry, start, start, start, value)
            node.entries.append(entry)
        self._close(source, event)

    def _mapping(self, node: Node, source: YamlSource, path: Path, depth: int) -> None:
        at = source.content + 1 if source.style == FLOW else source.content
        keys: set[Hashable] = set()
        while (event := next(self._events)).kind != MAPPING_END:
            key = self._node(event, None, (*path, ""), event.start, depth + 1)
            spelled = key.source
            assert isinstance(spelled, YamlSource)
            start = skip_trivia(self.text, at)
            if self.text[start : start + 1] != "?" or start >= spelled.start:
                start = spelled.start
            entry = self._entry(node, key, path, is_merge=_is_merge(event, key))
            if entry.key in keys:
                self.fail(f"the key {entry.name!r} occurs twice in one mapping", spelled.start)
            keys.add(entry.key)
            if spelled.anchor:
                self.keys[id(key)] = entry
            colon = skip_trivia(self.text, spelled.end)
            hook = colon + 1 if self.text[colon : colon + 1] == ":" else spelled.end
            here = (*path, entry.name)
            entry.value = entry.original = self._node(next(self._events), entry, here, hook, depth + 1)
            value = entry.value.source
            assert value is not None
            at = self._place(source, entry, start, spelled.start, spelled.end, value)
            if entry in node.merges:
                self._merge(node, entry)
        self._close(source, event)

    def _entry(self, node: Node, key: Node, path: Path, *, is_merge: bool) -> Entry:
        spelled = key.source
        assert isinstance(spelled, YamlSource)
        plain = key.scalar if key.kind == SCALAR else key.plain
        name = plain if isinstance(plain, str) else self.text[spelled.content : spelled.end].strip()
        entry = Entry(name, _frozen(plain), node, node, home=node, index=len(node.entries))
        entry.original_name, entry.original_key = entry.name, entry.key
        entry.origin = (*path, name)
        (node.merges if is_merge else node.entries).append(entry)
        return entry

    def _place(
        self, source: YamlSource, entry: Entry, start: int, key_start: int, key_end: int, value: Source
    ) -> int:
        """Note where an entry stands; where to look for the next one."""
        comma = None
        after = skip_trivia(self.text, value.end)
        if source.style == FLOW and self.text[after : after + 1] == ",":
            comma = after
        place = Place(start, key_start, key_end, value.start, value.end, comma, entry)
        entry.places.append(place)
        source.places.append(place)
        if entry.origin is not None and entry not in entry.parent.merges:
            self.offsets[entry.origin] = start
        return value.end if comma is None else comma + 1

    def _close(self, source: YamlSource, event: Event) -> None:
        if source.style == FLOW:
            source.end = event.end
            return
        first, last = source.places[0], source.places[-1]
        if source.start == source.content:  # no anchor and no tag
            source.start = first.start
        source.content, source.end = first.start, last.end
        source.column = first.start - line_start(self.text, first.start)

    def _merge(self, node: Node, entry: Entry) -> None:
        """Take over what a merge key refers to."""
        value = entry.value.plain
        mappings = value if isinstance(value, list) else [value]
        place = entry.places[-1].start
        if len(node.merges) > 1:
            self.fail("the merge key << occurs twice in one mapping", place)
        inherited: dict[Any, Any] = {}
        for mapping in reversed(mappings):
            if not isinstance(mapping, dict):
                self.fail("the merge key << needs a mapping, or a list of mappings", place)
            inherited.update(mapping)
        node.inherited = inherited


def _is_merge(event: Event, key: Node) -> bool:
    return event.kind == TEXT_SCALAR and key.scalar == "<<" and not event.style


def _style(node: Node) -> str:
    return node.source.style if node.source else ""


def _frozen(value: Any) -> Any:
    """A key as something a dict can have as one."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in value.items())
    return value


def _events(text: str) -> Iterable[Event]:
    yaml_library()  # needed or not, so that it does not hang on the content whether a file can be read
    return plain_events(text) or library_events(text)
