"""A program as rules see it: its syntax tree, what its names mean, and the changes to its text."""

from __future__ import annotations

import functools
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import libcst as cst
from libcst import metadata

from modelplug.migration.account import Severity
from modelplug_migrators.resnet_bk.source.deadline import Deadline
from modelplug_migrators.resnet_bk.source.edits import Edits
from modelplug_migrators.resnet_bk.source.parsing import Unreadable, parse
from modelplug_migrators.resnet_bk.source.scopes import places_of, scopes_of
from modelplug_migrators.resnet_bk.source.shapes import is_constant
from modelplug_migrators.resnet_bk.source.slicing import Slice, cut, line_starts
from modelplug_migrators.resnet_bk.source.vocabulary import Old, resolve

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Program", "Told"]

Node = TypeVar("Node", bound=cst.CSTNode)

_OURS = "resnet_bk"
_WHITE = (
    cst.BaseParenthesizableWhitespace, cst.Comma, cst.Comment, cst.EmptyLine, cst.Newline, cst.Semicolon,
    cst.TrailingWhitespace,
)  # fmt: skip


@attrs.frozen
class Told:
    """Something to tell about a place.

    Attributes:
        severity: How much it matters.
        message: One sentence.
        line: The line of the file; None if it is about the whole.
    """

    severity: Severity
    message: str
    line: int | None


@functools.cache
def _is_white(kind: type[cst.CSTNode]) -> bool:
    """Whether nodes of a class are white space; asking LibCST's classes is slow."""
    return issubclass(kind, _WHITE)


class _Walk(cst.CSTVisitor):
    """Collects the nodes of a tree by their classes, and which one each is in."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[type[cst.CSTNode], list[Any]] = {}
        self.parents: dict[cst.CSTNode, cst.CSTNode] = {}
        self._open: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_white(type(node)):
            return False
        if self._open:
            self.parents[node] = self._open[-1]
        self.nodes.setdefault(type(node), []).append(node)
        self._open.append(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if not _is_white(type(original_node)):
            self._open.pop()

    # What these do otherwise, looking for a method by name, takes as long as all the rest.

    def on_visit_attribute(self, node: cst.CSTNode, attribute: str) -> None:
        """Pass on."""

    def on_leave_attribute(self, original_node: cst.CSTNode, attribute: str) -> None:
        """Pass on."""


class Program:
    """One program. Rules look it up and note changes; nothing is changed before all rules have looked.

    Args:
        text: The program.
        kept: Spans that have to stay as they are, whatever is in them.
        pieces: Where each of several parts begins, for example the cells of a notebook.
        line_of: The line of the file that a place in the text comes from.
        deadline: When to give up.

    Attributes:
        text: The program.
        python: The syntax tree of the whole, as Python makes it.
        module: That of the statements that matter.
        edits: The changes noted so far.
        told: What was told so far.

    Raises:
        Unreadable: The text is no Python program.
        TooSlow: It takes too long.
    """

    def __init__(
        self,
        text: str,
        *,
        kept: Sequence[tuple[int, int]] = (),
        pieces: Sequence[int] = (),
        line_of: Callable[[int], int] | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        deadline = deadline or Deadline.none()
        self.text = text
        self.edits = Edits()
        self.told: list[Told] = []
        self._kept = kept
        self._pieces = pieces
        self._line_of = line_of or (lambda offset: text.count("\n", 0, offset) + 1)
        self.python = parse(text)
        self._slice, tree = _read(text, self.python)
        deadline.check(work_ahead=len(self._slice.starts))
        self.module = tree
        self._places = places_of(tree)
        self._scopes = scopes_of(self.module)
        walk = _Walk()
        self.module.visit(walk)
        self._nodes = walk.nodes
        self._parents = walk.parents
        deadline.check()

    # Places -------------------------------------------------------------------------------------------

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """Where a node begins and ends in the text, without white space and comments around it."""
        place = self._places[node]
        return (
            self._slice.offset(place.start.line, place.start.column),
            self._slice.offset(place.end.line, place.end.column),
        )

    def outer_span(self, node: cst.BaseExpression) -> tuple[int, int]:
        """The same, with the parentheses around it."""
        start, end = self.span(node)
        for _ in node.lpar:
            start = self.text.rindex("(", 0, start)
            end = self.text.index(")", end) + 1
        return start, end

    def line(self, node: cst.CSTNode) -> int:
        """The line of the file, from 1, that a node begins on."""
        return self._line_of(self.span(node)[0])

    def file_line(self, line: int) -> int:
        """The line of the file that a line of the program is, each from 1."""
        return self._line_of(line_starts(self.text)[line - 1])

    def code(self, node: cst.CSTNode) -> str:
        """What stands there."""
        start, end = self.span(node)
        return self.text[start:end]

    def parentheses(self, call: cst.Call) -> tuple[int, int]:
        """Where the parentheses around the arguments of a call are."""
        return self.text.index("(", self.outer_span(call.func)[1]), self.span(call)[1] - 1

    def is_kept(self, node: cst.CSTNode) -> bool:
        """Whether it lies where nothing may be changed."""
        start, _ = self.span(node)
        return any(first <= start < last for first, last in self._kept)

    # The tree -----------------------------------------------------------------------------------------

    def every(self, kind: type[Node]) -> list[Node]:
        """Every node of a class, in the order of the text; outer ones first."""
        return self._nodes.get(kind, [])

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The node around a node; None around the module."""
        return None if node is self.module else self._parents[node]

    def around(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """The nodes around a node, from the inside out."""
        outer = self.parent(node)
        while outer is not None:
            yield outer
            outer = self.parent(outer)

    def enclosing(self, node: cst.CSTNode, *kinds: type[Any]) -> cst.CSTNode | None:
        """The nearest node around a node that is of one of the kinds."""
        return next((outer for outer in self.around(node) if isinstance(outer, kinds)), None)

    def line_of(self, node: cst.CSTNode) -> cst.CSTNode:
        """The line of simple statements, or the compound statement, that a node is or belongs to."""
        kinds = (cst.SimpleStatementLine, cst.SimpleStatementSuite, cst.BaseCompoundStatement)
        if isinstance(node, kinds):
            return node
        return self.enclosing(node, *kinds) or self.module

    def piece(self, offset: int) -> int:
        """Where the part begins that an offset lies in: a cell, a block, or the whole program."""
        return max((piece for piece in self._pieces if piece <= offset), default=0)

    def first_statement(self, offset: int) -> cst.CSTNode:
        """The first statement of the part that an offset lies in."""
        start = self.piece(offset)
        return next(node for node in self.module.body if self.span(node)[0] >= start)

    def whole_lines(self, start: int, end: int) -> tuple[int, int]:
        """The lines that a span lies in, with their ends."""
        first = self.text.rfind("\n", 0, start) + 1
        found = self.text.find("\n", end)
        return first, len(self.text) if found < 0 else found + 1

    def comment_behind(self, at: int) -> str:
        """The comment between a place and the end of its line; empty if there is none."""
        found = self.text.find("\n", at)
        rest = self.text[at : len(self.text) if found < 0 else found].strip()
        return rest if rest.startswith("#") else ""

    # Names --------------------------------------------------------------------------------------------

    def scope(self, node: cst.CSTNode) -> metadata.Scope | None:
        """The scope in which a node's names are looked up."""
        found = self._scopes.get(node)
        if found is None:
            for outer in self.around(node):
                found = self._scopes.get(outer)
                if found is not None:
                    break
        return found

    @cached_property
    def scopes(self) -> list[metadata.Scope]:
        """Every scope."""
        return list({scope: None for scope in self._scopes.values() if scope is not None})

    def qualified(self, node: cst.CSTNode) -> set[str]:
        """Everything a name or attribute may stand for, as imports spell it out."""
        scope = self.scope(node)
        if scope is None or not isinstance(node, (cst.Name, cst.Attribute)):
            return set()
        return {found.name for found in scope.get_qualified_names_for(node)}

    def assignments(self, name: cst.Name) -> list[metadata.BaseAssignment]:
        """Where a name may have got its value."""
        scope = self.scope(name)
        return [] if scope is None else sorted(scope[name.value], key=_place_of(self))

    def old(self, node: cst.CSTNode) -> Old | None:
        """What a name or attribute means in the older package; None if it may mean something else."""
        found = self.old_with_rest(node)
        return found[0] if found and not found[1] else None

    def old_with_rest(self, node: cst.CSTNode) -> tuple[Old, str] | None:
        """The same, with what is taken of it: `apply` for `BKCoreFunction.apply`."""
        meant = [resolve(name) for name in self._imported_names(node)]
        return meant[0] if meant and meant[0] and all(other == meant[0] for other in meant) else None

    def ours(self, node: cst.CSTNode) -> str:
        """The name that a node stands for in `resnet_bk`; empty if it may stand for something else."""
        names = self._imported_names(node)
        if len(names) == 1:
            module, _, name = next(iter(names)).rpartition(".")
            return name if module == _OURS else ""
        return ""

    def is_called(self, call: cst.Call, *names: str) -> bool:
        """Whether a call is of one of these functions, by their full names."""
        return bool(self.qualified(call.func) & set(names))

    def _imported_names(self, node: cst.CSTNode) -> set[str]:
        """What imports make of a name. That it is None where an import failed changes nothing."""
        names = self.qualified(node)
        if len(names) > 1 and isinstance(node, cst.Name):
            plain = {a.name for a in self.assignments(node) if is_constant(self.value_of(a), "None")}
            names = names - plain
        return names

    def value_of(self, assignment: metadata.BaseAssignment) -> cst.BaseExpression | None:
        """The expression that a plain assignment gives a name; None if there is no such expression."""
        node = getattr(assignment, "node", None)
        target = self.parent(node) if isinstance(node, cst.CSTNode) else None
        if isinstance(target, cst.AssignTarget):
            statement = self.parent(target)
            return statement.value if isinstance(statement, cst.Assign) else None
        if isinstance(target, (cst.AnnAssign, cst.NamedExpr)) and target.target is node:
            return target.value
        return None

    # Telling ------------------------------------------------------------------------------------------

    def todo(self, message: str, node: cst.CSTNode) -> None:
        """Say what a person must still do at a place, which stays as it was."""
        self._tell(Severity.TODO, message, self.line(node))

    def todo_at(self, message: str, line: int) -> None:
        """The same, for a line of the program rather than a node."""
        self._tell(Severity.TODO, message, self.file_line(line))

    def warn(self, message: str, node: cst.CSTNode) -> None:
        """Say what is probably not as its owner thinks."""
        self._tell(Severity.WARNING, message, self.line(node))

    def note(self, message: str, node: cst.CSTNode) -> None:
        """Say what is worth knowing."""
        self._tell(Severity.NOTE, message, self.line(node))

    def _tell(self, severity: Severity, message: str, line: int) -> None:
        told = Told(severity, message, line)
        if told not in self.told:
            self.told.append(told)


def _place_of(program: Program) -> Any:
    def place(assignment: metadata.BaseAssignment) -> int:
        node = getattr(assignment, "node", None)
        return program.span(node)[0] if isinstance(node, cst.CSTNode) else -1

    return place


def _read(text: str, python: ast.Module) -> tuple[Slice, cst.Module]:
    """The part of a program that matters, and its syntax tree."""
    part = cut(text, python)
    try:
        return part, cst.parse_module(part.text)
    except cst.ParserSyntaxError as error:
        raise Unreadable(error.message, None) from error
