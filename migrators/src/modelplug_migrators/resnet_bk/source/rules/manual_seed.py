"""`manual_seed=42` among a model's settings becomes a call of `torch.manual_seed(42)` before it.

Where a line can't be put before the call, the setting stays: it is deprecated, and still works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.import_text import newline_of
from modelplug_migrators.resnet_bk.source.lines import torch_at
from modelplug_migrators.resnet_bk.source.shapes import constant_key, is_constant

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.items import Item
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["move_seed"]

# What may lie between a call and its statement, so that a line before that comes first, and as often.
_STRAIGHT = (
    cst.AnnAssign, cst.Arg, cst.Assign, cst.Attribute, cst.Call, cst.Expr, cst.Return,
    cst.SimpleStatementLine,
)  # fmt: skip
_ATOMS = (cst.Integer, cst.Name)


def move_seed(subject: Subject, item: Item, call: cst.Call, reference: Reference) -> bool:
    """Have the seed set by `torch.manual_seed` before a model is made; false if that can't be written.

    Args:
        subject: The program.
        item: The setting.
        call: What makes the model.
        reference: The use of the older package that is called.
    """
    program = subject.program
    if is_constant(item.value, "None"):
        return True
    line = program.enclosing(call, cst.SimpleStatementLine)
    between = [call, *program.around(call)]
    straight = line is not None and all(
        isinstance(node, _STRAIGHT) for node in between[: between.index(line) + 1]
    )
    own = item.group is call.args or isinstance(item.value, cst.Integer)
    if line is None or not straight or not own or not _is_simple(item.value):
        program.todo(
            "manual_seed is deprecated: call torch.manual_seed() before the model is made", item.node
        )
        return False
    torch = torch_at(subject, call, reference)
    start, _ = program.span(line)
    first = program.text.rfind("\n", 0, start) + 1
    indent, end = program.text[first:start], newline_of(program.text)
    value = program.code(item.value)
    guard = f"if {value} is not None:{end}{indent}    " if _may_be_none(subject, item.value) else ""
    program.edits.insert(first, f"{indent}{guard}{torch}.manual_seed({value}){end}")
    return True


def _is_simple(value: cst.BaseExpression) -> bool:
    """Whether it can be evaluated earlier, and twice, without any difference."""
    if isinstance(value, cst.BinaryOperation):
        return isinstance(value.left, _ATOMS) and isinstance(value.right, _ATOMS)
    if isinstance(value, cst.Subscript):
        return isinstance(value.value, cst.Name) and constant_key(value) is not None
    while isinstance(value, cst.Attribute):
        value = value.value
    return isinstance(value, _ATOMS)


def _may_be_none(subject: Subject, value: cst.BaseExpression) -> bool:
    if not isinstance(value, cst.Name):
        return not isinstance(value, (cst.Integer, cst.BinaryOperation))
    for assignment in subject.program.assignments(value):
        given = subject.program.value_of(assignment)
        if not isinstance(given, cst.Integer):
            return True
    return False
