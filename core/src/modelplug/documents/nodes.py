"""What a document's tree is made of: entries that know where they stood, and the values they hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import attrs

__all__ = ["LIST", "MAPPING", "SCALAR", "Entry", "Node", "Path", "Place", "Source", "plain_copy", "same"]

Path = tuple["str | int", ...]
"""Steps from the root: names in mappings, positions in lists."""

MAPPING, LIST, SCALAR = "mapping", "list", "scalar"


@attrs.define(eq=False)
class Place:
    """Where an entry stands in the original text.

    Attributes:
        start: Where it begins: its key, or the value itself in a list.
        key_start: Where the spelling of its key begins.
        key_end: Just past the key; equal to `start` in a list.
        value_start: Where its value begins.
        end: Just past its value.
        comma: Where the comma after it stands; None if there is none.
        entry: The entry that stands there.
    """

    start: int
    key_start: int
    key_end: int
    value_start: int
    end: int
    comma: int | None
    entry: Entry


@attrs.define(eq=False)
class Source:
    """Where a value stands in the original text: `text[start:end]`.

    Attributes:
        start: Where it begins, in characters.
        end: Just past its last character.
        style: How it is written, in the terms of its format; for example `flow` or `block`.
        places: The entries of a container, in the order of the text, duplicate names included.
    """

    start: int
    end: int
    style: str = ""
    places: list[Place] = attrs.field(factory=list)


@attrs.define(eq=False)
class Node:
    """A value: a mapping, a list, or something without entries.

    Attributes:
        kind: `MAPPING`, `LIST` or `SCALAR`.
        scalar: The Python value of a scalar. A reference to another part of the document (a YAML alias)
            counts as a scalar too, and its value may be a dict or list.
        entries: The entries of a mapping or list, in order.
        merges: Entries that only say what a mapping takes over from others (YAML's merge key `<<`).
        inherited: What the mapping takes over from others; its own entries come before that.
        source: Where it stands in the original text; None if it is new.
        owner: The entry that holds it; None for the root.
    """

    kind: str
    scalar: Any = None
    entries: list[Entry] = attrs.field(factory=list)
    merges: list[Entry] = attrs.field(factory=list)
    inherited: dict[Any, Any] | None = None
    source: Source | None = None
    owner: Entry | None = None

    @property
    def plain(self) -> Any:
        """The Python value, containers included, that shares nothing with the tree."""
        if self.kind == MAPPING:
            own = {entry.key: entry.value.plain for entry in self.entries}
            return {**plain_copy(self.inherited), **own} if self.inherited else own
        if self.kind == LIST:
            return [entry.value.plain for entry in self.entries]
        return plain_copy(self.scalar)

    def find(self, step: str | int) -> Entry | None:
        """The entry of that name or position; None if there is none."""
        if isinstance(step, str):
            if self.kind == MAPPING:
                for entry in self.entries:
                    if entry.name == step:
                        return entry
        elif self.kind == LIST and 0 <= step < len(self.entries):
            return self.entries[step]
        return None

    def walk(self) -> Iterator[Entry]:
        """Every entry below this node, each before those it holds."""
        for entry in self.entries:
            yield entry
            yield from entry.value.walk()


@attrs.define(eq=False)
class Entry:
    """One entry of a mapping or list. It keeps its identity wherever edits carry it.

    Attributes:
        name: Its name now; empty in a list.
        key: What a plain dict calls it: the name, or the number or date that YAML reads the name as.
        value: What it holds now.
        parent: The mapping or list it is in.
        home: The mapping or list it was in originally; None if it is new.
        origin: Its original path; None if it is new.
        original: What it held originally; None if it is new.
        original_name: Its original name.
        original_key: Its original key.
        index: Its original position among the entries of its home.
        places: Where it stands in the original text. More than one if its name was there more than once; the
            last one counts.
    """

    name: str
    key: Any
    value: Node
    parent: Node
    home: Node | None = None
    origin: Path | None = None
    original: Node | None = None
    original_name: str = ""
    original_key: Any = None
    index: int = -1
    places: list[Place] = attrs.field(factory=list)

    def call(self, name: str) -> None:
        """Give it a name; its original name brings the original key back."""
        self.name = name
        self.key = self.original_key if self.origin is not None and name == self.original_name else name


def plain_copy(value: Any) -> Any:
    """The value with dicts and lists of its own."""
    if isinstance(value, dict):
        return {key: plain_copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_copy(item) for item in value]
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two plain values are equal and of the same types: 1, 1.0 and True are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return (one == other and math.copysign(1, one) == math.copysign(1, other)) or (
            one != one and other != other
        )
    return bool(one == other)
