"""YAML: read into a tree, guarded where anchors tie parts together, and rendered."""

from __future__ import annotations

import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from modelplug.documents.dialect import Dialect
from modelplug.documents.errors import DocumentSyntaxError, TreeError, shown
from modelplug.documents.nodes import Entry, Node, Path, same
from modelplug.documents.splices import newline_of, spliced
from modelplug.documents.yaml_reader import YamlReader
from modelplug.documents.yaml_render import CLOSE, KEEP, QUOTE, YamlRenderer, is_text
from modelplug.documents.yaml_scalars import scalar_text

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["YamlFormat"]


class YamlFormat(Dialect):
    """The first document of a YAML text.

    Attributes:
        documents: How many documents the text holds. Those after the first keep their bytes.
    """

    name = "YAML"
    scalars = (type(None), datetime.date, bytes)
    not_finite = True
    other_keys = True

    def __init__(self, text: str) -> None:
        self.text = text
        self._said: tuple[str, Any] | None = None
        self._newline = newline_of(text)
        self._is_open = not text.endswith(("\n", "\r")) and text not in ("", "\ufeff")
        self._reader = YamlReader(text)
        self.root = self._reader.root
        self.offsets = self._reader.offsets
        self.duplicates: list[Path] = []
        self.documents = self._reader.documents
        self._uses: dict[int, list[Node]] = {}
        for alias, target in self._reader.aliases:
            self._uses.setdefault(id(target), []).append(alias)

    def render(self) -> str:
        """The text of the tree as it is now."""
        text = self._rendered(KEEP)
        first = text.removesuffix(self._newline) if self._is_open else text
        if first == self.text or not any(is_text(entry.value) for entry in self.root.walk()):
            return first
        # What comes to stand below a text can add line breaks to it, or a comment, or take a line break away.
        attempts = chain((first, text), map(self._rendered, (CLOSE, QUOTE)))
        return next((attempt for attempt in attempts if self._is_right(attempt)), first)

    def _rendered(self, texts: str) -> str:
        """The text of the tree, with a line break at its end."""
        whole = self.text + self._newline if self._is_open else self.text
        is_single = self.documents < 2
        renderer = YamlRenderer(
            whole, self.root, self._reader.scalars, newline=self._newline, is_single=is_single, texts=texts
        )
        return spliced(whole, 0, len(whole), renderer.splices(self.root))

    def _is_right(self, text: str) -> bool:
        try:
            return same(self.value_of(text), self.root.plain)
        except DocumentSyntaxError:
            return False

    def value_of(self, text: str) -> Any:
        """What a rendered text says, read independently of the tree."""
        if self._said is None or self._said[0] != text:
            self._said = (text, YamlReader(text).root.plain)
        return self._said[1]

    def name_of(self, key: Any) -> str:
        """The name under which the tree lists a key: as it would be written."""
        return key if isinstance(key, str) else scalar_text(key)

    def normal_key(self, key: Any, path: Path) -> Any:
        """As for any format, and short enough for a key that stands on one line with its value."""
        key = super().normal_key(key, path)
        if isinstance(key, str) and len(key) > 1000:
            reason = f"YAML can't hold a key of {len(key)} characters on one line"
            raise TreeError(reason, path)
        return key

    def normal(self, value: Any, path: Path) -> Any:
        """The value in the types the tree holds; times of day in UTC, as YAML reads them."""
        normal = super().normal(value, path)
        if isinstance(normal, datetime.datetime) and normal.tzinfo is not None:
            return normal.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return normal

    # Anchors ----------------------------------------------------------------------------------------------

    def allow_change(self, node: Node, path: Path) -> None:
        """Refuse if something elsewhere refers to the node, or to what it is part of."""
        if not self._uses:
            return
        current: Node | None = node
        while current is not None:
            if id(current) in self._uses:
                reason = f"{shown(path)} is part of {self._named(current)}, so a change would show there too"
                raise TreeError(reason, path)
            current = current.owner.parent if current.owner else None

    def allow_rename(self, entry: Entry, path: Path) -> None:
        """Refuse if something elsewhere refers to the key."""
        keys = [key for key, owner in self._reader.keys.items() if owner is entry]
        if any(key in self._uses for key in keys):
            reason = f"the key {shown(path)} has an anchor to which the document refers elsewhere"
            raise TreeError(reason, path)

    def allow_departure(self, entry: Entry, path: Path) -> None:
        """Refuse if something elsewhere refers to what the entry holds."""
        self._demand_no_outside_use(entry, path)

    def allow_move(self, entry: Entry, to: Node, path: Path) -> None:
        """Refuse if an alias would stand above its anchor, or mean another one."""
        reader = self._reader
        if not reader.anchors:
            return
        self._demand_no_outside_use(entry, path)
        inside = {id(node) for node in _below(entry)}
        for alias, target in reader.aliases:
            moves_alone = id(alias) in inside and id(target) not in inside
            if not moves_alone and id(alias) not in inside:
                continue
            anchor = next(name for name, nodes in reader.anchors.items() if any(n is target for n in nodes))
            if len(reader.anchors[anchor]) > 1:
                reason = (
                    f"{shown(path)} refers to the anchor &{anchor}, which the document defines more than once"
                )
                raise TreeError(reason, path)
            if moves_alone and self._end(to) < _end_of(target):
                reason = f"{shown(path)} refers to the anchor &{anchor}, and must stay below it"
                raise TreeError(reason, path)

    def _demand_no_outside_use(self, entry: Entry, path: Path) -> None:
        """Refuse if something elsewhere in the document refers to what the entry holds."""
        if not self._uses:
            return
        nodes = list(_below(entry))
        inside = {id(node) for node in nodes}
        keys = [key for key, owner in self._reader.keys.items() if any(owner.value is node for node in nodes)]
        for identity in [*inside, *keys]:
            if any(id(use) not in inside for use in self._uses.get(identity, ())):
                reason = f"{shown(path)} holds an anchor that the document refers to elsewhere"
                raise TreeError(reason, path)

    def _named(self, node: Node) -> str:
        name = node.source.anchor if node.source else ""  # type: ignore[attr-defined]
        alias = self._uses[id(node)][0]
        line = self.text.count("\n", 0, alias.source.start if alias.source else 0) + 1
        return f"the anchor &{name}, to which line {line} refers"

    def _end(self, node: Node) -> int:
        """Where in the original text an entry lands that goes to the end of a mapping."""
        chain = [node]
        while chain[-1].owner:
            chain.append(chain[-1].owner.parent)
        for depth, current in enumerate(chain):
            at_home = all(n.owner is None or n.owner.home is n.owner.parent for n in chain[depth:])
            if at_home and current.source is not None:
                return current.source.end
        return len(self.text)


def _below(entry: Entry) -> Iterator[Node]:
    """Every value inside an entry, its own included."""
    yield entry.value
    for inner in entry.value.entries + entry.value.merges:
        yield from _below(inner)


def _end_of(node: Node) -> int:
    return node.source.end if node.source else 0
