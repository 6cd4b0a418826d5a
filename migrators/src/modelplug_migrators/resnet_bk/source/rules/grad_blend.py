"""`BKCoreFunction.GRAD_BLEND = 0.3`, for all models of a program, becomes the setting `grad_blend` of each.

That is done where it is set once, before the models and on one level with them, and where the program uses
the function for nothing else. Otherwise it stays, and is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"GRAD_BLEND"})

_TOLD = "GRAD_BLEND held for all models of a program; it is the setting grad_blend of each model now"


def apply(subject: Subject) -> None:
    """Look at every place where it is set or read."""
    program = subject.program
    mentions = []
    for reference in subject.references.of("BKCoreFunction"):
        parent = program.parent(reference.node)
        if isinstance(parent, cst.Attribute) and parent.attr.value == "GRAD_BLEND":
            mentions.append((reference, parent))
    if len(mentions) == 1 and len(subject.references.of("BKCoreFunction")) == 1:
        reference, attribute = mentions[0]
        assign = _assignment(subject, attribute)
        if assign is not None and _models_follow(subject, assign):
            _move(subject, reference, assign)
            return
    for _, attribute in mentions:
        program.todo(_TOLD, attribute)


def _assignment(subject: Subject, attribute: cst.Attribute) -> cst.Assign | None:
    """The statement that sets it to something simple, with a line of its own."""
    target = subject.program.parent(attribute)
    assign = subject.program.parent(target) if isinstance(target, cst.AssignTarget) else None
    if not isinstance(assign, cst.Assign) or len(assign.targets) != 1:
        return None
    line = subject.program.line_of(assign)
    alone = isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1
    simple = isinstance(assign.value, (cst.Float, cst.Integer, cst.Name))
    return assign if alone and simple and not subject.program.is_kept(assign) else None


def _models_follow(subject: Subject, assign: cst.Assign) -> bool:
    program = subject.program
    line = program.line_of(assign)
    block = program.parent(line)
    body = getattr(block, "body", ())
    if not subject.models or len(body) < 2:
        return False
    position = list(body).index(line)
    after = set(body[position + 1 :])
    return all(
        program.scope(call) is program.scope(assign)
        and any(outer in after for outer in program.around(call))
        and not any(each.keyword and each.keyword.value == "grad_blend" for each in call.args)
        for call in subject.models
    )


def _move(subject: Subject, reference: Reference, assign: cst.Assign) -> None:
    program = subject.program
    subject.imports.drop(reference)
    start, end = program.span(program.line_of(assign))
    comment = program.comment_behind(end)
    first, after = program.whole_lines(start, end)
    if comment:
        program.edits.delete(start, program.text.index("#", end))
    else:
        program.edits.delete(first, after)
    setting = f"grad_blend={program.code(assign.value)}"
    for call in subject.models:
        if call.args:
            program.edits.insert(program.span(call.args[-1])[1], f", {setting}")
        else:
            program.edits.insert(program.parentheses(call)[1], setting)
        program.note("only the diagonal mixers have another gradient than the exact one", call)
