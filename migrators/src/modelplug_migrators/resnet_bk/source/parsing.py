"""Parses Python quietly: what a program's compiler would warn of is not our concern."""

from __future__ import annotations

import ast
import functools
import sys
import warnings

__all__ = ["Unreadable", "is_python", "literal", "nodes_of", "parse"]

# What says how a name or an operator is meant, and holds nothing.
_EMPTY = frozenset({"ctx", "op", "ops"})


class Unreadable(Exception):  # noqa: N818  what it says of the text, not of us
    """A text is no Python program, or a file not what its name says.

    Attributes:
        line: The line where it stops being one; None if that is not known.
    """

    def __init__(self, reason: str, line: int | None) -> None:
        self.line = line
        super().__init__(reason)


@functools.lru_cache(maxsize=4)
def parse(text: str) -> ast.Module:
    """The syntax tree of a program, which nobody may change: who asks again soon gets the same one.

    Args:
        text: The program.

    Raises:
        Unreadable: It is none, or one for a later Python than the one that reads it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except SyntaxError as error:
            reason = f"Python {sys.version_info[0]}.{sys.version_info[1]} says {error.msg}"
            raise Unreadable(reason, error.lineno) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise Unreadable(str(error) or "it is nested too deeply", None) from error


def nodes_of(tree: ast.AST) -> list[ast.AST]:
    """A node and all others in it but for operators, level by level; `ast.walk` takes twice as long.

    Args:
        tree: The node.
    """
    nodes = [tree]
    for node in nodes:
        for name in node._fields:
            if name in _EMPTY:
                continue
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                nodes.append(value)
            elif isinstance(value, list):
                nodes += [each for each in value if isinstance(each, ast.AST)]
    return nodes


def is_python(text: str) -> bool:
    """Whether a text is a Python program."""
    try:
        parse(text)
    except Unreadable:
        return False
    return True


def literal(text: str) -> object:
    """The value of a constant as it is spelled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.literal_eval(text)
