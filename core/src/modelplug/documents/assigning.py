"""Gives an entry another value, and touches only what differs: the rest keeps its place and comments."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from modelplug.documents.errors import TreeError, shown
from modelplug.documents.nodes import LIST, MAPPING, SCALAR, Entry, Node, Path, same

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.documents.dialect import Dialect

__all__ = ["add", "assign", "fresh"]


def fresh(value: Any, dialect: Dialect) -> Node:
    """A plain value as a node of its own."""
    if isinstance(value, dict):
        node = Node(MAPPING)
        for key, item in value.items():
            add(node, key, fresh(item, dialect), dialect)
        return node
    if isinstance(value, list):
        node = Node(LIST)
        for item in value:
            add(node, None, fresh(item, dialect), dialect)
        return node
    return Node(SCALAR, value)


def add(parent: Node, key: Any, node: Node, dialect: Dialect, *, first: bool = False) -> Entry:
    """A new entry in a mapping or list, at its end or at its front."""
    name = dialect.name_of(key) if parent.kind == MAPPING else ""
    node.owner = Entry(name=name, key=key, value=node, parent=parent)
    parent.entries.insert(0 if first else len(parent.entries), node.owner)
    return node.owner


def assign(entry: Entry, value: Any, path: Path, dialect: Dialect) -> None:
    """Give an existing entry a value that differs from the one it has.

    Raises:
        TreeError: Something in it must not be changed; then nothing was.
    """
    planner = _Planner(dialect)
    planner.assign(entry, value, path)
    for step in planner.steps:
        step()


class _Planner:
    """Collects what has to be done, and asks for all of it first: a refusal must leave the tree whole."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.steps: list[Callable[[], object]] = []

    def assign(self, entry: Entry, value: Any, path: Path) -> None:
        current, original = entry.value, entry.original
        kind = MAPPING if isinstance(value, dict) else LIST if isinstance(value, list) else SCALAR
        if original is not None and original.kind == SCALAR and same(original.scalar, value):
            kept: Node | None = original
        else:
            nodes = (current, original) if kind != SCALAR else ()
            kept = next((node for node in nodes if node is not None and node.kind == kind), None)
        if kept is not current:
            self.dialect.allow_change(current, path)
            self.dialect.allow_departure(entry, path)
            self.steps.append(partial(_hold, entry, fresh(value, self.dialect) if kept is None else kept))
        if kept is None or kept.kind == SCALAR or same(kept.plain, value):
            return
        self.dialect.allow_change(kept, path)
        if kind == MAPPING:
            self.merge(kept, value, path)
        else:
            self.follow(kept, value, path)

    def merge(self, node: Node, value: dict[Any, Any], path: Path) -> None:
        """Make a mapping equal to `value`."""
        inherited = node.inherited or {}
        for key in inherited:
            if key not in value:
                where = (*path, self.dialect.name_of(key))
                reason = f"{shown(where)} stands elsewhere in the document, and is only referred to here"
                raise TreeError(reason, where)
        for entry in node.entries:
            if entry.key not in value:
                self.dialect.allow_departure(entry, (*path, entry.name))
                self.steps.append(partial(node.entries.remove, entry))
        own = {entry.key: entry for entry in node.entries}
        for key, item in value.items():
            if key in own:
                if not same(own[key].value.plain, item):
                    self.assign(own[key], item, (*path, own[key].name))
            elif key not in inherited or not same(inherited[key], item):
                self.steps.append(partial(add, node, key, fresh(item, self.dialect), self.dialect))

    def follow(self, node: Node, value: list[Any], path: Path) -> None:
        """Make a list equal to `value`."""
        for position in range(len(value), len(node.entries)):
            self.dialect.allow_departure(node.entries[position], (*path, position))
            self.steps.append(partial(node.entries.remove, node.entries[position]))
        for position, item in enumerate(value):
            if position >= len(node.entries):
                self.steps.append(partial(add, node, None, fresh(item, self.dialect), self.dialect))
            elif not same(node.entries[position].value.plain, item):
                self.assign(node.entries[position], item, (*path, position))


def _hold(entry: Entry, node: Node) -> None:
    entry.value = node
    node.owner = entry
