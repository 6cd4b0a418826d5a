"""Lines that rules put before a statement, or take out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.import_text import newline_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["insert_before", "is_alone", "is_evaluated_once", "take_out", "torch_at"]

# What may make an expression be evaluated later than its line, more or less often, or not at all.
_BRANCHING = (cst.BaseComp, cst.BooleanOperation, cst.Comparison, cst.IfExp, cst.Lambda)


def is_alone(program: Program, node: cst.CSTNode) -> bool:
    """Whether a node belongs to a simple statement that has its line to itself."""
    line = program.line_of(node)
    return isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1


def is_evaluated_once(program: Program, node: cst.BaseExpression) -> bool:
    """Whether an expression is evaluated whenever its line is, so that a line before it comes as often."""
    line = program.line_of(node)
    outer = next(
        (each for each in program.around(node) if each is line or isinstance(each, _BRANCHING)), None
    )
    return outer is line


def insert_before(program: Program, node: cst.CSTNode, lines: Sequence[str]) -> None:
    """Put lines before the one that a node belongs to, as far in as that.

    Args:
        program: The program.
        node: The node.
        lines: The lines, without their ends.
    """
    start, _ = program.span(program.line_of(node))
    first = program.text.rfind("\n", 0, start) + 1
    indent, end = program.text[first:start], newline_of(program.text)
    program.edits.insert(first, "".join(f"{indent}{line}{end}" for line in lines))


def take_out(program: Program, node: cst.CSTNode) -> None:
    """Take out the line of a statement; its comment stays, and a block that it fills gets a `pass`.

    Args:
        program: The program.
        node: The statement, or something in it.
    """
    line = program.line_of(node)
    start, end = program.span(line)
    if len(getattr(program.parent(line), "body", ())) < 2:
        program.edits.insert(start, "pass")
        program.edits.delete(start, end)
    elif program.comment_behind(end):
        program.edits.delete(start, program.text.index("#", end))
    else:
        program.edits.delete(*program.whole_lines(start, end))


def torch_at(subject: Subject, node: cst.CSTNode, reference: Reference) -> str:
    """How `torch` is written at a place; it is imported beside what is used there if it has no name.

    Args:
        subject: The program.
        node: The place.
        reference: The use of the older package there.
    """
    scope = subject.program.scope(node)
    for assignment in [] if scope is None else scope["torch"]:
        if any(found.name == "torch" for found in assignment.get_qualified_names_for("torch")):
            return "torch"
    subject.imports.add_line(reference, "import torch")
    return "torch"
