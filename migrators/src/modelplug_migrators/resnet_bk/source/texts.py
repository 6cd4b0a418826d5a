"""Finds texts in a program that name the older package: programs that are written out, modules to load."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.source.vocabulary import mentions_old_module, names_module, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["texts_that_import"]

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def texts_that_import(nodes: Sequence[ast.AST]) -> Iterator[ast.Constant]:
    """The texts, other than docstrings, with an import of the older package in them, or the name of a module.

    Args:
        nodes: The nodes of a program.
    """
    docstrings = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, _DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text = node.value
            if "src." in text and (mentions_old_module(text) or names_module(text) or resolve(text)):
                yield node
