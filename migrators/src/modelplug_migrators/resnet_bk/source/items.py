"""Settings as a program writes them: arguments of a call, or keys of a dictionary that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import libcst as cst

from modelplug_migrators.resnet_bk.source.shapes import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelplug_migrators.resnet_bk.source.program import Program

__all__ = ["Dictionary", "Item", "dictionary_at", "items_of_call"]

_LOOKS = frozenset({"get", "items", "keys", "values"})


@attrs.define(eq=False)
class Item:
    """One setting.

    Attributes:
        name: What it is called.
        value: Its value.
        node: The argument or dictionary element.
        label: What spells the name; None for a positional argument.
        group: The arguments or elements it stands among.
    """

    name: str
    value: cst.BaseExpression
    node: cst.CSTNode
    label: cst.CSTNode | None
    group: Sequence[cst.CSTNode]


@attrs.define(eq=False)
class Dictionary:
    """A dictionary that a program shows.

    Attributes:
        node: The expression that makes it.
        items: What is in it.
        shared: Whether others than the calls that take it apart may look into it.
        read: The keys that are looked up elsewhere.
    """

    node: cst.BaseExpression
    items: list[Item]
    shared: bool = False
    read: set[str] = attrs.field(factory=set)


def items_of_call(call: cst.Call, order: Sequence[str] = ()) -> list[Item]:
    """The arguments of a call that are no dictionaries; positional ones have the names of the order."""
    items = []
    for position, argument in enumerate(call.args):
        if argument.star:
            continue
        name = argument.keyword.value if argument.keyword else order[position]
        items.append(Item(name, argument.value, argument, argument.keyword, call.args))
    return items


def dictionary_at(program: Program, node: cst.BaseExpression, users: Iterable[cst.Call]) -> Dictionary | None:
    """The dictionary that an expression stands for; None if the program does not show all that is in it.

    Args:
        program: The program.
        node: The expression.
        users: Calls that take it apart, and can do with other names in it.
    """
    if not isinstance(node, cst.Name):
        items = _items_of_display(node)
        return None if items is None else Dictionary(node, items)
    assignments = program.assignments(node)
    if len(assignments) != 1:
        return None
    value = program.value_of(assignments[0])
    items = None if value is None else _items_of_display(value)
    if value is None or items is None:
        return None
    found = Dictionary(value, items)
    for access in assignments[0].references:
        if not _understood(program, access.node, found, set(users)):
            return None
    return found


def _items_of_display(node: cst.BaseExpression) -> list[Item] | None:
    items: list[Item] = []
    if isinstance(node, cst.Dict):
        for element in node.elements:
            name = text_of(element.key) if isinstance(element, cst.DictElement) else None
            if name is None or not isinstance(element, cst.DictElement):
                return None
            items.append(Item(name, element.value, element, element.key, node.elements))
        return items
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "dict":
        return items_of_call(node) if all(each.keyword for each in node.args) else None
    return None


def _understood(program: Program, use: cst.CSTNode, found: Dictionary, users: set[cst.Call]) -> bool:
    """Take in one use of a dictionary's name; false if it may change what is in it."""
    parent = program.parent(use)
    if isinstance(parent, cst.Arg):
        call = program.parent(parent)
        if call not in users:
            found.shared = True
        return True
    if isinstance(parent, cst.Subscript):
        key = parent.slice[0].slice
        name = text_of(key.value) if isinstance(key, cst.Index) else None
        holder = program.parent(parent)
        if isinstance(holder, (cst.AssignTarget, cst.AugAssign, cst.Del)):
            return False
        if name is None:
            found.shared = True
        else:
            found.read.add(name)
        return True
    if isinstance(parent, cst.Attribute):
        return _takes_look(program, parent, found)
    found.shared = True
    return True


def _takes_look(program: Program, attribute: cst.Attribute, found: Dictionary) -> bool:
    call = program.parent(attribute)
    if attribute.attr.value not in _LOOKS or not isinstance(call, cst.Call):
        return False
    name = text_of(call.args[0].value) if attribute.attr.value == "get" and call.args else None
    if name is None:
        found.shared = True
    else:
        found.read.add(name)
    return True
