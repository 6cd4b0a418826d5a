"""Small questions about expressions. LibCST's own matchers would answer them, and take long to load."""

from __future__ import annotations

import libcst as cst

from modelplug_migrators.resnet_bk.source.parsing import literal

__all__ = ["calls", "constant_key", "is_constant", "is_own_attribute", "text_of"]


def is_constant(node: cst.CSTNode | None, word: str) -> bool:
    """Whether an expression is one of the words True, False and None."""
    return isinstance(node, cst.Name) and node.value == word


def is_own_attribute(node: cst.CSTNode | None) -> bool:
    """Whether an expression is an attribute of `self`."""
    return isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name) and node.value.value == "self"


def calls(node: cst.CSTNode | None, name: str) -> bool:
    """Whether an expression calls a function, or a method, of that name."""
    if not isinstance(node, cst.Call):
        return False
    if isinstance(node.func, cst.Attribute):
        return node.func.attr.value == name
    return isinstance(node.func, cst.Name) and node.func.value == name


def text_of(node: cst.CSTNode | None) -> str | None:
    """The text that a string constant spells; None for anything else."""
    if isinstance(node, cst.SimpleString):
        value = literal(node.value)
        return value if isinstance(value, str) else None
    return None


def constant_key(node: cst.CSTNode | None) -> str | int | None:
    """The text or whole number that a subscript looks up; None for any other."""
    if isinstance(node, cst.Subscript) and len(node.slice) == 1:
        index = node.slice[0].slice
        if isinstance(index, cst.Index):
            if isinstance(index.value, cst.Integer):
                return index.value.evaluated_value
            return text_of(index.value)
    return None
