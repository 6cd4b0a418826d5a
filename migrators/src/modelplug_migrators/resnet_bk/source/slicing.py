"""Cuts a program down to the statements that matter, so that long files are read as fast as short ones.

The syntax trees with places and scopes that rules need take many times as long to make as those of Python
itself. A function that mentions none of the names that matter can't change what these names mean, so it is
left out, and so are other statements. Lines stay whole and keep their order; where each came from is
remembered.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import attrs

from modelplug_migrators.resnet_bk.source.parsing import Unreadable, nodes_of
from modelplug_migrators.resnet_bk.source.vocabulary import MODULES, is_old_module, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["NEWLINE", "Slice", "cut", "line_starts"]

NEWLINE = re.compile(r"\r\n?|\n")
"""What ends a line for Python, and so for positions in syntax trees."""

# Names are followed this far: the class, what it makes, what that gives, and what is made of that.
_STEPS = 4
# Names that rules may write: what else has one of them must be seen.
_NEW = {"preset"} | {old.counterpart for names in MODULES.values() for old in names.values()} - {""}
_WORDS = re.compile(r"\w+")
_DEEPEST = 150
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_IMPORTS = (ast.Import, ast.ImportFrom)


@attrs.frozen
class Slice:
    """A part of a text, in whole lines.

    Attributes:
        text: The part.
        starts: Where each of its lines begins in the whole text.
    """

    text: str
    starts: tuple[int, ...]

    def offset(self, line: int, column: int) -> int:
        """The place in the whole text.

        Args:
            line: The line in the part, from 1.
            column: The column, from 0.
        """
        return self.starts[line - 1] + column


def line_starts(text: str) -> list[int]:
    """Where each line of a text begins.

    Args:
        text: The text.
    """
    return [0, *(found.end() for found in NEWLINE.finditer(text))]


def cut(text: str, tree: ast.Module) -> Slice:
    """The statements that matter, with the imports they need.

    Args:
        text: The program.
        tree: The same, parsed.

    Raises:
        Unreadable: A statement that matters is nested so deeply that LibCST would take minutes to read it.
    """
    imported = set(_imported(tree))
    starts = line_starts(text)
    if not imported:
        _refuse_depths(tree.body)
        return Slice(text, tuple(starts))
    blocks = _blocks(tree)
    for block in blocks:
        own = text[starts[block.first - 1] : _line_end(starts, block.last, text)]
        block.words = frozenset(_WORDS.findall(own))
    _choose(blocks, imported)
    _refuse_depths(node for block in blocks if block.chosen for node in block.nodes)
    lines = sorted({line for block in blocks if block.chosen for line in range(block.first, block.last + 1)})
    parts = [text[starts[line - 1] : _line_end(starts, line, text)] for line in lines]
    return Slice("".join(parts), (*(starts[line - 1] for line in lines), len(text)))


def _line_end(starts: list[int], line: int, text: str) -> int:
    return starts[line] if line < len(starts) else len(text)


def _refuse_depths(statements: Iterable[ast.stmt]) -> None:
    for statement in statements:
        waiting: list[tuple[ast.AST, int]] = [(statement, 0)]
        while waiting:
            node, depth = waiting.pop()
            if depth > _DEEPEST:
                reason = f"the statement is nested more than {_DEEPEST} levels deep"
                raise Unreadable(reason, statement.lineno)
            waiting += [(inner, depth + 1) for inner in ast.iter_child_nodes(node)]


# Blocks ---------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Block:
    """Lines that stay or go together.

    Attributes:
        first: The first line, from 1.
        last: The last one.
        nodes: The statements.
        head: The beginning of the class it belongs to, which stays with it.
        chosen: Whether it stays.
        words: The words in the lines.
    """

    first: int
    last: int
    nodes: list[ast.stmt]
    head: _Block | None = None
    chosen: bool = False
    words: frozenset[str] = frozenset()


def _blocks(tree: ast.Module) -> list[_Block]:
    """The statements of a module, of a class its head and each method by itself; one for each line."""
    joined: list[_Block] = []
    became: dict[_Block, _Block] = {}
    for block in _single_blocks(tree):
        if joined and block.first <= joined[-1].last:
            last = joined[-1]
            last.last = max(last.last, block.last)
            last.nodes += block.nodes
            became[block] = last
        else:
            joined.append(block)
        block.head = became.get(block.head, block.head) if block.head else None
    return joined


def _single_blocks(tree: ast.Module) -> Iterator[_Block]:
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or len(node.body) < 2 or node.body[0].lineno == node.lineno:
            yield _Block(_first_line(node), _last_line(node), [node])
            continue
        # With its first statement a class is complete, whatever becomes of the others.
        head = _Block(_first_line(node), _last_line(node.body[0]), [node.body[0]])
        head.head = head
        yield head
        for inner in node.body[1:]:
            yield _Block(_first_line(inner), _last_line(inner), [inner], head=head)


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


# Choosing -------------------------------------------------------------------------------------------------


def _choose(blocks: list[_Block], imported: set[str]) -> None:
    """Mark the blocks that stay: those that mention a name that matters, as far as names lead to others."""
    outer = {name for block in blocks if block.head is None for node in block.nodes for name in _bound(node)}
    everywhere = imported | _NEW
    inside: dict[_Block, set[str]] = {block.head: set() for block in blocks if block.head}
    for _ in range(_STEPS):
        before = (len(everywhere), sum(map(len, inside.values())), sum(block.chosen for block in blocks))
        for block in blocks:
            members = inside[block.head] if block.head else set()
            names = everywhere | members
            if names.isdisjoint(block.words):
                continue
            block.chosen = True
            found = _Found()
            for node in block.nodes:
                found.look(node, names, imported)
            everywhere |= found.outward & outer
            members |= found.members
        after = (len(everywhere), sum(map(len, inside.values())), sum(block.chosen for block in blocks))
        if before == after:
            break
    for block in blocks:
        if block.chosen and block.head:
            block.head.chosen = True
    words = _NEW.union({"torch"}, *(block.words for block in blocks if block.chosen))
    for block in blocks:
        if any(isinstance(node, _IMPORTS) and _gives(node, words) for node in block.nodes):
            block.chosen = True


def _gives(statement: ast.Import | ast.ImportFrom, words: set[str]) -> bool:
    """Whether an import gives one of the names, or nobody knows which."""
    return any(
        alias.name == "*" or (alias.asname or alias.name.partition(".")[0]) in words
        for alias in statement.names
    )


def _imported(tree: ast.Module) -> Iterator[str]:
    """The names by which a program has something of the older package, or of `resnet_bk`."""
    for node in nodes_of(tree):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                qualified = f"{module}.{alias.name}" if node.module else f"{module}{alias.name}"
                if module == "resnet_bk" or resolve(qualified) or is_old_module(qualified):
                    yield alias.asname or alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "resnet_bk" or is_old_module(alias.name):
                    yield alias.asname or alias.name.partition(".")[0]


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module gives a meaning, those of `global` included."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        yield statement.name
    for node in nodes_of(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Global):
            yield from node.names


@attrs.define
class _Found:
    """What in a block depends on the names that matter.

    Attributes:
        outward: Names that may be those of the module.
        members: Attributes of `self`.
    """

    outward: set[str] = attrs.field(factory=set)
    members: set[str] = attrs.field(factory=set)

    def look(self, statement: ast.stmt, names: set[str], imported: set[str]) -> None:
        """Take in a statement.

        Args:
            statement: The statement.
            names: The names that matter.
            imported: Those among them that are imported.
        """
        nodes = nodes_of(statement)
        inner = set(names)
        for _ in range(_STEPS):
            size = len(inner)
            for node in nodes:
                for target in _targets(node, inner):
                    self._take_target(target, inner)
            if len(inner) == size:
                break
        self.outward |= inner
        for node in nodes:
            if isinstance(node, _FUNCTIONS):
                gives = (each.value for each in nodes_of(node) if isinstance(each, ast.Return) and each.value)
                if any(_mentions(value, inner) for value in gives):
                    self.outward.add(node.name)
            elif isinstance(node, ast.Call):
                self._take_call(node, inner, imported)

    def _take_target(self, target: ast.expr, inner: set[str]) -> None:
        for node in nodes_of(target):
            if isinstance(node, ast.Name) and node.id not in ("self", "cls"):
                inner.add(node.id)
            elif isinstance(node, ast.Attribute):
                inner.add(node.attr)
                self.members.add(node.attr)

    def _take_call(self, call: ast.Call, inner: set[str], imported: set[str]) -> None:
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(call.func, ast.Name) and any(_mentions(each, inner) for each in given):
            self.outward.add(call.func.id)
        if _mentions(call.func, imported):
            # What a call of something imported is given may matter, for example a dictionary of settings.
            for each in given:
                self.outward |= {node.id for node in nodes_of(each) if isinstance(node, ast.Name)}


def _targets(node: ast.AST, names: set[str]) -> Iterable[ast.expr]:
    """What gets a value that depends on the names."""
    if isinstance(node, ast.Assign) and _mentions(node.value, names):
        return node.targets
    if isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value and _mentions(node.value, names):
        return [node.target]
    if isinstance(node, ast.withitem) and node.optional_vars and _mentions(node.context_expr, names):
        return [node.optional_vars]
    return []


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return any(
        (isinstance(inner, ast.Name) and inner.id in names)
        or (isinstance(inner, ast.Attribute) and inner.attr in names)
        for inner in nodes_of(node)
    )
