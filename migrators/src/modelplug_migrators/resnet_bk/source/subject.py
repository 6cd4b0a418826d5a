"""What a rule works on: a program with everything that is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import libcst as cst

from modelplug_migrators.resnet_bk.source.importing import ImportPlan
from modelplug_migrators.resnet_bk.source.instances import Instances
from modelplug_migrators.resnet_bk.source.references import References

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.references import Reference

__all__ = ["KEPT", "Subject", "subject_of"]

KEPT = "this cell has IPython's own commands in it and stays as it is"


@attrs.define
class Subject:
    """A program, and what rules share.

    Attributes:
        program: The program.
        references: What it uses of the older package.
        imports: What becomes of its imports.
        instances: Where its objects come from.
        models: The calls that make a `ResNetBK` from now on -> the use of the older class.
        settings: The calls whose arguments are settings of a `MambaKillerConfig` from now on -> the arguments
            that stay.
        unseen: The uses of the older class whose settings can't be changed -> the reason.
    """

    program: Program
    references: References
    imports: ImportPlan
    instances: Instances
    models: dict[cst.Call, Reference] = attrs.field(factory=dict)
    settings: dict[cst.Call, list[cst.Arg]] = attrs.field(factory=dict)
    unseen: dict[Reference, str] = attrs.field(factory=dict)

    def calls_of(self, *names: str) -> list[tuple[cst.Call, Reference]]:
        """The calls of something in the older package, in the order of the text.

        Those in cells that stay as they are, are told and left out.
        """
        found = []
        for name in names:
            for reference in self.references.of(name):
                call = self.program.parent(reference.node)
                if not isinstance(call, cst.Call) or call.func is not reference.node:
                    continue
                if self.program.is_kept(call):
                    self.leave(reference, KEPT)
                else:
                    found.append((call, reference))
        return sorted(found, key=lambda pair: self.program.span(pair[0]))

    def add_setting(self, call: cst.Call, setting: str) -> None:
        """Give one of `settings` a further setting, behind the others.

        Args:
            call: The call.
            setting: The setting, with its name.
        """
        kept = self.settings[call]
        opening, closing = self.program.parentheses(call)
        if kept:
            self.program.edits.insert(self.program.span(kept[-1])[1], f", {setting}")
        elif call.args:
            # What goes takes with it what is put behind it.
            self.program.edits.insert(opening + 1, setting)
        else:
            self.program.edits.insert(closing, setting)

    def leave(self, reference: Reference, reason: str) -> None:
        """Leave a use of the older package, with its import, and say why."""
        self.imports.keep(reference)
        self.program.todo(f"{reference.old.name} was left as it is: {reason}", reference.node)


def subject_of(program: Program) -> Subject:
    """Everything about a program, each part worked out when it is first asked for."""
    references = References(program)
    return Subject(program, references, ImportPlan(program, references), Instances(program))
