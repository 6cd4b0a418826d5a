"""Decides, when all rules have looked, which imports come from `resnet_bk` afterwards, and writes them.

Rules say of each use of the older package what becomes of it: `replace` it by another name, `keep` it, or
nothing. An import whose uses all can do with `resnet_bk` moves there; one that somebody still needs stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import libcst as cst
from libcst import metadata

from modelplug_migrators.resnet_bk.source.import_text import ImportChange, Name, write
from modelplug_migrators.resnet_bk.source.shapes import is_constant
from modelplug_migrators.resnet_bk.source.vocabulary import OURS

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.references import Binding, Reference, References

__all__ = ["ImportPlan"]


@attrs.frozen
class _Written:
    """A text with a name of `resnet_bk` in it; how the name is written is not known before all rules looked.

    Attributes:
        reference: The use that it stands for, or beside.
        start: Where it begins.
        end: What it takes the place of ends here.
        name: The name in `resnet_bk`.
        before: What comes before the name.
        after: What comes after it.
    """

    reference: Reference
    start: int
    end: int
    name: str
    before: str = ""
    after: str = ""


class ImportPlan:
    """The imports of one program.

    Args:
        program: The program.
        references: Its imports and uses.
    """

    def __init__(self, program: Program, references: References) -> None:
        self.program = program
        self.references = references
        self._replaced: dict[Reference, _Written] = {}
        self._kept: set[Reference] = set()
        self._dropped: set[Reference] = set()
        self._written: list[_Written] = []
        self._lines: dict[cst.CSTNode, list[str]] = {}
        self._changes: dict[cst.CSTNode, ImportChange] = {}

    def replace(self, reference: Reference, name: str) -> None:
        """Put a name of `resnet_bk` in the place of a use."""
        start, end = self.program.span(reference.node)
        self._replaced[reference] = _Written(reference, start, end, name)

    def replace_part(self, reference: Reference, name: str, start: int, end: int) -> None:
        """Put a name of `resnet_bk` in the place of a part of a use: what a text says."""
        self._replaced[reference] = _Written(reference, start, end, name)

    def insert(self, reference: Reference, at: int, name: str, *, before: str = "", after: str = "") -> None:
        """Write a name of `resnet_bk`, with something around it, near a use: before what others put there."""
        self._written.append(_Written(reference, at, at, name, before, after))

    def write_over(
        self, reference: Reference, span: tuple[int, int], name: str, *, before: str = "", after: str = ""
    ) -> None:
        """Put a name of `resnet_bk`, with something around it, in the place of a span near a use."""
        self._written.append(_Written(reference, *span, name, before, after))

    def keep(self, reference: Reference) -> None:
        """Leave a use as it is, with its import."""
        self._kept.add(reference)

    def drop(self, reference: Reference) -> None:
        """Have nothing in the place of a use: what it was part of goes."""
        self._dropped.add(reference)

    def add_line(self, reference: Reference, line: str) -> None:
        """Have a plain import, for example `import torch`, before the import of what is used."""
        for binding in reference.bindings:
            lines = self._lines.setdefault(binding.statement, [])
            if line not in lines:
                lines.append(line)

    def is_settled(self, reference: Reference) -> bool:
        """Whether something is to take the place of a use, or it goes."""
        return reference in self._replaced or reference in self._dropped

    def is_kept(self, reference: Reference) -> bool:
        """Whether a use stays as it is."""
        return reference in self._kept

    # Deciding -----------------------------------------------------------------------------------------

    def stays(self, binding: Binding) -> bool:
        """Whether an import has to stay."""
        if self.program.is_kept(binding.statement) or binding.others:
            return True
        if any(use in self._kept or not self._has_place(use) for use in binding.references):
            return True
        if binding.old is None:
            return not binding.references
        # From inside its own package a name may be imported only to pass it on.
        return not self._has_successor(binding) or (binding.relative and not binding.references)

    def _has_place(self, use: Reference) -> bool:
        return use in self._replaced or use in self._dropped or bool(use.old.counterpart)

    def _has_successor(self, binding: Binding) -> bool:
        done = self._replaced.keys() | self._dropped
        if binding.references and all(use in done for use in binding.references):
            return True
        return binding.old is not None and bool(binding.old.counterpart)

    def finish(self) -> None:
        """Write down all changes."""
        for use in self.references.all:
            through_module = any(binding.old is None for binding in use.bindings)
            untouched = use not in self._kept and use not in self._replaced and not use.old.is_ours
            if untouched and through_module and use.old.counterpart and not self.program.is_kept(use.node):
                self.replace(use, use.old.counterpart)
        for binding in self.references.bindings:
            if not self.stays(binding):
                self._move(binding)
        for written in [*self._replaced.values(), *self._written]:
            local = self._local(written)
            text = f"{written.before}{local}{written.after}"
            if written.start == written.end:
                self.program.edits.insert(written.start, text, rank=-1)
            elif text != self.program.text[written.start : written.end]:
                self.program.edits.replace(written.start, written.end, text)
        self.finish_lines()

    def finish_lines(self) -> None:
        """Write down the changes without those of names: plain imports."""
        for statement, lines in self._lines.items():
            self._change(statement).lines += lines
        write(self.program, self._changes.values())

    def _move(self, binding: Binding) -> None:
        if binding.old is None:
            if not binding.is_ours:
                self._change(binding.statement).gone.append(binding.alias)
            return
        names = {self._replaced[use].name for use in binding.references if use in self._replaced}
        plain = [use for use in binding.references if use not in self._replaced.keys() | self._dropped]
        slot = None
        if len(names) == 1 and not plain and binding.local != binding.old.name:
            # `LanguageModel as BaselineModel` becomes `ResNetBK as BaselineModel`: its owner chose the name.
            slot = Name(names.pop(), binding.local)
        elif plain or not binding.references or self._is_passed_on(binding):
            slot = Name(binding.old.counterpart, binding.local)
        if binding.old.is_ours and slot == Name(binding.old.name, binding.local):
            return
        change = self._change(binding.statement)
        change.gone.append(binding.alias)
        if slot is not None:
            change.slots[binding.alias] = slot

    def _is_unused(self, binding: Binding) -> bool:
        """Whether nothing uses an import any more, though it stays."""
        return not binding.others and all(use in self._replaced for use in binding.references)

    def _is_passed_on(self, binding: Binding) -> bool:
        """Whether `__all__` names it."""
        return any(
            node.raw_value == binding.local
            and any(self._is_all(outer) for outer in self.program.around(node))
            for node in self.program.every(cst.SimpleString)
        )

    def _is_all(self, node: cst.CSTNode) -> bool:
        return isinstance(node, cst.Assign) and is_constant(node.targets[0].target, "__all__")

    # Naming -------------------------------------------------------------------------------------------

    def _local(self, written: _Written) -> str:
        """How a name is written at a place; its import is seen to."""
        use = written.reference
        for binding in use.bindings:
            if binding.is_ours and binding.old is None:
                return f"{binding.local}.{written.name}"
        own = {
            change.slots[binding.alias]
            for binding in use.bindings
            if (change := self._changes.get(binding.statement)) and binding.alias in change.slots
        }
        for slot in own:
            if slot.name == written.name:
                return slot.local
        found = self._provided(use, written.name)
        if found:
            return found
        local = written.name if self._is_free(use, written.name) else f"New{written.name}"
        for binding in use.bindings:
            if self.program.is_kept(binding.statement):
                self._change(self._piece_of(use)).added.append(Name(written.name, local))
            else:
                self._change(binding.statement).added.append(Name(written.name, local))
        return local

    def _provided(self, use: Reference, name: str) -> str:
        """The name under which something is at hand already; empty if it is not."""
        scope = self.program.scope(use.node)
        if scope is None:
            return ""
        for assignment in scope[name]:
            if isinstance(assignment, metadata.ImportAssignment):
                qualified = {found.name for found in assignment.get_qualified_names_for(name)}
                if qualified == {f"{OURS}.{name}"}:
                    return name
                for binding in self.references.bindings:
                    change = self._changes.get(binding.statement)
                    if (
                        binding.statement is assignment.node
                        and change
                        and change.slots.get(binding.alias) == Name(name, name)
                    ):
                        return name
        return ""

    def _is_free(self, use: Reference, name: str) -> bool:
        """Whether a name means nothing else where it would be used."""
        scope = self.program.scope(use.node)
        taken = [] if scope is None else list(scope[name])
        going = {
            binding.statement
            for binding in self.references.bindings
            if binding.local == name and (not self.stays(binding) or self._is_unused(binding))
        }
        unbound = any(not access.referents for each in self.program.scopes for access in each.accesses[name])
        return not unbound and all(getattr(each, "node", None) in going for each in taken)

    def _piece_of(self, use: Reference) -> cst.CSTNode:
        """The first statement of the part, for example the cell, in which something is used."""
        start, _ = self.program.span(use.node)
        return self.program.first_statement(start)

    def _change(self, statement: cst.CSTNode) -> ImportChange:
        return self._changes.setdefault(statement, ImportChange(statement))
