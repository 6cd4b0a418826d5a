"""`BKCoreFunction.GRAD_BLEND = 0.3`, for all models of a program, becomes the setting `grad_blend` of each.

That is done where it is set once, in a line of its own, and where every model of the program is made from
settings that are seen: with a number that is set for the whole module, or in the block in which the models
are made; with any other value, before the models in their block. Otherwise it stays, and is told.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.items import dictionary_at
from modelplug_migrators.resnet_bk.source.lines import is_alone, take_out
from modelplug_migrators.resnet_bk.source.parsing import nodes_of
from modelplug_migrators.resnet_bk.source.shapes import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelplug_migrators.resnet_bk.source.program import Program
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"GRAD_BLEND"})

_NAME = "GRAD_BLEND"
_BLENDS = frozenset({"grad_blend", "use_hybrid_gradient"})
_MODELS = ("LanguageModel", "ResNetBK", "MambaKillerConfig")
_MADE_OTHERWISE = ("ConfigurableResNetBK", "ResNetBKForCausalLM", "create_resnet_bk_for_hf")
_TOLD = "GRAD_BLEND held for all models of a program; it is the setting grad_blend of each model now"


def apply(subject: Subject) -> None:
    """Look at every place where it is set or read."""
    uses = subject.references.of("BKCoreFunction")
    mentions = [(use, place) for use in uses if (place := _mention(subject, use)) is not None]
    if not mentions:
        return
    reference, place = mentions[0]
    assign = _assignment(subject, place)
    reason = _obstacle(subject, assign, alone=len(uses) == 1, once=len(mentions) == 1)
    if not reason and assign is not None:
        _move(subject, reference, assign)
        return
    for _, place in mentions:
        value = _assigned(subject, place)
        write = f"write grad_blend={value} in the MambaKillerConfig of each" if value else ""
        read = "a model says it by model.config.grad_blend" if not value else ""
        subject.program.todo(f"{_TOLD}. It stays as it is here, as {reason}: {write or read}", place)


# Looking --------------------------------------------------------------------------------------------------


def _mention(subject: Subject, use: Reference) -> cst.CSTNode | None:
    """Where a use of the function is one of its blend: the attribute, or a `setattr` with its name."""
    parent = subject.program.parent(use.node)
    if isinstance(parent, cst.Attribute) and parent.attr.value == _NAME:
        return parent
    call = subject.program.parent(parent) if isinstance(parent, cst.Arg) else None
    if isinstance(call, cst.Call) and any(text_of(each.value) == _NAME for each in call.args):
        return call
    return None


def _assignment(subject: Subject, place: cst.CSTNode) -> cst.Assign | None:
    """The statement that sets it."""
    target = subject.program.parent(place)
    assign = subject.program.parent(target) if isinstance(target, cst.AssignTarget) else None
    return assign if isinstance(assign, cst.Assign) and len(assign.targets) == 1 else None


def _assigned(subject: Subject, place: cst.CSTNode) -> str:
    """What it is set to, as it is written; empty where it is not."""
    assign = _assignment(subject, place)
    if assign is not None:
        return subject.program.code(assign.value)
    if isinstance(place, cst.Call) and len(place.args) > 2:
        return subject.program.code(place.args[2])
    return ""


def _obstacle(subject: Subject, assign: cst.Assign | None, *, alone: bool, once: bool) -> str:
    """Why it can't become a setting; empty if it can."""
    program = subject.program
    if not once:
        return "it is set or read in several places"
    if assign is None:
        return "it is not simply given a value"
    if not alone:
        return "the program also uses BKCoreFunction itself, which resnet_bk has not"
    if not is_alone(program, assign) or program.is_kept(assign):
        return "its line can't be taken out"
    if subject.unseen or any(subject.imports.is_kept(each) for each in _of(subject, *_MODELS)):
        return "the settings of a model can't be seen"
    if any(_of(subject, *_MADE_OTHERWISE)):
        return "there are models that are not made from these settings"
    if not subject.settings:
        return "no model is made in this file"
    if any(_has_blend(subject, call) for call in subject.settings):
        return "a model has a blend of its own"
    if isinstance(assign.value, (cst.Float, cst.Integer)):
        return _obstacle_to_number(subject, assign)
    return _obstacle_to_value(subject, assign)


def _of(subject: Subject, *names: str) -> Iterable[Reference]:
    return (reference for name in names for reference in subject.references.of(name))


def _has_blend(subject: Subject, call: cst.Call) -> bool:
    """Whether settings say it already, or may."""
    for each in call.args:
        if each.keyword:
            if each.keyword.value in _BLENDS:
                return True
            continue
        found = dictionary_at(subject.program, each.value, [call])
        if any(item.name in _BLENDS for item in found.items) if found else bool(each.star):
            return True
    return False


def _obstacle_to_number(subject: Subject, assign: cst.Assign) -> str:
    """A number holds for the models of its block, before it or after it, and of the module for all."""
    program = subject.program
    block = program.parent(program.line_of(assign))
    if block is program.module:
        return ""
    if not all(any(outer is block for outer in program.around(call)) for call in subject.settings):
        return "not every model is made in the block where it is set"
    return ""


def _obstacle_to_value(subject: Subject, assign: cst.Assign) -> str:
    """Any other value must be the same one where the models are made."""
    program = subject.program
    line = program.line_of(assign)
    block = program.parent(line)
    body: Sequence[cst.CSTNode] = getattr(block, "body", ())
    after = set(body[list(body).index(line) + 1 :]) if line in body else set()
    root = _root(assign.value)
    if root is None:
        return f"{program.code(assign.value)} may be something else where the models are made"
    _, start = program.span(assign)
    for call in subject.settings:
        if program.scope(call) is not program.scope(assign):
            return "a model is made in another function"
        if after.isdisjoint(program.around(call)):
            return "a model is not made after it, in the same block"
        made, _ = program.span(call)
        if _changes_between(program, root, program.code(assign.value), start, made):
            return f"{program.code(assign.value)} gets another value before a model is made"
    return ""


def _root(value: cst.BaseExpression) -> cst.Name | None:
    """The name that a name, or an attribute of something with a name, begins with."""
    while isinstance(value, cst.Attribute):
        value = value.value
    return value if isinstance(value, cst.Name) else None


def _changes_between(program: Program, root: cst.Name, value: str, start: int, end: int) -> bool:
    """Whether a name, or one of its attributes, gets a value between two places.

    All statements count, and not only those that matter otherwise.
    """
    first, last = (program.text.count("\n", 0, place) + 1 for place in (start, end))
    return any(
        isinstance(getattr(node, "ctx", None), ast.Store)
        and first < getattr(node, "lineno", 0) <= last
        and ast.unparse(node) in (root.value, value)
        for node in nodes_of(program.python)
    )


# Changing -------------------------------------------------------------------------------------------------


def _move(subject: Subject, reference: Reference, assign: cst.Assign) -> None:
    program = subject.program
    subject.imports.drop(reference)
    take_out(program, assign)
    for call in subject.settings:
        subject.add_setting(call, f"grad_blend={program.code(assign.value)}")
        program.note("only the diagonal mixers have another gradient than the exact one", call)
