"""The tree of a document: looked up and edited by path, while its entries remember where they stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.documents.assigning import add, assign, fresh
from modelplug.documents.errors import TreeError, shown
from modelplug.documents.nodes import LIST, MAPPING, SCALAR, Entry, Node, Path, plain_copy, same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.documents.dialect import Dialect

__all__ = ["Leaf", "Tree"]


@attrs.frozen
class Leaf:
    """A value that is no mapping with entries: a scalar, a list, an empty mapping.

    Attributes:
        path: Where it is now.
        value: Its value now.
        origin: Its path in the original text; None if it is new.
        changed: Whether its value differs from the original one, or is written anew.
    """

    path: Path
    value: Any
    origin: Path | None
    changed: bool


class Tree:
    """Mappings, lists and values of a document, with edits that keep each entry's place in the text.

    Paths are tuples: text steps are names in mappings, taken literally, whole numbers are positions in lists.
    An edit either happens wholly or raises `TreeError` and changes nothing.
    """

    def __init__(self, root: Node, dialect: Dialect) -> None:
        self._root = root
        self._dialect = dialect
        self._revision = 0
        self._source_value = root.plain
        self._source_leaves = tuple((path, node.plain) for path, node in _leaves(root))
        self._source_values = dict(self._source_leaves)

    @property
    def root(self) -> Node:
        """The whole value, for whoever renders it."""
        return self._root

    @property
    def source_value(self) -> Any:
        """The plain value of the original text."""
        return self._source_value

    @property
    def revision(self) -> int:
        """How many edits changed something."""
        return self._revision

    # Looking ----------------------------------------------------------------------------------------------

    def get(self, path: Path, default: Any = None) -> Any:
        """The plain value at `path`, sharing nothing with the tree; `default` if there is none."""
        found = self._look(path)
        return default if found is _NOTHING else found.plain if isinstance(found, Node) else plain_copy(found)

    def has(self, path: Path) -> bool:
        """Whether there is an entry at `path`."""
        return self._look(path) is not _NOTHING

    def names(self, path: Path = ()) -> tuple[str, ...]:
        """The names in the mapping at `path`, in order; empty if there is no mapping."""
        found = self._look(path)
        if isinstance(found, Node) and found.kind == MAPPING:
            own = tuple(entry.name for entry in found.entries)
            inherited = (self._dialect.name_of(key) for key in found.inherited or ())
            return (*own, *(name for name in inherited if name not in own))
        value = found.scalar if isinstance(found, Node) else found
        return tuple(map(self._dialect.name_of, value)) if isinstance(value, dict) else ()

    def is_mapping(self, path: Path) -> bool:
        """Whether there is a mapping at `path`."""
        found = self._look(path)
        if isinstance(found, Node):
            return found.kind == MAPPING or isinstance(found.scalar, dict)
        return isinstance(found, dict)

    def span(self, path: Path) -> tuple[int, int] | None:
        """Where the value at `path` stands in the original text, its anchor and tag included; None if new."""
        found = self._look(path)
        source = found.source if isinstance(found, Node) else None
        return None if source is None else (source.start, source.end)

    def leaves(self) -> list[Leaf]:
        """Every value there is now that is no mapping with entries, in order."""
        return [
            Leaf(path, value, owner.origin if (owner := node.owner) else (), self._is_changed(node, value))
            for path, node in _leaves(self._root)
            for value in (node.plain,)
        ]

    def source_leaves(self) -> tuple[tuple[Path, Any], ...]:
        """Path and value of every leaf of the original text, in order."""
        return tuple((path, plain_copy(value)) for path, value in self._source_leaves)

    # Editing ----------------------------------------------------------------------------------------------

    def rename(self, path: Path, name: str) -> None:
        """Give an entry another name, in the same place.

        Raises:
            TreeError: There is no such entry, or the name is taken.
        """
        entry = self._named(path)
        self._demand_name(name, path)
        if name == entry.name:
            return
        self._demand_free(entry.parent, name, (*path[:-1], name))
        self._dialect.allow_change(entry.parent, path)
        self._dialect.allow_rename(entry, path)
        entry.call(name)
        self._revision += 1

    def move(self, path: Path, to: Path) -> None:
        """Carry an entry to another mapping, with its value as it is written and the comments about it.

        It goes to the end of that mapping, or to where it stood if that is where it came from. Mappings that
        are missing on the way are made. Inside one mapping it keeps its place and only the name changes.

        Args:
            path: The entry.
            to: Its new path, the new name included.

        Raises:
            TreeError: There is no such entry, the name is taken, or `to` leads into something else than a
                mapping, or into the entry itself.
        """
        entry = self._named(path)
        if to == path:
            return
        if to[: len(path)] == path:
            reason = f"{shown(path)} can't be moved into itself"
            raise TreeError(reason, path)
        if not to:
            reason = f"{shown(path)} can't take the place of the whole document"
            raise TreeError(reason, path)
        parent, missing = self._mapping_for(to)
        if parent is entry.parent and not missing:
            self.rename(path, str(to[-1]))
            return
        self._dialect.allow_change(entry.parent, path)
        self._dialect.allow_change(parent, to)
        self._dialect.allow_move(entry, parent, path)
        if to[-1] != entry.name:
            self._dialect.allow_rename(entry, path)
        for name in missing:
            parent = add(parent, name, Node(MAPPING), self._dialect).value
        entry.parent.entries.remove(entry)
        entry.call(str(to[-1]))
        _attach(entry, parent)
        self._revision += 1

    def set(self, path: Path, value: Any) -> None:
        """Change the value at `path`, or add it at the end of its mapping or list; missing mappings are made.

        The key and the comments stay. Where a mapping takes the place of a mapping, or a list of a list, only
        the entries that differ are touched. A value equal to the one there, and of the same type, changes
        nothing, and the original value comes back as it was written.

        Raises:
            TreeError: The path is empty or leads into a scalar, or the format can't hold the value.
        """
        self._place(path, value, must_be_new=False, first=False)

    def respell(self, path: Path) -> None:
        """Write a scalar as new ones are written, however it was spelled; its value stays.

        Raises:
            TreeError: There is no such entry, or it is no scalar.
        """
        entry = self._entry(path)
        if entry.value.kind != SCALAR:
            reason = f"{shown(path)} is no scalar"
            raise TreeError(reason, path)
        self._dialect.allow_change(entry.value, path)
        self._dialect.allow_departure(entry, path)
        entry.value = Node(SCALAR, entry.value.scalar, owner=entry)
        self._revision += 1

    def insert(self, path: Path, value: Any, *, first: bool = False) -> None:
        """Add an entry that must not be there yet, at the end of its mapping or at the front.

        Raises:
            TreeError: The name is taken; or as `set`.
        """
        self._place(path, value, must_be_new=True, first=first)

    def remove(self, path: Path) -> None:
        """Take an entry away. Its comments stay in the text.

        Raises:
            TreeError: There is no such entry.
        """
        entry = self._entry(path)
        self._dialect.allow_change(entry.parent, path)
        self._dialect.allow_departure(entry, path)
        entry.parent.entries.remove(entry)
        self._revision += 1

    # How it is done ---------------------------------------------------------------------------------------

    def _look(self, path: Path) -> Any:
        """The node at `path`; a plain value if it is inside something that is no node; or _NOTHING."""
        current: Any = self._root
        for step in path:
            if isinstance(current, Node):
                entry = current.find(step)
                if entry is not None:
                    current = entry.value
                    continue
                current = current.scalar if current.kind == SCALAR else current.inherited
            current = self._inside(current, step)
            if current is _NOTHING:
                break
        return current

    def _inside(self, value: Any, step: str | int) -> Any:
        if isinstance(value, dict) and isinstance(step, str):
            return next((item for key, item in value.items() if self._dialect.name_of(key) == step), _NOTHING)
        if isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
            return value[step]
        return _NOTHING

    def _entry(self, path: Path) -> Entry:
        if not path:
            reason = "the whole document is no entry"
            raise TreeError(reason, path)
        parent = self._look(path[:-1])
        entry = parent.find(path[-1]) if isinstance(parent, Node) else None
        if entry is None:
            reason = f"there is no {shown(path)}"
            if self.has(path):
                reason = f"{shown(path)} stands elsewhere in the document, and is only referred to here"
            raise TreeError(reason, path)
        return entry

    def _named(self, path: Path) -> Entry:
        entry = self._entry(path)
        if entry.parent.kind == LIST:
            reason = f"{shown(path)} is an item of a list and has no name"
            raise TreeError(reason, path)
        return entry

    def _demand_name(self, name: object, path: Path) -> None:
        if not isinstance(name, str):
            reason = f"{name!r} is not a name"
            raise TreeError(reason, path)
        self._dialect.normal_key(name, path)

    def _demand_free(self, parent: Node, name: str, path: Path) -> None:
        if parent.find(name) is not None or self._inside(parent.inherited, name) is not _NOTHING:
            reason = f"there is a {shown(path)} already"
            raise TreeError(reason, path)

    def _mapping_for(self, path: Path) -> tuple[Node, Path]:
        """The mapping that is to hold `path`, as far as it exists, and the names of those missing."""
        node = self._root
        for depth, step in enumerate(path[:-1]):
            entry = node.find(step)
            if entry is None:
                self._demand_mapping(node, path[:depth])
                for name in path[depth:]:
                    self._demand_name(name, path)
                self._demand_own(node, path[: depth + 1])
                return node, path[depth:-1]
            node = entry.value
        self._demand_mapping(node, path[:-1])
        self._demand_name(path[-1], path)
        self._demand_free(node, str(path[-1]), path)
        return node, ()

    def _demand_mapping(self, node: Node, path: Path) -> None:
        if node.kind != MAPPING:
            reason = f"{shown(path)} is not a mapping"
            if isinstance(node.scalar, dict):
                reason = f"{shown(path)} stands elsewhere in the document, and is only referred to here"
            raise TreeError(reason, path)

    def _demand_own(self, node: Node, path: Path) -> None:
        if self._inside(node.inherited, path[-1]) is not _NOTHING:
            reason = f"{shown(path)} stands elsewhere in the document, and is only referred to here"
            raise TreeError(reason, path)

    def _place(self, path: Path, value: Any, *, must_be_new: bool, first: bool) -> None:
        if not path:
            reason = "the whole document can't be replaced"
            raise TreeError(reason, path)
        value = self._dialect.normal(value, path)
        node = self._root
        for depth, step in enumerate(path):
            entry = node.find(step)
            if entry is None:
                self._add_at(node, path, depth, value, first=first)
                return
            node = entry.value
        if must_be_new:
            reason = f"there is a {shown(path)} already"
            raise TreeError(reason, path)
        if node.owner is not None and not same(node.plain, value):
            assign(node.owner, value, path, self._dialect)
            self._revision += 1

    def _add_at(self, node: Node, path: Path, depth: int, value: Any, *, first: bool) -> None:
        step, below = path[depth], path[depth + 1 :]
        if isinstance(step, int):
            if node.kind != LIST or step != len(node.entries):
                reason = f"{shown(path[:depth])} has no place for {shown(path[: depth + 1])}"
                raise TreeError(reason, path)
        else:
            self._demand_mapping(node, path[:depth])
            if not below and same(self._inside(node.inherited, step), value):
                return
            if below:
                self._demand_own(node, path[: depth + 1])
        for name in (step, *below) if isinstance(step, str) else below:
            self._demand_name(name, path)
        self._dialect.allow_change(node, path)
        for name in reversed(below):
            value = {name: value}
        add(node, step, fresh(value, self._dialect), self._dialect, first=first)
        self._revision += 1

    def _is_changed(self, node: Node, value: Any) -> bool:
        origin = node.owner.origin if node.owner else ()
        if origin is None or not same(self._source_values.get(origin, _NOTHING), value):
            return True
        return node.source is None or any(entry.value.source is None for entry in node.walk())


_NOTHING = object()


def _leaves(root: Node) -> Iterator[tuple[Path, Node]]:
    if root.kind != MAPPING:
        yield (), root
        return
    stack: list[tuple[Path, Node]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if node.kind == MAPPING and (node.entries or node is root):
            stack.extend(((*path, entry.name), entry.value) for entry in reversed(node.entries))
        else:
            yield path, node


def _attach(entry: Entry, parent: Node) -> None:
    """Put an entry into a mapping: to its old place among its old neighbours, or to the end."""
    siblings = parent.entries
    position = len(siblings)
    if entry.home is parent:
        neighbours = [(place, other.index) for place, other in enumerate(siblings) if other.home is parent]
        before = [place for place, index in neighbours if index < entry.index]
        after = [place for place, index in neighbours if index > entry.index]
        position = before[-1] + 1 if before else after[0] if after else position
    entry.parent = parent
    siblings.insert(position, entry)
