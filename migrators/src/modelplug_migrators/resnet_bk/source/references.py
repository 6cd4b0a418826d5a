"""Where a program imports something of the older package, and where it uses it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import libcst as cst
from libcst import metadata
from libcst.helpers import get_full_name_for_node

from modelplug_migrators.resnet_bk.source.vocabulary import OURS, Old, is_old_module, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug_migrators.resnet_bk.source.program import Program

__all__ = ["Binding", "Reference", "References"]


@attrs.define(eq=False)
class Binding:
    """A name that an import statement gives to something of the older package.

    Attributes:
        statement: The statement.
        alias: The part of it that gives this name.
        local: The name.
        old: What it stands for; None for a module.
        relative: Whether the import is relative.
        is_ours: Whether it is of `resnet_bk` already.
        references: Where it is used.
        others: How often it is used for something that is not known.
    """

    statement: cst.ImportFrom | cst.Import
    alias: cst.ImportAlias
    local: str
    old: Old | None
    relative: bool
    is_ours: bool
    references: list[Reference] = attrs.field(factory=list, repr=False)
    others: int = 0


@attrs.define(eq=False)
class Reference:
    """A place where a program uses something of the older package.

    Attributes:
        node: The name, or the dotted name.
        old: What it is.
        bindings: The imports it may come from.
    """

    node: cst.BaseExpression
    old: Old
    bindings: tuple[Binding, ...]


class References:
    """The imports and uses of one program.

    Args:
        program: The program.
    """

    def __init__(self, program: Program) -> None:
        self.program = program

    @cached_property
    def bindings(self) -> list[Binding]:
        """Every import, in the order of the text."""
        return list(self._by_assignment.values())

    @cached_property
    def all(self) -> list[Reference]:
        """Every use, in the order of the text."""
        found: dict[cst.CSTNode, Reference] = {}
        for assignment, binding in self._by_assignment.items():
            for access in assignment.references:
                node = self._outermost(access.node)
                old = binding.old if isinstance(access.node, cst.SimpleString) else self.program.old(node)
                if old is None:
                    binding.others += 1
                    continue
                reference = found.get(node) or Reference(node, old, ())
                reference.bindings = (*reference.bindings, binding)
                binding.references.append(reference)
                found[node] = reference
        return sorted(found.values(), key=lambda each: self.program.span(each.node))

    def of(self, name: str) -> list[Reference]:
        """The uses of what has this name in the older package."""
        return [reference for reference in self.all if reference.old.name == name]

    @cached_property
    def _by_assignment(self) -> dict[metadata.BaseAssignment, Binding]:
        found: dict[metadata.BaseAssignment, Binding] = {}
        for scope in self.program.scopes:
            for assignment in scope.assignments:
                if isinstance(assignment, metadata.ImportAssignment):
                    binding = self._binding(assignment)
                    if binding is not None:
                        found[assignment] = binding
        return dict(sorted(found.items(), key=lambda item: self.program.span(item[1].alias)))

    def _binding(self, assignment: metadata.ImportAssignment) -> Binding | None:
        statement = assignment.node
        if not isinstance(statement, (cst.ImportFrom, cst.Import)) or isinstance(
            statement.names, cst.ImportStar
        ):
            return None
        for alias in statement.names:
            name = get_full_name_for_node(alias.name) or ""
            local = alias.evaluated_alias or name
            if local != assignment.name:
                continue
            module = self.module_of(statement)
            qualified = name if not module else f"{module}{'' if module.strip('.') == '' else '.'}{name}"
            found = resolve(qualified)
            if found is None and not is_old_module(qualified):
                return None
            return Binding(
                statement,
                alias,
                local,
                found[0] if found else None,
                relative=qualified.startswith("."),
                is_ours=qualified.partition(".")[0] == OURS,
            )
        return None

    def module_of(self, statement: cst.ImportFrom | cst.Import) -> str:
        """The module that names are imported from, with the dots of a relative import; empty for `import`."""
        if isinstance(statement, cst.Import):
            return ""
        module = get_full_name_for_node(statement.module) if statement.module else ""
        return "." * len(statement.relative) + (module or "")

    def _outermost(self, node: cst.BaseExpression) -> cst.BaseExpression:
        """The shortest dotted name, from a name on, that means something; the name itself if none does."""
        for outer in [node, *self._dotted(node)]:
            if self.program.old(outer) is not None:
                return outer
        return node

    def _dotted(self, node: cst.BaseExpression) -> Iterator[cst.Attribute]:
        while True:
            outer = self.program.parent(node)
            if not isinstance(outer, cst.Attribute) or outer.value is not node:
                return
            yield outer
            node = outer
