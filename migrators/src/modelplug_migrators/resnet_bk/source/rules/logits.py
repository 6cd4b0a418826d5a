"""What a model gives: an object with the tensor of logits in it, where it was that tensor.

`model(x)` becomes `model(x).logits` where the program shows that the model was made by a call that changed.
Where such a model goes to others, that is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.shapes import is_own_attribute
from modelplug_migrators.resnet_bk.source.subject import KEPT

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset(
    {"LanguageModel", "MixedPrecisionQuantization", "QuantizedBirmanSchwinger", "ResNetBK", "resnet_bk"}
)

_RESULTS = frozenset({"logits", "loss", "past_key_values", "hidden_states"})
_HARMLESS = frozenset(
    {
        "hasattr", "getattr", "setattr", "id", "isinstance", "issubclass", "len", "print", "repr", "str",
        "type", "vars", "dir", "sum",
    }
)  # fmt: skip
_CHANGED = "its result is an object now, with the tensor of logits in .logits"


def apply(subject: Subject) -> None:
    """Take the logits wherever a changed model is called, and tell where one goes."""
    if subject.models:
        for call in subject.program.every(cst.Call):
            _look(subject, call)
        for node in subject.instances.holders(subject.models):
            _follow(subject, node)


def _look(subject: Subject, call: cst.Call) -> None:
    program, instances = subject.program, subject.instances
    model = call.func
    if isinstance(model, cst.Attribute) and model.attr.value == "forward":
        model = model.value
    if not instances.perhaps(model, subject.models) or not _is_used(subject, call):
        return
    if program.is_kept(call):
        program.todo(f"{_CHANGED}; {KEPT}", call)
    elif not instances.surely(model, subject.models):
        program.todo(f"where {program.code(model)} is a ResNetBK, {_CHANGED}", call)
    elif _is_unpacked(subject, call):
        program.todo(f"it is taken apart here, and {_CHANGED}", call)
    else:
        program.edits.append(program.span(call)[1], ".logits")


def _is_used(subject: Subject, call: cst.Call) -> bool:
    """Whether somebody takes the result for a tensor."""
    parent = subject.program.parent(call)
    if isinstance(parent, cst.Expr) or any(a.keyword and a.keyword.value == "labels" for a in call.args):
        return False
    if isinstance(parent, cst.Attribute):
        return parent.attr.value not in _RESULTS
    if isinstance(parent, cst.Assign) and len(parent.targets) == 1:
        target = parent.targets[0].target
        if isinstance(target, cst.Name):
            return target.value != "_" and not _knows_result(subject, target)
    return True


def _knows_result(subject: Subject, name: cst.Name) -> bool:
    """Whether a name's value is asked for its logits already."""
    program = subject.program
    scope = program.scope(name)
    return any(
        isinstance(parent := program.parent(access.node), cst.Attribute) and parent.attr.value in _RESULTS
        for assignment in ([] if scope is None else scope[name.value])
        for access in assignment.references
    )


def _is_unpacked(subject: Subject, call: cst.Call) -> bool:
    parent = subject.program.parent(call)
    return isinstance(parent, cst.Assign) and any(
        isinstance(target.target, (cst.Tuple, cst.List)) for target in parent.targets
    )


def _follow(subject: Subject, node: cst.BaseExpression) -> None:
    """Tell where a model goes, if that is somewhere its calls can't be seen."""
    program = subject.program
    parent = program.parent(node)
    if isinstance(parent, cst.Arg):
        call = program.parent(parent)
        if isinstance(call, cst.Call) and not _is_harmless(subject, call):
            program.todo(f"{program.code(call.func)}() gets a model: {_CHANGED}", node)
    elif isinstance(parent, (cst.Yield, cst.Element, cst.DictElement)):
        program.todo(f"a model goes out of sight here: {_CHANGED}", node)
    elif isinstance(parent, cst.Return):
        function = program.enclosing(node, cst.FunctionDef, cst.Lambda)
        inner = isinstance(function, cst.FunctionDef)
        if not inner or not subject.instances.uses(cst.ensure_type(function, cst.FunctionDef)):
            program.todo(f"whoever calls this gets a model: {_CHANGED}", node)
    elif isinstance(parent, cst.Assign) and parent.value is node:
        for target in parent.targets:
            if isinstance(target.target, cst.Attribute) and not is_own_attribute(target.target):
                program.todo(f"a model goes out of sight here: {_CHANGED}", node)


def _is_harmless(subject: Subject, call: cst.Call) -> bool:
    """Whether a function does nothing with a model's result, or is looked through."""
    program = subject.program
    if program.old(call.func) or program.ours(call.func) or subject.instances.gives_back(call):
        return True
    names = program.qualified(call.func)
    if any(
        name.startswith(("torch.", "copy.")) or name in {f"builtins.{w}" for w in _HARMLESS} for name in names
    ):
        return True
    return subject.instances.passes_on(call, subject.models)
